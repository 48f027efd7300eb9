/* SPDX-License-Identifier: BSD-2-Clause */
/* Source: Linux Documentation/virt/kvm/api.rst, KVM_SET_USER_MEMORY_REGION. */
#include "vmm/kvm/memslot.h"

#include "vmm/kvm/kvm_ioctl.h"

#include "vmm/kvm/kvm_compat.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

int
memslots_init(struct memslots *slots, int vm_fd, unsigned limit)
{
    slots->vm_fd = vm_fd;
    slots->limit = limit;
    vm_mutex_init(&slots->lock);
    vm_mutex_lock(&slots->lock);
    slots->used = calloc((limit + 63) / 64, sizeof(uint64_t));
    bool ok = slots->used != NULL;
    vm_mutex_unlock(&slots->lock);
    if (!ok)
        vm_mutex_fini(&slots->lock);
    return ok ? 0 : -ENOMEM;
}

void
memslots_fini(struct memslots *slots)
{
    vm_mutex_lock(&slots->lock);
    free(slots->used);
    vm_mutex_unlock(&slots->lock);
    vm_mutex_fini(&slots->lock);
}

/* Take the lowest free number; slots->limit when there is none. */
static unsigned
number_get(struct memslots *slots)
{
    unsigned slot = 0;

    vm_mutex_lock(&slots->lock);
    while (slot < slots->limit && (slots->used[slot / 64] >> (slot % 64) & 1) != 0)
        slot++;
    if (slot < slots->limit)
        slots->used[slot / 64] |= (uint64_t)1 << (slot % 64);
    vm_mutex_unlock(&slots->lock);
    return slot;
}

static void
number_put(struct memslots *slots, unsigned slot)
{
    vm_mutex_lock(&slots->lock);
    slots->used[slot / 64] &= ~((uint64_t)1 << (slot % 64));
    vm_mutex_unlock(&slots->lock);
}

/* Set, or with size 0 delete, a slot. */
static int
set_region(const struct memslots *slots, unsigned slot, gpa_t gpa, uint64_t size, void *base)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .guest_phys_addr = gpa_to_u64(gpa),
        .memory_size = size,
        .userspace_addr = (uintptr_t)base,
    };

    return kvm_ioctl(slots->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

int
memslot_add(struct memslots *slots, gpa_t gpa, uint64_t npages, void *base, unsigned *slot)
{
    unsigned number = number_get(slots);

    if (number == slots->limit)
        return -ENOSPC;
    int error = set_region(slots, number, gpa, npages << PAGE_SHIFT, base);
    if (error != 0) {
        number_put(slots, number);
        return error;
    }
    *slot = number;
    return 0;
}

void
memslot_remove(struct memslots *slots, unsigned slot)
{
    int error = set_region(slots, slot, gpa_from_u64(0), 0, NULL);

    assert(error == 0); /* deleting an existing slot cannot fail */
    (void)error;
    number_put(slots, slot);
}
