/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls of the doorbell (vkvm_abi.h), one inline function each.
 *
 * All return 0 or more, or -VKVM_E*.  Usable in ring 0, and in ring 3 (ring3_call).
 */
#ifndef GUEST_DOORBELL_H
#define GUEST_DOORBELL_H

#include "guest/include/vkvm_abi.h"

/* Any call, known or not, with five arguments; *second, if not NULL, gets RDX. */
static inline int64_t
doorbell_call(uint64_t number, const uint64_t argument[5], uint64_t *second)
{
    register uint64_t r8 __asm__("r8") = argument[2];
    register uint64_t r9 __asm__("r9") = argument[3];
    register uint64_t r10 __asm__("r10") = argument[4];
    uint64_t result = number;
    uint64_t rdx = VKVM_PORT_DOORBELL;

    __asm__ volatile("outl %%eax, %%dx"
                     : "+a"(result), "+d"(rdx)
                     : "D"(argument[0]), "S"(argument[1]), "r"(r8), "r"(r9), "r"(r10)
                     : "memory");
    if (second)
        *second = rdx;
    return (int64_t)result;
}

static inline int64_t
doorbell_version(void)
{
    return doorbell_call(VKVM_CALL_VERSION, (uint64_t[5]){ 0 }, (uint64_t *)0);
}

/* End the VM; only the low 8 bits of status count. */
static inline _Noreturn void
doorbell_exit(unsigned status)
{
    for (;;)
        doorbell_call(VKVM_CALL_EXIT, (uint64_t[5]){ status & 0xff }, (uint64_t *)0);
}

static inline int64_t
doorbell_statistics(struct vkvm_statistics *to)
{
    return doorbell_call(VKVM_CALL_STATISTICS, (uint64_t[5]){ (uint64_t)to, sizeof(*to) },
                         (uint64_t *)0);
}

/* How this vCPU gets its faults: VKVM_DELIVER_*; the area is for #VE only. */
static inline int64_t
doorbell_fault_delivery(unsigned mode, struct vkvm_ve_area *area)
{
    return doorbell_call(VKVM_CALL_FAULT_DELIVERY, (uint64_t[5]){ mode, (uint64_t)area },
                         (uint64_t *)0);
}

static inline int64_t
doorbell_setmap(uint64_t start, uint64_t size, uint64_t root)
{
    return doorbell_call(VKVM_CALL_SETMAP, (uint64_t[5]){ start, size, root }, (uint64_t *)0);
}

static inline int64_t
doorbell_inval(uint64_t start, uint64_t size)
{
    return doorbell_call(VKVM_CALL_INVAL, (uint64_t[5]){ start, size }, (uint64_t *)0);
}

static inline int64_t
doorbell_advise(uint64_t start, uint64_t size, unsigned advice)
{
    return doorbell_call(VKVM_CALL_ADVISE, (uint64_t[5]){ start, size, advice }, (uint64_t *)0);
}

static inline int64_t
doorbell_vmspace_create(uint64_t id)
{
    return doorbell_call(VKVM_CALL_VMSPACE_CREATE, (uint64_t[5]){ id }, (uint64_t *)0);
}

static inline int64_t
doorbell_vmspace_destroy(uint64_t id)
{
    return doorbell_call(VKVM_CALL_VMSPACE_DESTROY, (uint64_t[5]){ id }, (uint64_t *)0);
}

static inline int64_t
doorbell_vmspace_map(uint64_t id, uint64_t start, uint64_t size, uint64_t root, unsigned flags)
{
    return doorbell_call(VKVM_CALL_VMSPACE_MAP, (uint64_t[5]){ id, start, size, root, flags },
                         (uint64_t *)0);
}

static inline int64_t
doorbell_vmspace_unmap(uint64_t id, uint64_t start, uint64_t size)
{
    return doorbell_call(VKVM_CALL_VMSPACE_UNMAP, (uint64_t[5]){ id, start, size }, (uint64_t *)0);
}

static inline int64_t
doorbell_protect(uint64_t start, uint64_t size, unsigned permissions)
{
    return doorbell_call(VKVM_CALL_PROTECT, (uint64_t[5]){ start, size, permissions },
                         (uint64_t *)0);
}

/* Write what the guest wrote to a mapped file back to it. */
static inline int64_t
doorbell_sync(uint64_t start, uint64_t size)
{
    return doorbell_call(VKVM_CALL_SYNC, (uint64_t[5]){ start, size }, (uint64_t *)0);
}

/* Zero-fill memory of its own in a vmspace: a region. */
static inline int64_t
doorbell_region_map(uint64_t id, uint64_t start, uint64_t size, unsigned permissions)
{
    return doorbell_call(VKVM_CALL_REGION_MAP, (uint64_t[5]){ id, start, size, permissions },
                         (uint64_t *)0);
}

/* [dst, dst + size) becomes a region of the vmspace and a copy of the region at src. */
static inline int64_t
doorbell_copy(uint64_t id, uint64_t src, uint64_t dst, uint64_t size)
{
    return doorbell_call(VKVM_CALL_COPY, (uint64_t[5]){ id, src, dst, size }, (uint64_t *)0);
}

static inline int64_t
doorbell_wire(uint64_t start, uint64_t size)
{
    return doorbell_call(VKVM_CALL_WIRE, (uint64_t[5]){ start, size }, (uint64_t *)0);
}

static inline int64_t
doorbell_unwire(uint64_t start, uint64_t size)
{
    return doorbell_call(VKVM_CALL_UNWIRE, (uint64_t[5]){ start, size }, (uint64_t *)0);
}

/*
 * Sleep while *word is `expected`: until a WAKE, for `timeout_ns`, or less (VKVM_WAIT_FOREVER: no
 * time-out).  0, also for no reason; -VKVM_EBUSY, -VKVM_ETIMEDOUT.
 */
static inline int64_t
doorbell_wait(const uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    return doorbell_call(VKVM_CALL_WAIT, (uint64_t[5]){ (uint64_t)word, expected, timeout_ns },
                         (uint64_t *)0);
}

/* Wake `count` of those who wait for the word; how many there were. */
static inline int64_t
doorbell_wake(const uint32_t *word, uint64_t count)
{
    return doorbell_call(VKVM_CALL_WAKE, (uint64_t[5]){ (uint64_t)word, count }, (uint64_t *)0);
}

/* How many bytes were written, or read; see vkvm_abi.h. */
static inline int64_t
doorbell_console_write(const void *from, uint64_t size)
{
    return doorbell_call(VKVM_CALL_CONSOLE_WRITE, (uint64_t[5]){ (uint64_t)from, size },
                         (uint64_t *)0);
}

static inline int64_t
doorbell_console_read(void *to, uint64_t size)
{
    return doorbell_call(VKVM_CALL_CONSOLE_READ, (uint64_t[5]){ (uint64_t)to, size },
                         (uint64_t *)0);
}

#endif
