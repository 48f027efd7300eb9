/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The counters a guest can read add up, and count what the guest did.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#include <stddef.h>

static uint64_t
sum_of_kinds(const struct vkvm_statistics *s)
{
    return s->resident + s->zero_fill + s->page_in + s->cow + s->failed + s->host_failed;
}

int
guest_main(void)
{
    struct vkvm_statistics before = { 0 }, after = { 0 };
    struct access_fault fault;
    struct window window;

    access_init();
    window_init(&window, &vpte64, 16);
    window_map_new(&window, 0, VPTE_RW);

    test_begin("the kinds of fault add up to the faults");
    EXPECT(doorbell_statistics(&before) == (int64_t)sizeof(before), "size");
    EXPECT(sum_of_kinds(&before) == before.faults, "%lu of %lu", sum_of_kinds(&before),
           before.faults);
    EXPECT(before.version == VKVM_ABI_VERSION, "version %lu", before.version);
    test_end();

    test_begin("a write through a window counts one walk and its bits");
    access_store(window_address(&window, 0), 1, &fault);
    doorbell_statistics(&after);
    EXPECT(after.walks > before.walks, "no walk");
    EXPECT(after.vpte_a - before.vpte_a >= 4, "%lu A bits", after.vpte_a - before.vpte_a);
    EXPECT(after.vpte_m - before.vpte_m >= 4, "%lu M bits", after.vpte_m - before.vpte_m);
    EXPECT(sum_of_kinds(&after) == after.faults, "sum");
    test_end();

    test_begin("a refused access, INVAL and SETMAP count");
    doorbell_statistics(&before);
    (void)access_load(window_address(&window, 1), &fault);
    doorbell_inval(window.start, window.size);
    doorbell_setmap(window.start, window.size, window.table.root);
    doorbell_statistics(&after);
    EXPECT(after.failed == before.failed + 1, "%lu failed", after.failed - before.failed);
    EXPECT(after.invals == before.invals + 1, "INVAL");
    EXPECT(after.setmaps == before.setmaps + 1, "SETMAP");
    test_end();

    test_begin("time passes, and a guest that asks for fewer bytes gets those");
    before.invals = 12345;
    EXPECT(doorbell_call(VKVM_CALL_STATISTICS,
                         (uint64_t[5]){ (uint64_t)&before,
                                        offsetof(struct vkvm_statistics, invals) },
                         NULL) == (int64_t)offsetof(struct vkvm_statistics, invals),
           "size");
    EXPECT(before.faults >= after.faults && before.invals == 12345, "more or less was written");
    doorbell_statistics(&before);
    EXPECT(before.time_ns > after.time_ns, "%lu, then %lu", after.time_ns, before.time_ns);
    test_end();
    return test_summary();
}
