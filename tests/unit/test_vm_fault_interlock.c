/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults through virtual page tables against INVAL and SETMAP of the same range, and everything at
 * once from many threads.
 */
#include "tests/unit/fault_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <sched.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define W(n) (RIG_WINDOW + PAGE(n))

/* --- The range interlock ------------------------------------------------- */

struct enter_gate {
    _Atomic bool inside, open;
};

static void
gate_enter(void *context, gpa_t gpa, unsigned npages)
{
    struct enter_gate *gate = context;

    (void)npages;
    if (gpa.value < RIG_WINDOW)
        return;
    atomic_store(&gate->inside, true);
    rig_until(atomic_load(&gate->open));
}

struct inval_thread {
    struct rig *rig;
    uint64_t start, end;
    vpte_t root; /* 0: INVAL, else SETMAP */
    pthread_t thread;
    _Atomic bool done;
};

static void *
inval_run(void *arg)
{
    struct inval_thread *t = arg;
    gpa_t start = gpa_from_u64(t->start), end = gpa_from_u64(t->end);

    if (t->root == 0)
        cr_assert(zero(int, vm_map_inval(&t->rig->map, start, end)));
    else
        cr_assert(zero(int, vm_map_setmap(&t->rig->map, start, end, t->root)));
    atomic_store(&t->done, true);
    return NULL;
}

static unsigned
ilock_waiters(struct vm_map *map)
{
    unsigned waiters;

    vm_mutex_lock(&map->ilock_mutex);
    waiters = map->ilock_waiters;
    vm_mutex_unlock(&map->ilock_mutex);
    return waiters;
}

/* A fault is inside pmap_enter: what it holds off, and what not. */
static void
expect_exclusion(vpte_t root)
{
    struct enter_gate gate = { false, false };
    struct inval_thread same = { .start = W(0), .end = W(512), .root = root };
    struct rig_fault fault;
    struct rig rig;

    rig_window_init(&rig, 4, RIG_PASS);
    rig_window(&rig, W(512), 512, VM_PROT_ALL, &vpte64_format, rig_pte(0, RIG_PASS | VPTE_PS));
    rig_window(&rig, W(1024), 16, VM_PROT_ALL, &vpte64_format, rig_pte(0, RIG_PASS | VPTE_PS));
    rig.fake.before_enter = gate_enter;
    rig.fake.before_enter_context = &gate;
    rig_fault_start(&fault, &rig, W(2), VM_PROT_READ);
    rig_until(atomic_load(&gate.inside));

    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(W(512)), gpa_from_u64(W(1030)))));
    cr_assert(zero(int, vm_map_setmap(&rig.map, gpa_from_u64(W(1024)), gpa_from_u64(W(1040)),
                                      rig_pte(1, RIG_PASS | VPTE_PS))));
    same.rig = &rig;
    cr_assert(zero(int, pthread_create(&same.thread, NULL, inval_run, &same)));
    rig_until(ilock_waiters(&rig.map) == 1);
    cr_assert(not(atomic_load(&same.done)));
    atomic_store(&gate.open, true);
    pthread_join(same.thread, NULL);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(eq(int, rig_mapped(&rig, W(2)), VM_PROT_NONE));
    rig_fini(&rig);
}

Test(vm_fault_window, inval_waits_for_a_fault_of_its_range_and_then_drops_its_mapping,
     .timeout = 30)
{
    expect_exclusion(0);
}

Test(vm_fault_window, setmap_waits_for_a_fault_of_its_range_and_then_drops_its_mapping,
     .timeout = 30)
{
    expect_exclusion(RIG_PASS | VPTE_PS);
}

/* Faults hammer one window page while a guest moves it between two pages by the book. */
struct mover {
    struct rig rig;
    _Atomic bool stop;
};

static void *
mover_faults(void *arg)
{
    struct mover *mover = arg;
    struct vm_fault_info info;
    unsigned n = 0;

    while (!atomic_load(&mover->stop)) {
        vm_prot_t access = n++ % 2 ? VM_PROT_READ : VM_PROT_WRITE;
        enum vm_result result =
            vm_fault(&mover->rig.map, gpa_from_u64(W(n % 4)), access, VM_FAULT_BURST, &info);

        cr_assert(result == VM_OK || result == VM_VPTE_INVALID);
    }
    return NULL;
}

Test(vm_fault_window, after_inval_no_mapping_of_the_old_page_appears, .timeout = 120)
{
    struct mover mover = { .stop = false };
    struct rig *rig = &mover.rig;
    pthread_t threads[2];
    unsigned modified = 0;

    rig_window_init(rig, 8, RIG_PASS);
    for (unsigned i = 0; i < 2; i++)
        cr_assert(zero(int, pthread_create(&threads[i], NULL, mover_faults, &mover)));
    for (unsigned i = 0; i < 3000 || modified == 0; i++) {
        unsigned index = i % 4;
        _Atomic uint64_t *entry = rig_vpte(rig, 4, index);
        vm_frame_t frame;

        modified += (atomic_exchange(entry, 0) & VPTE_M) != 0;
        cr_assert(
            zero(int, vm_map_inval(&rig->map, gpa_from_u64(W(index)), gpa_from_u64(W(index + 1)))));
        for (unsigned look = 0; look < 20; look++)
            cr_assert(not(fake_pmap_lookup(&rig->fake, gpa_from_u64(W(index)), &frame, NULL)));
        cr_assert(eq(u64, atomic_load(entry), 0));
        atomic_store(entry, rig_pte(100 + 3 * (i % 8), RIG_PASS));
        if (i % 8 == 0)
            sched_yield();
    }
    atomic_store(&mover.stop, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_assert(gt(uint, modified, 0));
    rig_fini(rig);
}

/*
 * Everything at once: guests store to their own words of shared pages, through
 * RAM and through a window, while the window is invalidated and its root replaced
 * by a copy of the tables.  Every word ends with the last value stored.
 */
#define HAMMER_THREADS 4
#define HAMMER_PAGES 24
#define HAMMER_ROUNDS 1500

struct hammer {
    struct rig *rig;
    unsigned id;
    pthread_t thread;
    uint64_t last[HAMMER_PAGES];
};

static void *
hammer_run(void *arg)
{
    struct hammer *h = arg;
    unsigned seed = h->id * 7919 + 1;

    for (unsigned i = 1; i <= HAMMER_ROUNDS; i++) {
        unsigned page, window;
        uint64_t gpa;

        seed = seed * 1103515245 + 12345;
        page = seed / 65536 % HAMMER_PAGES;
        window = seed / 8192 % 2;
        gpa = (window ? W(page) : PAGE(100 + 3 * page)) + 8 * h->id;
        if (seed / 4096 % 4 == 0) {
            cr_assert(eq(u64, rig_load(h->rig, gpa), h->last[page]));
        } else {
            h->last[page] = i;
            rig_store(h->rig, gpa, i);
        }
        if (i % 64 == 0)
            cr_assert(zero(int, vm_map_inval(&h->rig->map, gpa_from_u64(PAGE(96)),
                                             gpa_from_u64(PAGE(100 + 3 * HAMMER_PAGES)))));
    }
    return NULL;
}

static void *
hammer_edit(void *arg)
{
    struct mover *mover = arg;
    struct rig *rig = &mover->rig;

    for (unsigned i = 0; !atomic_load(&mover->stop); i++) {
        vpte_t root = rig_pte(i % 2 ? 1 : 11, RIG_PASS);
        unsigned page = i % HAMMER_PAGES;

        if (i % 16 == 0)
            cr_assert(zero(int, vm_map_setmap(&rig->map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                              root)));
        else
            cr_assert(zero(int, vm_map_inval(&rig->map, gpa_from_u64(W(page)),
                                             gpa_from_u64(W(page + 1)))));
        sched_yield();
    }
    return NULL;
}

Test(vm_fault_window, many_threads_lose_no_store_through_ram_and_window, .timeout = 240)
{
    struct hammer hammers[HAMMER_THREADS];
    struct mover mover = { .stop = false };
    struct rig *rig = &mover.rig;
    pthread_t editor;

    rig_init(rig, 0);
    rig_tables(rig, HAMMER_PAGES, 100, 3, RIG_PASS);
    for (unsigned level = 1; level < 4; level++)
        rig_vpte_set(rig, 10 + level, 0, rig_pte(level < 3 ? 11 + level : 4, RIG_PASS));
    rig_window(rig, W(0), 512, VM_PROT_ALL, &vpte64_format, rig_pte(1, RIG_PASS));
    cr_assert(zero(int, pthread_create(&editor, NULL, hammer_edit, &mover)));
    for (unsigned i = 0; i < HAMMER_THREADS; i++) {
        hammers[i] = (struct hammer){ .rig = rig, .id = i };
        cr_assert(zero(int, pthread_create(&hammers[i].thread, NULL, hammer_run, &hammers[i])));
    }
    for (unsigned i = 0; i < HAMMER_THREADS; i++)
        pthread_join(hammers[i].thread, NULL);
    atomic_store(&mover.stop, true);
    pthread_join(editor, NULL);
    for (unsigned i = 0; i < HAMMER_THREADS; i++) {
        for (unsigned page = 0; page < HAMMER_PAGES; page++) {
            cr_assert(eq(u64, rig_load(rig, PAGE(100 + 3 * page) + 8 * i), hammers[i].last[page]));
            cr_assert(eq(u64, rig_load(rig, W(page) + 8 * i), hammers[i].last[page]));
        }
    }
    rig_fini(rig);
}
