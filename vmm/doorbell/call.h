/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The arguments of the guest's calls (vkvm_abi.h), one struct for each: taken from the five
 * registers and checked as far as they can be by themselves.  What depends on the VM, such as
 * whether a window is there, is checked where the call is done.
 */
#ifndef CALL_H
#define CALL_H

#include "vmm/vpagetable/vm_map.h"

struct call_exit {
    int status; /* 0 .. 255 */
};

struct call_statistics {
    gpa_t to;
    uint64_t size; /* 1 or more */
};

struct call_fault_delivery {
    unsigned mode; /* VKVM_DELIVER_* */
    gpa_t area;    /* for VKVM_DELIVER_VE, aligned to 8 bytes; may be anywhere */
};

/* A range of whole pages, not empty, that does not wrap around: INVAL, SYNC, WIRE, UNWIRE. */
struct call_range {
    gpa_t start;
    gpa_t end;
};

struct call_advise {
    struct call_range range;
    enum vm_map_advice advice;
};

/* Ranges from here on lie in the window region, and so does the source of a copy. */
struct call_setmap {
    struct call_range range;
    vpte_t root;
};

struct call_protect {
    struct call_range range;
    vm_prot_t prot;
};

/* VMSPACE_CREATE, of which the id must be one; VMSPACE_DESTROY, which finds out. */
struct call_vmspace {
    uint64_t id;
};

struct call_vmspace_map {
    uint64_t id;
    struct call_range range;
    vpte_t root;
    const struct vpte_format *format;
    vm_prot_t prot;
};

struct call_vmspace_unmap {
    uint64_t id;
    struct call_range range;
};

struct call_region_map {
    uint64_t id;
    struct call_range range; /* two pages or more, if it is a stack */
    vm_prot_t prot;
    bool guard; /* not both */
    bool stack;
};

struct call_copy {
    uint64_t id;
    struct call_range from;
    struct call_range to; /* of the same size */
};

struct call_wait {
    gpa_t word; /* aligned to 4 bytes */
    uint32_t expected;
    uint64_t timeout_ns; /* VKVM_WAIT_FOREVER: none */
};

struct call_wake {
    gpa_t word;     /* aligned to 4 bytes */
    uint64_t count; /* 1 or more */
};

/* CONSOLE_WRITE and CONSOLE_READ. */
struct call_console {
    gpa_t buffer;
    uint64_t size; /* does not wrap around; VKVM_CONSOLE_MAX at most */
};

union call {
    struct call_exit exit;
    struct call_statistics statistics;
    struct call_fault_delivery fault_delivery;
    struct call_range range;
    struct call_advise advise;
    struct call_setmap setmap;
    struct call_protect protect;
    struct call_vmspace vmspace;
    struct call_vmspace_map vmspace_map;
    struct call_vmspace_unmap vmspace_unmap;
    struct call_region_map region_map;
    struct call_copy copy;
    struct call_wait wait;
    struct call_wake wake;
    struct call_console console;
};

#define CALL_ARGUMENTS 5

/*
 * Take one call's arguments.
 * Returns 0 with its member of *call set; -EINVAL, -EFAULT as docs/guest-abi.md says.
 */
typedef int call_unpack_fn(const uint64_t argument[CALL_ARGUMENTS], union call *call);

call_unpack_fn call_unpack_none; /* a call without arguments */
call_unpack_fn call_unpack_exit;
call_unpack_fn call_unpack_statistics;
call_unpack_fn call_unpack_fault_delivery;
call_unpack_fn call_unpack_range;
call_unpack_fn call_unpack_advise;
call_unpack_fn call_unpack_setmap;
call_unpack_fn call_unpack_protect;
call_unpack_fn call_unpack_vmspace_create;
call_unpack_fn call_unpack_vmspace_destroy;
call_unpack_fn call_unpack_vmspace_map;
call_unpack_fn call_unpack_vmspace_unmap;
call_unpack_fn call_unpack_region_map;
call_unpack_fn call_unpack_copy;
call_unpack_fn call_unpack_wait;
call_unpack_fn call_unpack_wake;
call_unpack_fn call_unpack_console;

static inline uint64_t
call_range_size(const struct call_range *range)
{
    return gpa_to_u64(range->end) - gpa_to_u64(range->start);
}

/* Does the range lie in the window region, where windows, regions and files are? */
bool call_range_in_windows(const struct call_range *range);

#endif
