/* SPDX-License-Identifier: BSD-2-Clause */
/* What a trace is told of the pages that a scan looked at: of each that left or failed, and of no other. */
#include "tests/unit/swap_rig.h"

TestSuite(vm_pageout_trace, .timeout = 120);

#define NPAGES 16u

static struct vm_pageout_record records[4 * NPAGES];
static unsigned nrecords;

static void
record_page(void *context, const struct vm_pageout_record *record)
{
    cr_assert(context == records);
    cr_assert(lt(uint, nrecords, 4 * NPAGES));
    records[nrecords++] = *record;
}

static const struct vm_pageout_trace trace = { .page = record_page, .context = records };

/* Old pages of RAM [0, NPAGES), and a trace. */
static void
traced_rig(struct rig *rig)
{
    swap_rig(rig, 0, 4 * NPAGES);
    fill(rig, 0, NPAGES);
    make_old(rig, rig->ram, false);
    nrecords = 0;
    atomic_store(&rig->sys.pageout_trace, &trace);
}

static void
expect_records(const struct rig *rig, unsigned count, bool written, bool failed, bool freed)
{
    cr_assert(eq(uint, nrecords, count));
    for (unsigned i = 0; i < count; i++) {
        cr_expect(eq(u64, records[i].object, rig->ram->number));
        cr_expect(records[i].written == written && records[i].failed == failed &&
                      records[i].freed == freed,
                  "record %u", i);
    }
}

Test(vm_pageout_trace, a_page_that_is_written_and_freed_is_told_as_both)
{
    struct rig rig;

    traced_rig(&rig);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, NPAGES), NPAGES));
    expect_records(&rig, NPAGES, true, false, true);
    atomic_store(&rig.sys.pageout_trace, NULL);
    swap_fini(&rig);
}

Test(vm_pageout_trace, a_clean_page_that_is_freed_is_told_as_freed_only)
{
    struct rig rig;

    traced_rig(&rig);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, NPAGES), NPAGES));
    check(&rig, 0, NPAGES);
    make_old(&rig, rig.ram, false);
    nrecords = 0;
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, NPAGES), NPAGES));
    expect_records(&rig, NPAGES, false, false, true);
    atomic_store(&rig.sys.pageout_trace, NULL);
    swap_fini(&rig);
}

Test(vm_pageout_trace, a_page_that_cannot_be_written_is_told_as_failed)
{
    struct rig rig;

    traced_rig(&rig);
    write_error = EIO;
    cr_assert(zero(u64, vm_pageout_scan(&rig.sys, NPAGES)));
    cr_assert(ge(uint, nrecords, NPAGES));
    expect_records(&rig, nrecords, false, true, false);
    write_error = 0;
    atomic_store(&rig.sys.pageout_trace, NULL);
    swap_fini(&rig);
}

Test(vm_pageout_trace, a_page_that_stays_is_not_told)
{
    struct rig rig;

    traced_rig(&rig);
    for (unsigned p = 0; p < NPAGES; p++)
        vm_page_flag_set(rig_page(rig.ram, p), VM_PAGE_REFERENCED);
    (void)vm_pageout_scan(&rig.sys, 1);
    for (unsigned i = 0; i < nrecords; i++)
        cr_expect(records[i].freed);
    cr_expect(lt(uint, nrecords, NPAGES));
    atomic_store(&rig.sys.pageout_trace, NULL);
    swap_fini(&rig);
}
