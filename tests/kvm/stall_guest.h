/* SPDX-License-Identifier: BSD-2-Clause */
/* Where host_stall.c and its mini guest (host_stall.S) meet, besides vm_guest.h. */
#ifndef STALL_GUEST_H
#define STALL_GUEST_H

/* Orders, a byte each, that the guest repeats when it has done them; it repeats any other byte too. */
#define STALL_TICKS 't' /* ... after three interrupts of its timer */
#define STALL_DISK 'd'  /* notify the disk's device */
#define STALL_EVICT 'e' /* write to STALL_EVICTED pages */
#define STALL_SWAP 's'  /* start another processor, which reads STALL_PAGE */
#define STALL_END '.'   /* end, without a word, once the other processor has read */

#define STALL_EVICTED 1024
#define STALL_PAGE 0x50000
#define STALL_READ (GUEST_RECORD + 8) /* where the other processor writes what it read */

#endif
