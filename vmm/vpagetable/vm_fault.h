/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault engine: resolve one access to guest-physical memory.
 *
 *     vm_fault(map, gpa, access)
 *       1 vm_map_lookup        entry, object, pindex, protection
 *       2 vm_fault_vpagetable  VPAGETABLE entries: walk N levels, set A and M
 *       3 vm_fault_object      resident? pager? shadow chain? zero-fill? copy?
 *       4 pmap_enter           map the page
 *       5 vm_prefault          and its neighbours
 *
 * A step that would have to sleep, or lost a race, unwinds everything and returns
 * VM_RETRY; the driver sleeps and starts over.  A page read in meanwhile is held,
 * so that it cannot be taken away before the retry finds it.
 *
 * Mapped writable: what a write faulted on, if the entry allows writes; on a read
 * of a NORMAL entry, what the entry allows, but for clean pages of a pager; on a
 * read through a virtual page table, only what has M set already; a backing
 * object's page never.  A page that is mapped writable is dirty.
 *
 * Source: DragonFly sys/vm/vm_fault.c (the seed): functions keep their names.
 */
#ifndef VM_FAULT_H
#define VM_FAULT_H

#include "vmm/vpagetable/vm_map.h"

#define VM_FAULT_NORMAL 0x00u
#define VM_FAULT_BURST 0x01u         /* prefault neighbours too */
#define VM_FAULT_DIRTY 0x02u         /* the page is dirty whatever the access */
#define VM_FAULT_UNSWAP 0x04u        /* not for vm_fault: dirty, and its copy in swap is freed */
#define VM_FAULT_CHANGE_WIRING 0x10u /* wire the page; access is WRITE */
#define VM_FAULT_USER_WIRE 0x20u     /* wire the page for a user; access is READ */
#define VM_FAULT_WIRE_MASK (VM_FAULT_CHANGE_WIRING | VM_FAULT_USER_WIRE)
#define VM_FAULT_OVERRIDE 0x40u /* the entry's max_protection counts (not for vm_fault) */
#define VM_FAULT_QUIET 0x80u    /* the monitor's own look-up: counts as v_lookups, not as a fault */
#define VM_FAULT_DEBUGGER 0x200u /* of vm_poke: a debugger's write counts as v_debugger */
#define VM_FAULT_SINGLE 0x400u   /* not for callers: just what the access needs (vm_inject.h) */
#define VM_FAULT_INJECTED 0x800u /* not for callers: a rule of vm_inject.h had its way */
#define VM_FAULT_HOLDER \
    0x100u /* the caller holds a page: not one to wait for when memory is short */

/* How a fault ended; all but `result` only for reports and exceptions. */
struct vm_fault_info {
    enum vm_result result;
    int error;         /* VM_HOST_FAILURE: negative errno */
    const char *cause; /* VM_HOST_FAILURE: what failed, static text */
    gpa_t gpa;
    vm_prot_t access;
    vm_prot_t entry_prot; /* the map entry's protection, 0 if there is none */
    unsigned level;       /* VM_VPTE_* and VM_BAD_FRAME: levels read, 0 = the root decided */
    vpte_t vpte;          /* ... and the entry that decided */
    bool hardfault;       /* needed I/O */
    unsigned prefaulted;  /* neighbours entered ... */
    unsigned below,
        above;           /* ... if any: all from so many pages below to so many above are mapped */
    unsigned generation; /* VM_OK of vm_fault: of the mapping (struct pmap_entered) */
};

/* Whose access a fault is: what a trace is told, and only the caller knows. */
enum vm_fault_who {
    VM_FAULT_BY_MONITOR, /* a device, a guest's call, a loader */
    VM_FAULT_BY_VCPU,
    VM_FAULT_BY_KERNEL /* a thread of the kernel's, for some vCPU: the access may be another */
};

/* How it came. */
enum vm_fault_arrival {
    VM_FAULT_CAME_ASKED, /* the monitor itself wants the page */
    VM_FAULT_CAME_MISSING,
    VM_FAULT_CAME_MINOR,
    VM_FAULT_CAME_PROTECTED, /* against writing */
    VM_FAULT_CAME_EFAULT,    /* KVM_RUN failed: the instruction says what it needs */
    VM_FAULT_CAME_MMIO       /* KVM emulates the access */
};

struct vm_fault_origin {
    enum vm_fault_who who;
    unsigned number; /* BY_VCPU: of the vCPU */
    enum vm_fault_arrival arrival;
    void *lane;       /* the trace's: where the calling thread's records go; NULL = it has none */
    uint64_t *record; /* where a trace leaves its number of the fault; NULL = nowhere */
    uint64_t begun;   /* what a trace's `begin` would return for it; 0: it is asked */
};

/*
 * Resolve an access and map the page.
 * `access` is one of READ, WRITE, EXECUTE.  gpa need not be aligned.
 * Locks: none held; sleeps.
 * Returns VM_OK: mapped and the waiters woken.  Anything else: nothing mapped,
 * *info says why, the waiters still wait.  Never VM_RETRY.  VM_HOST_FAILURE with -ECANCELED: it
 * would have had to wait, and the VM has ended (vm_map.stop).
 */
enum vm_result vm_fault(struct vm_map *map, gpa_t gpa, vm_prot_t access, unsigned flags,
                        struct vm_fault_info *info) __attribute__((warn_unused_result));

/* The same, for a trace by `origin` (borrowed for the call); NULL and vm_fault: by the monitor. */
enum vm_result vm_fault_of(struct vm_map *map, gpa_t gpa, vm_prot_t access, unsigned flags,
                           const struct vm_fault_origin *origin, struct vm_fault_info *info)
    __attribute__((warn_unused_result));

/*
 * Map what is resident from the page of start on, up to end, before anybody asks for it, in the runs of
 * vm_prefault: what a loader wrote is what a guest touches first.  Best effort: ends at the first page that
 * is not there, cannot be mapped or had to be read, since then memory is short.  Nothing counts as a fault.
 * Locks: none held; sleeps.
 */
void vm_fault_ahead(struct vm_map *map, gpa_t start, gpa_t end);

/*
 * vm_fault in two parts, for a thread that has others waiting for it: start does what takes no
 * waiting, and leaves the rest, which can wait for a disk, to any other thread.
 */
struct vm_fault_rest; /* vm_fault_start.c: a fault that is not over, or left something to be done */

/*
 * Begin vm_fault_of(map, gpa, access, flags, origin).
 * Locks: none held; does not sleep for pages, I/O or memory, unless there is no heap for *rest.
 * Returns VM_RETRY: the fault goes on with vm_fault_resume; else as vm_fault.
 * *rest: vm_fault_end it in any case; NULL = there is nothing left to do.
 */
enum vm_result vm_fault_start(struct vm_map *map, gpa_t gpa, vm_prot_t access, unsigned flags,
                              const struct vm_fault_origin *origin, struct vm_fault_info *info,
                              struct vm_fault_rest **rest) __attribute__((warn_unused_result));

/*
 * Go on with a fault whose start said VM_RETRY, once, in any thread.  Locks: none held; sleeps.
 * `origin`: as the start's, with that thread's lane.
 * Returns as vm_fault.  *info starts over.
 */
enum vm_result vm_fault_resume(struct vm_fault_rest *rest, const struct vm_fault_origin *origin,
                               struct vm_fault_info *info) __attribute__((warn_unused_result));

/* What nobody waits for: read on, collapse, let go of what was held.  Locks: none held; sleeps. */
void vm_fault_end(struct vm_fault_rest *rest);

/*
 * Resolve an access without mapping: a device's way to guest memory.  The hold outlasts every
 * lock, so neither INVAL nor an edit of the map waits for it: what is written afterwards lands in
 * the page that was found.  A guest that takes a page back must first have its device finish.
 * Returns VM_OK and *mp, a held page (vm_page_unhold it, with no lock held) that is dirty if
 * access has WRITE; its bytes are at vm_page_address, and its object stays until then.  If a write had to copy the page,
 * the old mapping at gpa is dropped.  Errors as vm_fault; also VM_PROTECTION
 * when a write is asked for and the page can only be read.
 */
enum vm_result vm_fault_page(struct vm_map *map, gpa_t gpa, vm_prot_t access, unsigned flags,
                             struct vm_page **mp, struct vm_fault_info *info)
    __attribute__((warn_unused_result));

/* vm_fault_page with neither flags nor details. */
enum vm_result vm_fault_page_quick(struct vm_map *map, gpa_t gpa, vm_prot_t access,
                                   struct vm_page **mp) __attribute__((warn_unused_result));

/* A virtual page table over a bare object. */
struct vm_fault_table {
    const struct vpte_format *format; /* borrowed */
    vpte_t root;
};

/*
 * Resolve an access to page pindex of an object, or, with a table, to the page that the
 * walk of it in that object comes to; nothing is mapped.  It counts in `meter`, of the VM that
 * it is made for.
 * Locks: none held; sleeps, until *stop is set (vm_stop.h).  The caller has a reference of the
 * object.
 * Returns VM_OK and *mp as vm_fault_page does; else VM_BEYOND_OBJECT, VM_OBJECT_DEAD,
 * VM_IO_ERROR, VM_HOST_FAILURE, and with a table the walk's VM_VPTE_INVALID,
 * VM_VPTE_PROTECTION and VM_BAD_FRAME.  info->gpa is the offset pindex stands for.
 * Source: DragonFly vm_fault_object_page.
 */
enum vm_result vm_fault_object_page(struct vm_map_meter *meter, struct vm_object *object,
                                    const struct vm_fault_table *table, vm_pindex_t pindex,
                                    vm_prot_t access, unsigned flags, const _Atomic bool *stop,
                                    struct vm_page **mp, struct vm_fault_info *info)
    __attribute__((warn_unused_result));

/*
 * Copy bytes between guest-physical memory and the monitor (vm_copy.c): what a vCPU's access is
 * that KVM emulates, and a doorbell call's argument.  Page by page: what is copied of one is
 * copied before an INVAL, SETMAP or edit of the map that changes what the address shows returns,
 * or as that left it.
 * Locks: none held; sleeps.
 * Returns VM_OK, or the first page's failure; bytes before it may have been copied.
 */
enum vm_result vm_map_read(struct vm_map *map, gpa_t gpa, void *to, size_t size,
                           struct vm_fault_info *info) __attribute__((warn_unused_result));
enum vm_result vm_map_write(struct vm_map *map, gpa_t gpa, const void *from, size_t size,
                            struct vm_fault_info *info) __attribute__((warn_unused_result));

/*
 * An access of a vCPU that KVM emulates, `origin`: as vm_map_write if `from` is not NULL, else
 * vm_map_read.
 */
enum vm_result vm_map_emulate(struct vm_map *map, gpa_t gpa, void *to, const void *from,
                              size_t size, const struct vm_fault_origin *origin,
                              struct vm_fault_info *info) __attribute__((warn_unused_result));

/*
 * vm_map_read where the guest made no access: the monitor looks something up for itself, and
 * the guest is not to find it among its faults (VM_FAULT_QUIET).
 */
enum vm_result vm_map_peek(struct vm_map *map, gpa_t gpa, void *to, size_t size,
                           struct vm_fault_info *info) __attribute__((warn_unused_result));

#endif
