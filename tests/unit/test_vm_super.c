/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Superpages: when a stream makes one, what keeps it from that, and that whatever changes a page of one gives
 * it up first.  The fake machine aborts if anything but that is done to a promoted chunk.
 */
#include "tests/unit/environment.h"
#include "tests/unit/swap_rig.h"
#include "vmm/vpagetable/pmap_super.h"

#define CHUNK PMAP_CHUNK_PAGES
#define CHUNKS (RIG_PAGES / CHUNK)

static void
super_init(struct rig *rig, uint64_t budget)
{
    rig_init(rig, budget);
    rig->sys.tunables.superpages = true;
}

/* Write page numbers to [first, end), in order. */
static void
stream(struct rig *rig, uint64_t first, uint64_t end)
{
    for (uint64_t p = first; p < end; p++)
        rig_store(rig, PAGE(p), p + 1);
}

/* The chunks have these numbers, and zeros behind each first word. */
static void
expect_stream(struct rig *rig, uint64_t first, uint64_t end)
{
    for (uint64_t p = first; p < end; p++) {
        cr_assert(eq(u64, rig_load(rig, PAGE(p)), p + 1));
        cr_assert(zero(u64, rig_load(rig, PAGE(p) + PAGE_SIZE - 8)));
    }
}

static bool
is_promoted(struct rig *rig, unsigned chunk)
{
    return pmap_super_is_promoted(pmap_window_look(&rig->pmap, chunk * CHUNK), chunk * CHUNK);
}

static void
expect_promoted(struct rig *rig, bool first, bool second)
{
    cr_assert(eq(int, is_promoted(rig, 1), first));
    cr_assert(eq(int, is_promoted(rig, 2), second));
}

/* A rig whose chunks 1 and 2 are superpages. */
static void
super_made(struct rig *rig)
{
    super_init(rig, 0);
    stream(rig, 0, 3 * CHUNK);
    cr_assert(is_promoted(rig, 1) && is_promoted(rig, 2));
    cr_assert(eq(uint, rig->fake.promotes, 2));
}

/* --- Making -------------------------------------------------------------- */

Test(vm_super, a_stream_makes_one_of_each_aligned_hole_before_it)
{
    struct rig rig;
    unsigned enters;

    super_init(&rig, 0);
    stream(&rig, 0, CHUNK);
    cr_assert(zero(uint, rig.fake.promotes)); /* there was nothing behind the first chunk */
    enters = rig.fake.enters;
    stream(&rig, CHUNK, RIG_PAGES);
    cr_assert(eq(uint, rig.fake.promotes, CHUNKS - 1));
    cr_assert(eq(uint, rig.fake.enters, enters));
    cr_assert(eq(u64, rig_meter(&rig, v_super_made), CHUNKS - 1));
    cr_assert(eq(u64, rig_meter(&rig, v_zfod), RIG_PAGES));
    cr_assert(eq(u64, rig_meter(&rig, v_ozfod), RIG_PAGES));
    cr_assert(eq(u64, rig_meter(&rig, v_prefault) + rig_meter(&rig, v_vm_faults), RIG_PAGES));
    cr_assert(eq(u64, rig.ram->resident_count, RIG_PAGES));
    expect_stream(&rig, 0, RIG_PAGES);
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, the_page_behind_it_is_kept_free_meanwhile_and_given_back)
{
    struct rig rig;

    super_init(&rig, 0);
    stream(&rig, 0, CHUNK + 1);
    cr_assert(eq(uint, rig.fake.promoted_holes, 1));
    cr_assert(eq(u64, rig.ram->resident_count, 2 * CHUNK));
    stream(&rig, CHUNK, RIG_PAGES);
    cr_assert(
        eq(uint, rig.fake.promoted_holes, CHUNKS - 2)); /* the last chunk has nothing behind it */
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, none_is_made_where_the_page_behind_it_is_in_use)
{
    struct rig rig;

    super_init(&rig, 0);
    rig_store(&rig, PAGE(2 * CHUNK), 7);
    stream(&rig, 0, 2 * CHUNK);
    cr_assert(zero(uint, rig.fake.promotes));
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, a_stream_that_goes_down_makes_none)
{
    struct rig rig;

    super_init(&rig, 0);
    for (uint64_t p = RIG_PAGES; p-- > 0;)
        rig_store(&rig, PAGE(p), p + 1);
    cr_assert(zero(uint, rig.fake.promotes));
    expect_stream(&rig, 0, RIG_PAGES);
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, none_is_made_of_a_chunk_that_has_a_page_already)
{
    struct rig rig;

    super_init(&rig, 0);
    rig_store(&rig, PAGE(CHUNK + 300), 9);
    stream(&rig, 0, CHUNK + 300);
    cr_assert(zero(uint, rig.fake.promotes));
    cr_assert(eq(u64, rig_load(&rig, PAGE(CHUNK + 300)), 9));
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, none_is_made_unless_it_is_asked_for)
{
    struct rig rig;

    rig_init(&rig, 0);
    stream(&rig, 0, RIG_PAGES);
    cr_assert(zero(uint, rig.fake.promotes));
    rig_fini(&rig);
}

static void
expect_none(struct rig *rig)
{
    stream(rig, 0, 3 * CHUNK);
    cr_assert(zero(uint, rig->fake.promotes));
    rig_audit(rig);
    rig_fini(rig);
}

Test(vm_super, none_is_made_where_prefault_makes_no_zeros)
{
    struct rig rig;

    super_init(&rig, 0);
    rig.sys.tunables.fast_fault = false;
    expect_none(&rig);
    super_init(&rig, 0);
    rig.sys.tunables.prefault_pages = 0;
    expect_none(&rig);
}

Test(vm_super, none_is_made_where_advice_says_random)
{
    struct rig rig;

    super_init(&rig, 0);
    cr_assert(zero(int, vm_map_advise(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                      VM_ADVICE_RANDOM)));
    expect_none(&rig);
}

Test(vm_super, none_is_made_of_read_only_memory)
{
    struct rig rig;

    super_init(&rig, 0);
    stream(&rig, 0, CHUNK);
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                       VM_PROT_READ)));
    for (uint64_t p = 0; p < 3 * CHUNK; p++)
        (void)rig_load(&rig, PAGE(p));
    cr_assert(zero(uint, rig.fake.promotes));
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, none_is_made_when_memory_is_about_to_be_short)
{
    struct rig rig;

    super_init(&rig, 3 * CHUNK);
    stream(&rig, 0, 2 * CHUNK); /* what would be left is less than page-out's target */
    cr_assert(eq(uint, rig.fake.promotes, 1));
    cr_assert(eq(int, vm_page_count_min(&rig.sys), false));
    stream(&rig, 2 * CHUNK, 2 * CHUNK + 64);
    cr_assert(eq(uint, rig.fake.promotes, 1));
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, a_machine_that_fails_leaves_the_stream_its_page)
{
    struct rig rig;

    super_init(&rig, 0);
    stream(&rig, 0, CHUNK);
    rig.fake.fail_promote = -ENOSPC;
    rig_store(&rig, PAGE(CHUNK), 5);
    cr_assert(zero(uint, rig.fake.promotes));
    cr_assert(eq(u64, rig.ram->resident_count, CHUNK + 1));
    rig_audit(&rig);
    stream(&rig, CHUNK, 3 * CHUNK);
    cr_assert(eq(uint, rig.fake.promotes, 1)); /* the next one succeeds */
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, a_machine_that_never_makes_any_is_asked_once)
{
    struct rig rig;

    super_init(&rig, 0);
    stream(&rig, 0, CHUNK);
    rig.fake.fail_promote = -EOPNOTSUPP;
    stream(&rig, CHUNK, RIG_PAGES);
    cr_assert(zero(uint, rig.fake.promotes));
    expect_stream(&rig, 0, RIG_PAGES);
    rig_audit(&rig);
    rig_fini(&rig);
}

/* Fresh memory of the map alone at RIG_WINDOW: a copy of it is virtual. */
static void
map_own(struct rig *rig)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(RIG_WINDOW),
        .end = gpa_from_u64(RIG_WINDOW + PAGE(3 * CHUNK)),
        .maptype = VM_MAPTYPE_NORMAL,
        .protection = VM_PROT_RW,
        .max_protection = VM_PROT_ALL,
    };

    cr_assert(zero(int, vm_object_create_default(&rig->sys, 3 * CHUNK, &args.object)));
    cr_assert(zero(int, vm_map_insert(&rig->map, &args)));
}

Test(vm_super, none_is_made_of_a_copy)
{
    const uint64_t copy = 2 * RIG_WINDOW;
    struct rig rig;

    super_init(&rig, 0);
    map_own(&rig);
    for (uint64_t p = 0; p < CHUNK; p++)
        rig_store(&rig, RIG_WINDOW + PAGE(p), p + 1);
    cr_assert(zero(int, vm_map_copy(&rig.map, gpa_from_u64(RIG_WINDOW), gpa_from_u64(copy),
                                    PAGE(3 * CHUNK))));
    for (uint64_t p = 1; p < 3 * CHUNK; p++) /* page 0 still shows the original's */
        rig_store(&rig, copy + PAGE(p), p);
    cr_assert(zero(uint, rig.fake.promotes));
    rig_audit(&rig);
    rig_fini(&rig);
}

/* --- Giving up ----------------------------------------------------------- */

Test(vm_super, inval_of_a_page_gives_its_superpage_up)
{
    struct rig rig;

    super_made(&rig);
    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(PAGE(CHUNK + 5)),
                                     gpa_from_u64(PAGE(CHUNK + 6)))));
    expect_promoted(&rig, false, true);
    cr_assert(eq(u64, rig_system_meter(&rig, v_super_demoted), 1));
    expect_stream(&rig, 0, 3 * CHUNK);
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, protection_of_a_page_gives_it_up)
{
    struct rig rig;

    super_made(&rig);
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(PAGE(CHUNK + 5)),
                                       gpa_from_u64(PAGE(CHUNK + 6)), VM_PROT_READ)));
    expect_promoted(&rig, false, true);
    expect_stream(&rig, 0, 3 * CHUNK);
    cr_assert(eq(int, rig_touch(&rig, PAGE(CHUNK + 5), VM_PROT_WRITE), VM_PROTECTION));
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, a_copy_gives_it_up_and_sees_no_later_write)
{
    const uint64_t copy = 2 * RIG_WINDOW;
    struct rig rig;

    super_init(&rig, 0);
    map_own(&rig);
    for (uint64_t p = 0; p < 3 * CHUNK; p++)
        rig_store(&rig, RIG_WINDOW + PAGE(p), p + 1);
    cr_assert(eq(uint, rig.fake.promotes, 2));
    cr_assert(zero(int, vm_map_copy(&rig.map, gpa_from_u64(RIG_WINDOW), gpa_from_u64(copy),
                                    PAGE(3 * CHUNK))));
    cr_assert(eq(uint, rig.fake.demotes, 2));
    for (uint64_t p = 0; p < 3 * CHUNK; p += 37)
        rig_store(&rig, RIG_WINDOW + PAGE(p), 99);
    for (uint64_t p = 0; p < 3 * CHUNK; p++)
        cr_assert(eq(u64, rig_load(&rig, copy + PAGE(p)), p + 1));
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, unmapping_a_part_gives_it_up)
{
    struct rig rig;

    super_made(&rig);
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(PAGE(CHUNK + 5)),
                                      gpa_from_u64(PAGE(2 * CHUNK + 5)))));
    expect_promoted(&rig, false, false);
    expect_stream(&rig, 0, CHUNK + 5);
    expect_stream(&rig, 2 * CHUNK + 5, 3 * CHUNK);
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, wiring_a_page_leaves_it)
{
    struct rig rig;

    super_made(&rig);
    cr_assert(zero(int, vm_map_wire(&rig.map, gpa_from_u64(PAGE(CHUNK + 5)),
                                    gpa_from_u64(PAGE(CHUNK + 9)), true)));
    cr_assert(is_promoted(&rig, 1));
    rig_audit(&rig);
    cr_assert(zero(int, vm_map_unwire(&rig.map, gpa_from_u64(PAGE(CHUNK + 5)),
                                      gpa_from_u64(PAGE(CHUNK + 9)), true)));
    cr_assert(is_promoted(&rig, 1));
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, a_fault_that_was_reported_before_only_wakes)
{
    struct rig rig;

    super_made(&rig);
    rig.fake.wakes = 0;
    cr_assert(eq(int, rig_burst(&rig, PAGE(CHUNK + 77), VM_PROT_WRITE), VM_OK));
    cr_assert(is_promoted(&rig, 1));
    cr_assert(eq(uint, rig.fake.wakes, 1));
    cr_assert(eq(u64, rig.fake.last_wake.value, PAGE(CHUNK + 77)));
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, page_out_of_a_page_gives_it_up_and_writes_what_was_written)
{
    struct rig rig;
    struct vm_page *m;

    super_made(&rig);
    m = rig_page(rig.ram, CHUNK + 5);
    cr_assert(ne(int, atomic_load(&m->dirty), 0)); /* whether it was written to or not */
    rig_busy(m);
    pmap_page_protect(m, VM_PROT_NONE);
    expect_promoted(&rig, false, true);
    rig_wakeup(m);
    rig_audit(&rig);
    rig_fini(&rig);
}

static unsigned demotions;

static void
count_demotion(struct fake_pmap *fake, gpa_t gpa)
{
    uint64_t value;

    cr_assert(fake_guest_load(fake, gpa, &value)); /* until then the guest goes on */
    demotions++;
}

Test(vm_super, a_window_that_goes_gives_all_up)
{
    struct rig rig;

    super_made(&rig);
    demotions = 0;
    rig.fake.before_demote = count_demotion;
    cr_assert(zero(int, pmap_window_rebase(&rig.pmap, gpa_from_u64(0), PMAP_NO_NATURAL)));
    cr_assert(eq(uint, demotions, 2));
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(vm_super, none_is_made_while_a_trap_is_set)
{
    struct rig rig;

    super_init(&rig, 0);
    stream(&rig, 0, CHUNK);
    atomic_store(&rig.pmap.ntraps, 1);
    atomic_store(&rig.pmap.traps[0], RIG_PAGES + 1);
    stream(&rig, CHUNK, 2 * CHUNK);
    cr_assert(zero(uint, rig.fake.promotes));
    atomic_store(&rig.pmap.ntraps, 0);
    rig_audit(&rig);
    rig_fini(&rig);
}

/* --- All at once, against a model ---------------------------------------- */

/*
 * Streams, single accesses and what changes mappings, by chance, on memory that pages out: each page's
 * first word is what was written to it last.
 */
#define MODEL_OPS 2000u

static struct {
    struct rig rig;
    uint64_t value[RIG_PAGES];
    uint64_t copied[RIG_PAGES];
    bool read_only[RIG_PAGES];
    uint64_t random;
} model;

static uint64_t
chance(uint64_t limit)
{
    model.random = model.random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (model.random >> 33) % limit;
}

static void
model_write(uint64_t p)
{
    if (model.read_only[p]) {
        cr_assert(eq(int, rig_burst(&model.rig, PAGE(p), VM_PROT_WRITE), VM_PROTECTION));
        return;
    }
    model.value[p] = 1 + chance(UINT32_MAX);
    rig_store(&model.rig, PAGE(p), model.value[p]);
}

static void
model_read(uint64_t p)
{
    cr_assert(eq(u64, rig_load(&model.rig, PAGE(p)), model.value[p]), "page %lu", (unsigned long)p);
}

static void
model_protect(uint64_t first, uint64_t end, bool read_only)
{
    cr_assert(
        zero(int, vm_map_protect(&model.rig.map, gpa_from_u64(PAGE(first)), gpa_from_u64(PAGE(end)),
                                 read_only ? VM_PROT_READ : VM_PROT_RW)));
    for (uint64_t p = first; p < end; p++)
        model.read_only[p] = read_only;
}

static void
model_stream(uint64_t first, uint64_t end)
{
    for (uint64_t p = first; p < end; p++)
        model_write(p);
}

/* All memory is unmapped and mapped anew, which makes it zeros; some of it is then written to in order. */
static void
model_renew(uint64_t first)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(0),
        .end = gpa_from_u64(PAGE(RIG_PAGES)),
        .maptype = VM_MAPTYPE_NORMAL,
        .protection = VM_PROT_RW,
        .max_protection = VM_PROT_ALL,
    };

    cr_assert(zero(int, vm_map_remove(&model.rig.map, args.start, args.end)));
    cr_assert(zero(int, vm_object_create_default(&model.rig.sys, RIG_PAGES, &args.object)));
    cr_assert(zero(int, vm_map_insert(&model.rig.map, &args)));
    memset(model.value, 0, sizeof(model.value));
    memset(model.read_only, 0, sizeof(model.read_only));
    model_stream(first, first + chance(RIG_PAGES - first));
}

/* A copy is what the original was; then it goes again. */
static void
model_copy(uint64_t first, uint64_t end)
{
    struct rig *rig = &model.rig;
    gpa_t to = gpa_from_u64(RIG_WINDOW);

    cr_assert(zero(int, vm_map_copy(&rig->map, gpa_from_u64(PAGE(first)), to, PAGE(end - first))));
    memcpy(model.copied, model.value, sizeof(model.copied));
    for (unsigned i = 0; i < 8; i++) {
        uint64_t p = first + chance(end - first);

        model_write(p);
        cr_assert(eq(u64, rig_load(rig, RIG_WINDOW + PAGE(p - first)), model.copied[p]));
    }
    cr_assert(zero(int, vm_map_remove(&rig->map, to, gpa_add(to, PAGE(end - first)))));
}

static void
model_step(void)
{
    uint64_t first = chance(RIG_PAGES);
    uint64_t end = first + 1 + chance(vm_min(RIG_PAGES - first, 1500));

    switch (chance(9)) {
    case 0:
    case 1:
        model_stream(first, end);
        break;
    case 2:
        for (uint64_t p = first; p < end; p++)
            model_read(p);
        break;
    case 3:
        model_write(first);
        model_read(end - 1);
        break;
    case 4:
        cr_assert(zero(int, vm_map_inval(&model.rig.map, gpa_from_u64(PAGE(first)),
                                         gpa_from_u64(PAGE(first + 1)))));
        break;
    case 5:
        model_protect(first, vm_min(end, first + 3), chance(2) != 0);
        break;
    case 6:
        model_renew(first);
        break;
    case 7:
        model_copy(first, end);
        break;
    default:
        (void)vm_pageout_scan(&model.rig.sys, 1 + chance(600));
    }
}

Test(vm_super, nobody_can_tell_from_what_memory_holds, .timeout = 300)
{
    super_init(&model.rig, 5000);
    model.random = environment_number("VKVM_SEED", 1);
    swap_init(&model.rig, 4 * RIG_PAGES);
    for (unsigned i = 0; i < MODEL_OPS; i++) {
        model_step();
        if (i % 256 == 0)
            rig_audit(&model.rig);
    }
    cr_assert(gt(u64, rig_meter(&model.rig, v_super_made), 20));
    cr_assert(gt(u64, rig_system_meter(&model.rig, v_super_demoted), 20));
    cr_assert(gt(u64, rig_system_meter(&model.rig, v_pageout), 100));
    rig_audit(&model.rig);
    swap_fini(&model.rig);
}
