/* SPDX-License-Identifier: BSD-2-Clause */
/* Source: Linux Documentation/virt/kvm/api.rst, KVM_SET_USER_MEMORY_REGION. */
#include "vmm/kvm/memslot.h"

#include "vmm/kvm/kvm_ioctl.h"

#include "vmm/kvm/kvm_compat.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

struct memslot {
    uint64_t first; /* guest page number */
    uint64_t npages;
    unsigned number;
    unsigned windows; /* how many it shows, whole or in part */
};

static int
real_ioctl(int fd, unsigned long request, void *argument)
{
    return ioctl(fd, request, argument);
}

/* The smallest power of two of which at most three quarters of `limit` fill the space. */
static uint64_t
choose_cell(uint64_t space_npages, unsigned limit)
{
    uint64_t cells = limit / 4 * 3;
    uint64_t cell = 1;

    while (cell < space_npages && space_npages / cell > cells)
        cell *= 2;
    return cell;
}

int
memslots_init(struct memslots *slots, int vm_fd, unsigned limit, uint8_t *space,
              uint64_t space_npages)
{
    uint64_t *used = calloc((limit + 63) / 64, sizeof(uint64_t));

    if (used == NULL)
        return -ENOMEM;
    *slots = (struct memslots){
        .vm_fd = vm_fd,
        .limit = limit,
        .space = space,
        .space_npages = space_npages,
        .cell = choose_cell(space_npages, limit),
        .used = used,
        .ioctl = real_ioctl,
    };
    vm_mutex_init(&slots->lock);
    return 0;
}

void
memslots_fini(struct memslots *slots)
{
    vm_mutex_lock(&slots->lock);
    while (slots->slots.n != 0) {
        free(slots->slots.ranges[slots->slots.n - 1].owner);
        vm_ranges_remove(&slots->slots, slots->slots.n - 1);
    }
    vm_ranges_fini(&slots->slots);
    free(slots->used);
    vm_mutex_unlock(&slots->lock);
    vm_mutex_fini(&slots->lock);
}

/* --- Numbers ------------------------------------------------------------- */

/* Take the lowest free number; slots->limit when there is none. */
static unsigned
number_get(struct memslots *slots) VM_REQUIRES(slots->lock)
{
    uint64_t candidates = UINT64_MAX << (slots->lowest % 64);
    unsigned word = slots->lowest / 64;
    unsigned number = slots->limit;

    while (word * 64 < slots->limit && (~slots->used[word] & candidates) == 0) {
        candidates = UINT64_MAX;
        word++;
    }
    if (word * 64 < slots->limit)
        number = word * 64 + (unsigned)__builtin_ctzll(~slots->used[word] & candidates);
    if (number > slots->limit) /* past the end of the last word */
        number = slots->limit;
    slots->lowest = number;
    if (number < slots->limit)
        slots->used[number / 64] |= (uint64_t)1 << (number % 64);
    return number;
}

static void
number_put(struct memslots *slots, unsigned number) VM_REQUIRES(slots->lock)
{
    slots->used[number / 64] &= ~((uint64_t)1 << (number % 64));
    if (number < slots->lowest)
        slots->lowest = number;
}

/* --- Slots --------------------------------------------------------------- */

/* The first slot that ends after the page, or NULL. */
static struct memslot *
slot_after(const struct memslots *slots, uint64_t page) VM_REQUIRES(slots->lock)
{
    return vm_ranges_after(&slots->slots, page);
}

/* Tell KVM about a slot, or with npages 0 that it is no more. */
static int
set_region(const struct memslots *slots, const struct memslot *slot, uint64_t npages)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot->number,
        .guest_phys_addr = slot->first << PAGE_SHIFT,
        .memory_size = npages << PAGE_SHIFT,
        .userspace_addr = (uintptr_t)slots->space + (slot->first << PAGE_SHIFT),
    };

    return kvm_ioctl_by(slots->ioctl, slots->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

/* Make a slot of [first, end), where there is none; it shows no window yet. */
static int
slot_make(struct memslots *slots, uint64_t first, uint64_t end) VM_REQUIRES(slots->lock)
{
    struct memslot *slot = calloc(1, sizeof(*slot));
    int error = slot == NULL ? -ENOMEM : vm_ranges_reserve(&slots->slots);

    if (error != 0) {
        free(slot);
        return error;
    }
    *slot = (struct memslot){ .first = first, .npages = end - first, .number = number_get(slots) };
    if (slot->number == slots->limit) {
        error = -ENOSPC;
    } else {
        error = set_region(slots, slot, slot->npages);
        if (error != 0)
            number_put(slots, slot->number);
    }
    if (error == 0) {
        vm_ranges_insert(&slots->slots, vm_ranges_search(&slots->slots, first), end, slot);
    } else {
        vm_ranges_unreserve(&slots->slots);
        free(slot);
    }
    return error;
}

static int
slot_delete(struct memslots *slots, struct memslot *slot) VM_REQUIRES(slots->lock)
{
    int error = set_region(slots, slot, 0);

    if (error != 0)
        return error;
    number_put(slots, slot->number);
    vm_ranges_remove(&slots->slots, vm_ranges_search(&slots->slots, slot->first));
    free(slot);
    return 0;
}

/* Widen a gap between slots, of which a window lacks [*first, *end), to its cell's borders. */
static void
widen(const struct memslots *slots, uint64_t *first, uint64_t *end) VM_REQUIRES(slots->lock)
{
    uint64_t lowest = *first - *first % slots->cell;
    uint64_t highest = (*end + slots->cell - 1) / slots->cell * slots->cell;
    unsigned i = vm_ranges_search(&slots->slots, *first);
    const struct memslot *next = i < slots->slots.n ? slots->slots.ranges[i].owner : NULL;

    if (i != 0 && slots->slots.ranges[i - 1].end > lowest)
        lowest = slots->slots.ranges[i - 1].end;
    if (next != NULL && next->first < highest)
        highest = next->first;
    if (highest > slots->space_npages)
        highest = slots->space_npages;
    *first = lowest;
    *end = highest;
}

/* See that a slot shows `page`; *slot is it, with one window more.  `end`: the window's. */
static int
show_page(struct memslots *slots, uint64_t page, uint64_t end, struct memslot **slotp)
    VM_REQUIRES(slots->lock)
{
    struct memslot *slot = slot_after(slots, page);
    uint64_t first = page;
    int error;

    if (slot == NULL || slot->first > page) {
        if (slot != NULL && slot->first < end)
            end = slot->first;
        if (slots->slots.n >= slots->limit / 8)
            widen(slots, &first, &end);
        error = slot_make(slots, first, end);
        if (error != 0)
            return error;
        slot = slot_after(slots, page);
    }
    slot->windows++;
    *slotp = slot;
    return 0;
}

/* One window less in the slots around [first, end); the last error counts. */
static int
hide_range(struct memslots *slots, uint64_t first, uint64_t end) VM_REQUIRES(slots->lock)
{
    int error = 0;

    while (first < end) {
        struct memslot *slot = slot_after(slots, first);
        int failed;

        assert(slot != NULL && slot->first <= first && slot->windows != 0);
        first = slot->first + slot->npages;
        failed = --slot->windows == 0 ? slot_delete(slots, slot) : 0;
        if (failed != 0)
            error = failed;
    }
    return error;
}

int
memslots_show(struct memslots *slots, uint64_t first, uint64_t npages)
{
    uint64_t page = first, end = first + npages;
    struct memslot *slot;
    int error = 0;

    vm_mutex_lock(&slots->lock);
    while (page < end && error == 0) {
        error = show_page(slots, page, end, &slot);
        if (error == 0)
            page = slot->first + slot->npages;
    }
    if (error != 0)
        (void)hide_range(slots, first, page);
    vm_mutex_unlock(&slots->lock);
    return error;
}

int
memslots_hide(struct memslots *slots, uint64_t first, uint64_t npages)
{
    vm_mutex_lock(&slots->lock);
    int error = hide_range(slots, first, first + npages);
    vm_mutex_unlock(&slots->lock);
    return error;
}
