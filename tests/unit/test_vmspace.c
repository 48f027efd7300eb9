/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The books of vmspaces, windows and regions, over the fake machine: who waits for whom, and what
 * is found while something comes or goes.  What the calls do is tested by the guests.
 */
#include "vmm/doorbell/vmspace.h"

#include "guest/include/vkvm_abi.h"
#include "tests/unit/checked_test.h"
#include "tests/unit/fault_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

#define WINDOW_PAGES 16u
#define WINDOW_SIZE ((uint64_t)WINDOW_PAGES << PAGE_SHIFT)
#define RAM_SIZE ((uint64_t)RIG_PAGES << PAGE_SHIFT)

static struct rig rig;
static struct rig_pager pager; /* RAM's: reads wait when it is told to */
static struct machine machine;
static struct vmspaces spaces;

static struct call_range
window(unsigned i)
{
    uint64_t start = VKVM_WINDOW_BASE + i * WINDOW_SIZE;

    return (struct call_range){ gpa_from_u64(start), gpa_from_u64(start + WINDOW_SIZE) };
}

static int
create(uint64_t id)
{
    return vmspace_create(&spaces, &(struct call_vmspace){ id });
}

static int
destroy(uint64_t id)
{
    return vmspace_destroy(&spaces, &(struct call_vmspace){ id });
}

static int
map_window(uint64_t id, unsigned i)
{
    const struct call_vmspace_map call = {
        .id = id, .range = window(i), .format = &vpte64_format, .prot = VM_PROT_RW
    };

    return vmspace_map(&spaces, &call);
}

static int
unmap_window(uint64_t id, unsigned i)
{
    return vmspace_unmap(&spaces, &(struct call_vmspace_unmap){ id, window(i) });
}

static int
set_map(unsigned i)
{
    return vmspace_setmap(&spaces, &(struct call_setmap){ window(i), 0x1007 });
}

/* Vmspaces 1 and 2 with windows 0, 1 and 2, 3. */
static void
vmspace_setup(void)
{
    rig_init_pager(&rig, &pager);
    machine_init(&machine);
    machine_set_memory(&machine, RAM_SIZE);
    vmspaces_init(&spaces, &rig.map, rig.ram, &machine);
    for (unsigned i = 0; i < 4; i++) {
        if (i % 2 == 0)
            cr_assert(zero(int, create(1 + i / 2)));
        cr_assert(zero(int, map_window(1 + i / 2, i)));
    }
}

static void
vmspace_teardown(void)
{
    vmspaces_fini(&spaces);
    rig_fini(&rig);
}

TestSuite(vmspace, .timeout = 60);

/* --- Calls in threads of their own --------------------------------------- */

struct work {
    int (*run)(void);
    pthread_t thread;
    _Atomic bool started;
    _Atomic bool done;
    int result;
};

static void *
work_main(void *argument)
{
    struct work *work = argument;

    atomic_store(&work->started, true);
    work->result = work->run();
    atomic_store(&work->done, true);
    return NULL;
}

static void
start(struct work *work, int (*run)(void))
{
    *work = (struct work){ .run = run };
    cr_assert(zero(int, pthread_create(&work->thread, NULL, work_main, work)));
    rig_until(atomic_load(&work->started));
}

static int
join(struct work *work)
{
    cr_assert(zero(int, pthread_join(work->thread, NULL)));
    return work->result;
}

static int
wire_ram(void)
{
    const struct call_range range = { gpa_from_u64(0), gpa_from_u64(64 << PAGE_SHIFT) };

    return vmspace_wire(&spaces, &range);
}

/* A WIRE that gets no further than its first page, and holds the map's edit lock. */
static void
start_wire(struct work *work)
{
    pager.wait = true;
    start(work, wire_ram);
    rig_pager_wait_for(&pager, 1);
}

static void
end_wire(struct work *work)
{
    rig_pager_release(&pager);
    cr_assert(zero(int, join(work)));
}

/* --- Nobody waits for a call that sleeps but who must -------------------- */

CHECKED_TEST(vmspace, a_wire_goes_on_only_after_a_setmap_that_came_while_it_waited)
{
    struct work wire;

    start_wire(&wire);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(zero(int, set_map(i)));
    cr_assert(not(atomic_load(&wire.done)));
    end_wire(&wire);
}

/* A private file, or a shared one, which is copied page by page at once. */
static int
copy_file(void)
{
    const struct call_copy call = { .id = 1, .from = window(8), .to = window(9) };

    return vmspace_copy(&spaces, &call);
}

CHECKED_TEST(vmspace, a_copy_goes_on_only_after_a_setmap_that_came_while_it_waited)
{
    static struct rig_pager file;
    struct vm_map_insert args = { .start = window(8).start,
                                  .end = window(8).end,
                                  .protection = VM_PROT_RW,
                                  .max_protection = VM_PROT_ALL };
    struct work copy;

    args.object = rig_pager_object(&rig, WINDOW_PAGES, &file);
    args.object->flags |= OBJ_WRITEBACK;
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    cr_assert(zero(int, vmspaces_add_window(&spaces, args.start, args.end, true)));
    file.wait = true;
    start(&copy, copy_file);
    rig_pager_wait_for(&file, 1);
    cr_assert(zero(int, set_map(0)), "of the vmspace that gets the copy");
    cr_assert(zero(int, set_map(3)));
    cr_assert(not(atomic_load(&copy.done)));
    rig_pager_release(&file);
    cr_assert(zero(int, join(&copy)));
    cr_assert(eq(int, set_map(9), -EINVAL), "there is a region now, not a window");
}

static int
destroy_1(void)
{
    return destroy(1);
}

static int
unmap_2(void)
{
    return unmap_window(2, 2);
}

static int
map_4(void)
{
    return map_window(2, 4);
}

static int
protect_0(void)
{
    return vmspace_protect(&spaces, &(struct call_protect){ window(0), VM_PROT_READ });
}

static int
advise_ram(void)
{
    const struct call_advise call = { .range = { gpa_from_u64(PAGE_SIZE),
                                                 gpa_from_u64(2 * PAGE_SIZE) },
                                      .advice = VM_ADVICE_RANDOM };

    return vmspace_advise(&spaces, &call);
}

CHECKED_TEST(vmspace,
             calls_that_wait_for_another_edit_hold_up_no_setmap_and_find_what_they_came_for)
{
    static int (*const waiters[])(void) = { protect_0, advise_ram, map_4, unmap_2, destroy_1 };
    struct work wire, work[5];

    start_wire(&wire);
    for (unsigned i = 0; i < 5; i++)
        start(&work[i], waiters[i]);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert(zero(int, set_map(3)));
    for (unsigned i = 0; i < 5; i++)
        cr_assert(not(atomic_load(&work[i].done)), "call %u", i);
    end_wire(&wire);
    for (unsigned i = 0; i < 5; i++) {
        int result = join(&work[i]);

        /* PROTECT came before DESTROY took its window, or found it gone. */
        cr_assert(result == 0 || (i == 0 && result == -ENOENT), "call %u: %d", i, result);
    }
    cr_assert(zero(int, set_map(4)));
    cr_assert(eq(int, set_map(0), -ENOENT));
    cr_assert(eq(int, set_map(2), -ENOENT));
}

/* --- What goes ----------------------------------------------------------- */

/* Wait until the vmspace's DESTROY has begun: nobody finds it any more. */
static void
wait_until_ending(uint64_t id)
{
    int error;

    do
        error = unmap_window(id, 100);
    while (error != -ENOENT || create(id) != -EEXIST);
}

CHECKED_TEST(vmspace, a_vmspace_that_is_being_destroyed_is_not_found_and_its_id_not_free_yet)
{
    struct work wire, work;

    start_wire(&wire);
    start(&work, destroy_1);
    wait_until_ending(1);
    rig_until(set_map(1) == -ENOENT || set_map(0) == -ENOENT);
    cr_assert(eq(int, map_window(1, 5), -ENOENT));
    cr_assert(eq(int, destroy(1), -ENOENT));
    cr_assert(eq(int, create(1), -EEXIST));
    cr_assert(not(atomic_load(&work.done)));
    end_wire(&wire);
    cr_assert(zero(int, join(&work)));
    cr_assert(zero(int, create(1)));
    cr_assert(zero(int, map_window(1, 0)));
}

static int
unmap_0(void)
{
    return unmap_window(1, 0);
}

CHECKED_TEST(vmspace, a_window_is_unmapped_when_its_last_user_is_done_with_it)
{
    struct work wire, user, work;
    int here;

    start_wire(&wire);
    start(&user, protect_0);
    start(&work, unmap_0);
    end_wire(&wire);
    cr_assert(zero(int, join(&work)));
    here = join(&user);
    cr_assert(here == 0 || here == -ENOENT, "PROTECT found it, or came too late");
    cr_assert(eq(int, set_map(0), -ENOENT));
}

CHECKED_TEST(vmspace, a_window_that_cannot_be_unmapped_stays_and_so_does_its_vmspace)
{
    const struct call_range lost = window(0);

    cr_assert(zero(int, vm_map_remove(&rig.map, lost.start, lost.end)));
    cr_assert(eq(int, unmap_window(1, 0), -ENOENT));
    cr_assert(eq(int, destroy(1), -ENOENT), "from the map, which has no such entry");
    cr_assert(eq(int, create(1), -EEXIST));
    cr_assert(zero(int, map_window(1, 6)), "it can be used again");
    cr_assert(zero(int, unmap_window(1, 6)));
}

CHECKED_TEST(vmspace, two_that_map_the_same_range_at_once_do_not_both_get_it)
{
    for (unsigned round = 0; round < 200; round++) {
        struct work work;
        int here, there;

        start(&work, map_4);
        here = map_window(1, 4);
        there = join(&work);
        cr_assert(here + there == -EEXIST && (here == 0 || there == 0), "%d, %d", here, there);
        cr_assert(zero(int, set_map(4)));
        cr_assert(zero(int, unmap_window(here == 0 ? 1 : 2, 4)));
    }
}
