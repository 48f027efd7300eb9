/* SPDX-License-Identifier: BSD-2-Clause */
/* Where host_disk.c and its mini guest (host_disk.S) meet, besides vm_guest.h. */
#ifndef DISK_GUEST_H
#define DISK_GUEST_H

/* The first disk of a PC (machine.h). */
#define DISK_MMIO 0xd0000000
#define DISK_LINE 16

#define GUEST_SCRIPT 0x40000 /* struct disk_step [] */

/* What a step does. */
#define DISK_END 0   /* end with a value */
#define DISK_WRITE 1 /* write 32 bits */
#define DISK_READ 2  /* read 32 bits, and write them to the address that is the value */
#define DISK_AWAIT 3 /* halt until 16 bits of memory have a value */
#define DISK_POLL 4  /* read 32 bits until one of the value's is set */

#endif
