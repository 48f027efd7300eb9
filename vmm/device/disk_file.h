/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk that is a regular file, byte for byte, or a block device of the host. */
#ifndef DISK_FILE_H
#define DISK_FILE_H

#include "vmm/device/disk.h"

/* disk_open for a name that is a path. */
int disk_file_open(const struct disk_config *config, struct disk **diskp, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
