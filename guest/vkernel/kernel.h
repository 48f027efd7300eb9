/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vkernel: a tiny kernel whose processes live in virtual page tables.
 *
 *     guest-physical space
 *     0 ............ RAM                    64 GiB ... windows, one per process
 *     +---------------------------+         +----------+ +----------+
 *     | image | pages of all kinds|         | window 0 | | window 1 | ...
 *     +---------------------------+         +----------+ +----------+
 *              ^      ^      ^                 |  |         |
 *              |      |      +-----------------+--|---------+   vptes, in RAM, of each
 *              |      +---------------------------+             process: window page -> RAM page
 *
 * Each process is a vmspace (VMSPACE_CREATE) with one window (VMSPACE_MAP) and one tree of
 * vptes.  Its x86 page tables map USER_BASE on onto the window with 2 MiB pages; they are made
 * once per window and never edited.  All paging is done in vptes.
 *
 * A process touches a page: EPT violation.  vkvm walks the vptes.  A valid one that allows
 * the access: vkvm sets A and M, maps the page and the process goes on; vkernel never knows.
 * Any other: vkvm delivers #PF or #VE, ring3_run returns to vkernel, which fills a vpte
 * (fault.h) and runs the process again.
 *
 * vkernel itself runs in ring 3, on the boot identity map, because some hosts
 * emulate ring 0 instruction by instruction; ring 0 is only the trap entry
 * and ring3_run of guest/lib.  Processes run without I/O rights on page
 * tables that keep the kernel from them.  vkernel reaches process memory through
 * RAM at GPA 0, finding the page in the vptes: it never touches a window.
 *
 * Locking: one kernel lock, held whenever a vCPU is not running a process.  INVAL by one
 * vCPU while another runs the process is vkvm's business.
 *
 * Limits: no timer, so a process runs until it yields, waits or ends; shared memory stays in RAM.
 * A vCPU without a process to run sleeps by WAIT.
 *
 * Boot arguments:
 *   fault=pf|ve    how vkvm reports faults (pf)
 *   fork=vpte|copy how processes keep and fork their memory (vpte); see below
 *   vpte=64|32     table format (64)
 *   kernel=ring3|ring0  where vkernel runs (ring3)
 *   cluster=N      most pages filled by one fault (16)
 *   swap=N         pages of the swap area (2048)
 *   idle=MS        do nothing for so many milliseconds first (0)
 *   only=NAME      run just this program; "together": just all at once
 *
 * All this is how a process's memory is kept with fork=vpte.  With fork=copy it is memory of
 * vkvm's, virtually copied by a fork, and only shared and private mappings are made of vptes;
 * space.h compares the two.  Both are timed in every run.
 */
#ifndef VKERNEL_KERNEL_H
#define VKERNEL_KERNEL_H

#include "guest/lib/vpte.h"
#include "guest/vkernel/space.h"

#include <stdint.h>

/* What the kernel counts, all processes together. */
#define KERNEL_COUNTS(X)                                          \
    X(faults, "faults delivered to the kernel")                   \
    X(vpte_faults, "  ... at pages that vptes arrange")           \
    X(spurious, "  ... that found their vpte in order")           \
    X(filled, "vptes filled")                                     \
    X(zero, "  ... with a page of zeros")                         \
    X(image, "  ... with a page of the program's image")          \
    X(shm, "  ... with a page of a shared object")                \
    X(cow_copies, "copy-on-write: pages copied")                  \
    X(cow_kept, "copy-on-write: pages that had become exclusive") \
    X(forks, "forks")                                             \
    X(host_regions, "host regions made")                          \
    X(host_copies, "host regions copied by forks")                \
    X(kills, "processes killed")                                  \
    X(invals, "INVAL calls")                                      \
    X(scanned, "vptes scanned")                                   \
    X(found_a, "vptes found with A set when scanned or forked")   \
    X(found_m, "vptes found with M set when scanned or forked")   \
    X(preset_m, "vptes filled with M set")                        \
    X(evicted_clean, "pages evicted without copying")             \
    X(evicted_dirty, "pages evicted by copying to swap")          \
    X(swap_writes, "pages copied to swap")                        \
    X(swap_reads, "pages copied from swap")

struct kernel_counts {
#define KERNEL_COUNT(name, text) uint64_t name;
    KERNEL_COUNTS(KERNEL_COUNT)
#undef KERNEL_COUNT
};

extern struct kernel_counts kernel_counts;

/* What PROGRAM_TIMES measured, in cycles. */
struct kernel_times {
    uint64_t forks;
    uint64_t fork_cycles;
    uint64_t pages; /* written after a fork */
    uint64_t page_cycles;
};

extern struct kernel_times kernel_times[SPACE_KINDS];

struct kernel_options {
    const struct vpte_format *format;
    enum space_kind kind; /* of the processes the kernel starts */
    unsigned delivery;    /* VKVM_DELIVER_* */
    unsigned cluster;
};

extern struct kernel_options kernel_options;

/* Print one line and end the VM: a bug, or a machine too small. */
_Noreturn void kernel_panic(const char *why);

#endif
