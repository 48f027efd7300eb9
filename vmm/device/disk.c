/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which kind of disk a name means.
 */
#include "vmm/device/disk.h"

#include "vmm/device/disk_file.h"
#include "vmm/device/disk_nbd.h"

#include <string.h>

bool
disk_is_remote(const char *name)
{
    return strncmp(name, "nbd://", strlen("nbd://")) == 0 ||
           strncmp(name, "nbd+unix://", strlen("nbd+unix://")) == 0;
}

int
disk_open(const struct disk_config *config, struct disk **diskp, struct failure *failure)
{
    return disk_is_remote(config->name) ? disk_nbd_open(config, diskp, failure)
                                        : disk_file_open(config, diskp, failure);
}
