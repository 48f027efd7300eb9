/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The contract between a guest and vkvm, shared by both sides; docs/guest-abi.md
 * explains it.  Fixed-width fields only; sizes are asserted.
 *
 * Start: 64-bit mode, CPL 0, interrupts off, at the ELF64 entry point.
 *   RDI  GPA of the flattened device tree
 *   RSI  number of this vCPU, 0 .. n-1 (every vCPU starts at the entry point)
 *   RSP  0: the guest brings its own stack
 * Paging: identity map, 2 MiB pages, user-accessible and writable, of
 * [0, 4 GiB) and [VKVM_WINDOW_BASE, VKVM_WINDOW_BASE + 4 GiB).
 * Flat segments with the selectors below; IOPL 3 is not set; SSE is enabled.
 *
 * Doorbell: `outl %eax, $VKVM_PORT_DOORBELL` (or through %dx).
 *   RAX  call number               on return: 0 or more = success, else -VKVM_E*
 *   RDI, RSI, R8, R9, R10          arguments 0 .. 4
 *   RDX  (on return) second result, where a call says so
 * All other registers are kept.
 *
 * Console: bytes written to VKVM_PORT_CONSOLE (`outb`, `rep outsb`) go to
 * standard output; `inb` reads a byte of standard input, or 0xFF when there is none.
 * CONSOLE_WRITE and CONSOLE_READ do the same for a buffer in one call, and tell 0xFF from none.
 */
#ifndef VKVM_ABI_H
#define VKVM_ABI_H

#ifdef __ASSEMBLER__
#define VKVM_U64(x) x
#else
#include <stdint.h>
#define VKVM_U64(x) ((uint64_t)(x))
#endif

#define VKVM_ABI_VERSION 1

#define VKVM_PORT_DOORBELL 0x510
#define VKVM_PORT_CONSOLE 0xe9

/* Guest-physical layout a guest may rely on. */
#define VKVM_WINDOW_BASE VKVM_U64(0x1000000000)   /* 64 GiB: windows live from here ... */
#define VKVM_WINDOW_END VKVM_U64(0x4000000000)    /* ... to 256 GiB */
#define VKVM_RAM_HIGH_BASE VKVM_U64(0x4040000000) /* 257 GiB: RAM that does not fit below them */

/* Segment selectors at start. */
#define VKVM_SEL_KERNEL_CODE 0x08
#define VKVM_SEL_KERNEL_DATA 0x10
#define VKVM_SEL_USER_DATA 0x1b
#define VKVM_SEL_USER_CODE 0x23

/* Doorbell calls. */
#define VKVM_CALL_VERSION 0    /* -> VKVM_ABI_VERSION */
#define VKVM_CALL_EXIT 1       /* (status 0..255): ends the VM */
#define VKVM_CALL_STATISTICS 2 /* (gpa, size): writes struct vkvm_statistics -> bytes written */
#define VKVM_CALL_FAULT_DELIVERY \
    3                               /* (mode, gpa): this vCPU's delivery; gpa of the #VE area,
                                      8-byte aligned and in RAM, else -EINVAL, -EFAULT */
#define VKVM_CALL_SETMAP 4          /* (start, size, root) */
#define VKVM_CALL_INVAL 5           /* (start, size) */
#define VKVM_CALL_ADVISE 6          /* (start, size, VKVM_ADVICE_*): a part of one mapping */
#define VKVM_CALL_VMSPACE_CREATE 7  /* (id 1..65535) */
#define VKVM_CALL_VMSPACE_DESTROY 8 /* (id): with all its windows and regions */
#define VKVM_CALL_VMSPACE_MAP \
    9                              /* (id, start, size, root, VKVM_MAP_*): a window of virtual
                                      page table on all of RAM */
#define VKVM_CALL_VMSPACE_UNMAP 10 /* (id, start, size): exactly one window or region */
#define VKVM_CALL_PROTECT 11       /* (start, size, VKVM_MAP_* permissions): exactly one mapping */
#define VKVM_CALL_SYNC 12          /* (start, size): write back what was written to a file */
#define VKVM_CALL_REGION_MAP 13    /* (id, start, size, VKVM_MAP_* permissions): zero-fill memory */
#define VKVM_CALL_COPY 14          /* (id, src, dst, size): virtual copy of one region or file */
#define VKVM_CALL_WIRE 15          /* (start, size): keep resident, until UNWIRE */
#define VKVM_CALL_UNWIRE 16        /* (start, size): as it was wired, or a part of that */
#define VKVM_CALL_WAIT 17          /* (gpa of a word, expected, ns): sleep while the word is that */
#define VKVM_CALL_WAKE 18          /* (gpa of a word, count at most) -> vCPUs woken */
#define VKVM_CALL_CONSOLE_WRITE 19 /* (gpa, size) -> bytes written; perhaps not all */
#define VKVM_CALL_CONSOLE_READ 20  /* (gpa, size) -> bytes read, 0 = none now; -ENODATA: the end */
#define VKVM_CALL_COUNT 21

/* WAIT without a time-out. */
#define VKVM_WAIT_FOREVER VKVM_U64(0xFFFFFFFFFFFFFFFF)

/* Most bytes that CONSOLE_WRITE and CONSOLE_READ take at once. */
#define VKVM_CONSOLE_MAX VKVM_U64(65536)

/* Errors, negated in RAX.  Values follow Linux. */
#define VKVM_ENOENT 2
#define VKVM_EIO 5
#define VKVM_ENOMEM 12
#define VKVM_EACCES 13
#define VKVM_EFAULT 14
#define VKVM_EBUSY 16
#define VKVM_EEXIST 17
#define VKVM_EINVAL 22
#define VKVM_ENOSPC 28
#define VKVM_ENOSYS 38
#define VKVM_ENODATA 61
#define VKVM_ETIMEDOUT 110

/* Fault delivery modes. */
#define VKVM_DELIVER_PF 0 /* #PF, vector 14: CR2 and error code */
#define VKVM_DELIVER_VE 1 /* #VE, vector 20: struct vkvm_ve_area */

#define VKVM_ADVICE_NORMAL 0
#define VKVM_ADVICE_RANDOM 1
#define VKVM_ADVICE_SEQUENTIAL 2

/* Flags of VMSPACE_MAP, REGION_MAP and PROTECT. */
#define VKVM_MAP_READ 0x1
#define VKVM_MAP_WRITE 0x2
#define VKVM_MAP_EXECUTE 0x4
#define VKVM_MAP_VPTE32 0x10 /* two levels of 32-bit entries instead of four of 64-bit */
/* ... and one of these of REGION_MAP. */
#define VKVM_MAP_GUARD 0x20 /* no memory: every access is refused */
#define VKVM_MAP_STACK \
    0x40 /* grows down from its last page as it is touched; the first is a guard */

/* Virtual page table entry bits; see docs/guest-abi.md. */
#define VKVM_VPTE_V 0x001
#define VKVM_VPTE_PS 0x002
#define VKVM_VPTE_R 0x004
#define VKVM_VPTE_W 0x008
#define VKVM_VPTE_X 0x010
#define VKVM_VPTE_A 0x020
#define VKVM_VPTE_M 0x040
#define VKVM_VPTE_FRAME VKVM_U64(0x000FFFFFFFFFF000)

/* #PF error code bits used (Intel SDM vol. 3, 4.7). */
#define VKVM_PF_PRESENT 0x01 /* permission failure; clear: entry invalid or no entry */
#define VKVM_PF_WRITE 0x02
#define VKVM_PF_USER 0x04
#define VKVM_PF_RESERVED 0x08 /* frame or address beyond the object */

/* Exit qualification bits used in the #VE area (Intel SDM vol. 3, table 28-7). */
#define VKVM_VE_READ 0x001
#define VKVM_VE_WRITE 0x002
#define VKVM_VE_FETCH 0x004
#define VKVM_VE_READABLE 0x008 /* what the entry that decided allows */
#define VKVM_VE_WRITABLE 0x010
#define VKVM_VE_EXECUTABLE 0x020
#define VKVM_VE_GLA_VALID 0x080
#define VKVM_VE_REASON 48

#define VKVM_FDT_COMPATIBLE "vkvm,vm-1"

#ifndef __ASSEMBLER__

/* Intel SDM vol. 3, 25.5.7.2: virtualization-exception information area. */
struct vkvm_ve_area {
    uint32_t reason; /* VKVM_VE_REASON */
    uint32_t busy;   /* 0xFFFFFFFF on delivery; the guest writes 0 when it has read the rest */
    uint64_t qualification; /* VKVM_VE_* */
    uint64_t gla;           /* if VKVM_VE_GLA_VALID */
    uint64_t gpa;
    uint16_t eptp_index; /* 0 */
    uint16_t result;     /* vkvm: enum vm_result */
    uint32_t level;      /* vkvm: levels of the table read; 0 = the root decided */
};
_Static_assert(sizeof(struct vkvm_ve_area) == 40, "ABI size");

/* Counters of the whole VM since its start. */
struct vkvm_statistics {
    uint64_t version; /* VKVM_ABI_VERSION */
    uint64_t faults;
    uint64_t resident; /* the kinds add up to faults */
    uint64_t zero_fill;
    uint64_t page_in;
    uint64_t cow;
    uint64_t failed;
    uint64_t host_failed;
    uint64_t walks;
    uint64_t vpte_a;
    uint64_t vpte_m;
    uint64_t vpte_dir_m;
    uint64_t prefaulted;
    uint64_t resident_pages; /* of all VMs on the host */
    uint64_t invals;
    uint64_t setmaps;
    uint64_t pages_in;   /* pages read from swap or a file */
    uint64_t pages_out;  /* pages written there, of all VMs on the host */
    uint64_t time_ns;    /* since the start, by the host's clock */
    uint64_t delivered;  /* exceptions; a fault that is reported again may have failed more often */
    uint64_t zero_pages; /* pages made of zeros, those along with others included */
    uint64_t walks_failed; /* walks that an entry ended */
    uint64_t swap_lost;    /* pages that could not be read back from swap */
    uint64_t begun;        /* faults and those under way, which count in no kind yet */
};
_Static_assert(sizeof(struct vkvm_statistics) == 192, "ABI size");

#endif
#endif
