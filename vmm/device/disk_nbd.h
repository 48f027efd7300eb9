/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk that a server has: the NBD protocol, by libnbd.
 *
 * The library is loaded when the first such disk is opened, so that a run without one does not pay
 * for it.  Its asynchronous calls are used, so that every wait for the server can be ended.
 */
#ifndef DISK_NBD_H
#define DISK_NBD_H

#include "vmm/device/disk.h"

/*
 * disk_open for a name that is a URI of nbd:// or nbd+unix://.  A server that does not answer is
 * given up after DISK_NBD_CONNECT_SECONDS.
 */
int disk_nbd_open(const struct disk_config *config, struct disk **diskp, struct failure *failure)
    __attribute__((warn_unused_result));

#define DISK_NBD_CONNECT_SECONDS 30u

#endif
