/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fault rig with a swap file whose I/O fails on demand.  A file that includes this has its own.
 */
#ifndef SWAP_RIG_H
#define SWAP_RIG_H

#include "tests/unit/fault_rig.h"
#include "vmm/pager/swap_pager.h"
#include "vmm/vpagetable/vm_pageout.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define W(n) (RIG_WINDOW + PAGE(n))

static char path[64];
static _Atomic int write_error; /* errno of writes to swap, 0 = none */
static _Atomic int read_error;
static unsigned messages;
static char message[200];
static int message_error;

static inline ssize_t
swap_read(int fd, const struct iovec *iov, int count, off_t offset)
{
    errno = read_error;
    return errno != 0 ? -1 : preadv(fd, iov, count, offset);
}

static inline ssize_t
swap_write(int fd, const struct iovec *iov, int count, off_t offset)
{
    errno = write_error;
    return errno != 0 ? -1 : pwritev(fd, iov, count, offset);
}

static const struct swap_device_io swap_io = { .read = swap_read, .write = swap_write };

static inline void
take_message(void *context, const char *text, int error)
{
    cr_assert(context == &messages);
    messages++;
    message_error = error;
    snprintf(message, sizeof(message), "%s", text);
}

/* Attach swap of so many pages to a rig that has not faulted yet. */
static inline void
swap_init(struct rig *rig, uint64_t pages)
{
    struct swap_device *device;

    strcpy(path, "/tmp/vm_pageout.XXXXXX");
    close(mkstemp(path));
    cr_assert(zero(int, swap_device_open_io(path, pages, &swap_io, &device)));
    swap_device_attach(device, &rig->sys);
    rig->sys.pageout_error = take_message;
    rig->sys.pageout_error_context = &messages;
}

static inline void
swap_fini(struct rig *rig)
{
    struct swap_device *device = rig->sys.swap;

    rig_fini(rig);
    cr_assert(zero(u64, swap_device_used(device)));
    swap_device_close(device);
    unlink(path);
}

static inline void
swap_rig(struct rig *rig, uint64_t budget, uint64_t pages)
{
    rig_init(rig, budget);
    rig->sys.tunables.fast_fault = false;
    swap_init(rig, pages);
}

/* Make RAM pages [first, end), of value p * 3 + 1. */
static inline void
fill(struct rig *rig, unsigned first, unsigned end)
{
    for (unsigned p = first; p < end; p++)
        rig_store(rig, PAGE(p), p * 3 + 1);
}

static inline void
check(struct rig *rig, unsigned first, unsigned end)
{
    for (unsigned p = first; p < end; p++)
        cr_assert(eq(u64, rig_load(rig, PAGE(p)), p * 3 + 1));
}

/* Unmap all and let everything be old: on PQ_INACTIVE, unreferenced, or on PQ_ACTIVE. */
static inline void
make_old(struct rig *rig, struct vm_object *object, bool active)
{
    pmap_remove(&rig->pmap, gpa_from_u64(0), gpa_from_u64(PAGE(1) * RIG_PAGES));
    vm_mutex_lock(&object->lock);
    for (vm_pindex_t p = vm_object_next_resident(object, 0); p < object->size;
         p = vm_object_next_resident(object, p + 1)) {
        struct vm_page *m = vm_page_lookup(object, p);

        vm_page_flag_clear(m, VM_PAGE_REFERENCED);
        if (active)
            vm_page_activate(m);
        else
            vm_page_deactivate(m);
    }
    vm_mutex_unlock(&object->lock);
}

static inline uint64_t
resident(struct rig *rig)
{
    return vm_budget_resident(&rig->sys);
}

/* A write to it hits the budget with nothing that could leave. */
static inline void
expect_no_memory(struct rig *rig, unsigned page)
{
    cr_assert(eq(int, rig_touch(rig, PAGE(page), VM_PROT_WRITE), VM_HOST_FAILURE));
    cr_assert(eq(int, rig_info.error, -ENOMEM));
    cr_assert(zero(int, strcmp(rig_info.cause, vm_pageout_no_memory(&rig->sys))));
}

#endif
