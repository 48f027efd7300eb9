/* SPDX-License-Identifier: BSD-2-Clause */
/* WAIT and WAKE over the fake machine: which words are one, and that no wake-up is lost. */
#include "vmm/doorbell/wait.h"

#include "tests/unit/checked_test.h"
#include "tests/unit/fault_rig.h"
#include "vmm/base/clock.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

#define NCPUS 4u
#define SRC UINT64_C(0x10000000)
#define DST UINT64_C(0x20000000)
#define NPAGES 16u
#define SECOND UINT64_C(1000000000)

/* A vCPU that sleeps, and how. */
struct sleeper {
    struct vm_mutex lock;
    struct vm_cond cond;
    bool woken, interrupted; /* lock */
    bool asleep;             /* lock */
};

static struct rig rig;
static struct wait_queue queue;
static struct sleeper sleepers[NCPUS];
static _Atomic unsigned nparked, nended;

static void
sleeper_prepare(void *context, unsigned cpu)
{
    (void)context;
    vm_mutex_lock(&sleepers[cpu].lock);
    sleepers[cpu].woken = sleepers[cpu].interrupted = false;
    vm_mutex_unlock(&sleepers[cpu].lock);
}

static enum wait_sleep
sleeper_sleep(void *context, unsigned cpu, uint64_t deadline)
{
    struct sleeper *s = &sleepers[cpu];
    enum wait_sleep why = WAIT_WOKEN;

    (void)context;
    vm_mutex_lock(&s->lock);
    s->asleep = true;
    while (!s->woken && !s->interrupted && clock_now_ns() < deadline) {
        if (deadline == WAIT_FOREVER)
            vm_cond_wait(&s->cond, &s->lock);
        else
            vm_cond_wait_for(&s->cond, &s->lock, 1000);
    }
    if (!s->woken)
        why = s->interrupted ? WAIT_INTERRUPTED : WAIT_TIMED_OUT;
    s->asleep = false;
    vm_mutex_unlock(&s->lock);
    return why;
}

static void
sleeper_end(unsigned cpu, bool *flag)
{
    vm_mutex_lock(&sleepers[cpu].lock);
    *flag = true;
    vm_cond_broadcast(&sleepers[cpu].cond);
    vm_mutex_unlock(&sleepers[cpu].lock);
}

static void
sleeper_wake(void *context, unsigned cpu)
{
    (void)context;
    sleeper_end(cpu, &sleepers[cpu].woken);
}

static bool
park(void *context)
{
    (void)context;
    return atomic_fetch_add(&nparked, 1) + 1 == NCPUS;
}

static void
unpark(void *context)
{
    (void)context;
    atomic_fetch_sub(&nparked, 1);
}

/* As the end of a VM: everybody is interrupted. */
static void
all_parked(void *context, unsigned cpu)
{
    (void)context;
    (void)cpu;
    atomic_fetch_add(&nended, 1);
    for (unsigned i = 0; i < NCPUS; i++)
        sleeper_end(i, &sleepers[i].interrupted);
}

static const struct wait_ops ops = { sleeper_prepare, sleeper_sleep, sleeper_wake, park,
                                     unpark,          all_parked };

/* RAM, and a window whose page i is RAM page 100 + 3 * i. */
static void
wait_setup(void)
{
    rig_window_init(&rig, 8, RIG_PASS);
    wait_queue_init(&queue, &rig.map, rig.ram, RIG_PAGES, &ops, NULL);
    for (unsigned i = 0; i < NCPUS; i++) {
        vm_mutex_init(&sleepers[i].lock);
        vm_cond_init(&sleepers[i].cond);
    }
}

static void
wait_teardown(void)
{
    cr_assert(zero(uint, atomic_load(&nparked)));
    wait_queue_fini(&queue);
    rig_fini(&rig);
}

TestSuite(wait, .timeout = 60);

/* --- Calls --------------------------------------------------------------- */

static uint64_t
ram_word(unsigned i)
{
    return (uint64_t)(100 + 3 * i) << PAGE_SHIFT | 0x18;
}

static uint64_t
window_word(unsigned i)
{
    return RIG_WINDOW + ((uint64_t)i << PAGE_SHIFT) + 0x18;
}

/* The errno, or for memory that cannot be read the vm_result. */
static int
wait_for(unsigned cpu, uint64_t word, uint32_t expected, uint64_t timeout_ns)
{
    const struct call_wait call = { gpa_from_u64(word), expected, timeout_ns };
    struct vm_fault_info info;
    enum vm_result result;
    int error = 0;

    result = wait_queue_wait(&queue, cpu, &call, &error, &info);
    return result == VM_OK ? error : (int)result;
}

static unsigned
wake(uint64_t word, uint64_t count)
{
    const struct call_wake call = { gpa_from_u64(word), count };
    struct vm_fault_info info;
    unsigned woken;

    cr_assert(eq(int, wait_queue_wake(&queue, &call, &woken, &info), VM_OK));
    return woken;
}

static void
store(uint64_t word, uint32_t value)
{
    struct vm_fault_info info;

    cr_assert(
        eq(int, vm_map_write(&rig.map, gpa_from_u64(word), &value, sizeof(value), &info), VM_OK));
}

struct work {
    uint64_t word;
    uint64_t timeout_ns;
    pthread_t thread;
    unsigned cpu;
    uint32_t expected;
    int result;
    _Atomic bool done;
};

static void *
work_main(void *argument)
{
    struct work *work = argument;

    work->result = wait_for(work->cpu, work->word, work->expected, work->timeout_ns);
    atomic_store(&work->done, true);
    return NULL;
}

static bool
is_asleep(unsigned cpu)
{
    bool asleep;

    vm_mutex_lock(&sleepers[cpu].lock);
    asleep = sleepers[cpu].asleep;
    vm_mutex_unlock(&sleepers[cpu].lock);
    return asleep;
}

/* Have the vCPU wait for the word, which is `expected`; return when it sleeps. */
static void
start(struct work *work, unsigned cpu, uint64_t word, uint32_t expected)
{
    *work =
        (struct work){ .cpu = cpu, .word = word, .expected = expected, .timeout_ns = 40 * SECOND };
    cr_assert(zero(int, pthread_create(&work->thread, NULL, work_main, work)));
    rig_until(is_asleep(cpu));
}

static int
join(struct work *work)
{
    cr_assert(zero(int, pthread_join(work->thread, NULL)));
    return work->result;
}

/* --- What WAIT returns --------------------------------------------------- */

CHECKED_TEST(wait, a_word_that_is_something_else_is_not_waited_for)
{
    store(ram_word(0), 5);
    cr_assert(eq(int, wait_for(0, ram_word(0), 4, WAIT_FOREVER), -EBUSY));
    cr_assert(eq(int, wait_for(0, window_word(0), 4, WAIT_FOREVER), -EBUSY));
    cr_assert(zero(uint, wake(ram_word(0), 9)), "nobody is left in the queue");
}

CHECKED_TEST(wait, a_time_out_ends_a_wait_and_zero_does_at_once)
{
    store(ram_word(0), 5);
    cr_assert(eq(int, wait_for(0, ram_word(0), 5, 0), -ETIMEDOUT));
    cr_assert(eq(int, wait_for(0, window_word(0), 5, 2000000), -ETIMEDOUT));
    cr_assert(zero(uint, wake(ram_word(0), 9)));
}

CHECKED_TEST(wait, a_word_that_cannot_be_read_is_neither_waited_for_nor_woken)
{
    const struct call_wake call = { gpa_from_u64(DST), 1 };
    struct vm_fault_info info;
    unsigned woken = 77;

    cr_assert(eq(int, wait_for(0, DST, 0, WAIT_FOREVER), VM_INVALID_ADDRESS));
    cr_assert(eq(int, wait_for(0, window_word(100), 0, WAIT_FOREVER), VM_VPTE_INVALID));
    cr_assert(eq(int, wait_queue_wake(&queue, &call, &woken, &info), VM_INVALID_ADDRESS));
    cr_assert(woken == 77 && info.result == VM_INVALID_ADDRESS);
}

CHECKED_TEST(wait, an_interruption_ends_a_wait_as_if_it_was_woken)
{
    struct work work;

    start(&work, 0, ram_word(0), 0);
    sleeper_end(0, &sleepers[0].interrupted);
    cr_assert(zero(int, join(&work)));
    cr_assert(zero(uint, wake(ram_word(0), 9)));
}

/* --- Who is woken -------------------------------------------------------- */

CHECKED_TEST(wait, the_oldest_waiters_of_a_word_are_woken_and_no_more_than_asked_for)
{
    struct work work[NCPUS];

    for (unsigned i = 0; i < 3; i++)
        start(&work[i], i, ram_word(0), 0);
    start(&work[3], 3, ram_word(1), 0);
    cr_assert(eq(uint, wake(ram_word(0), 1), 1));
    cr_assert(zero(int, join(&work[0])));
    cr_assert(is_asleep(1) && is_asleep(2) && is_asleep(3));
    cr_assert(eq(uint, wake(ram_word(0), UINT64_MAX), 2));
    cr_assert(zero(uint, wake(ram_word(0), UINT64_MAX)));
    cr_assert(zero(uint, wake(ram_word(1) + 4, 1)), "the word beside");
    cr_assert(is_asleep(3));
    cr_assert(eq(uint, wake(ram_word(1), 1), 1));
    for (unsigned i = 1; i < NCPUS; i++)
        cr_assert(zero(int, join(&work[i])));
}

CHECKED_TEST(wait, a_wake_through_a_window_reaches_a_wait_through_ram_and_the_reverse)
{
    struct work work[2];

    start(&work[0], 0, ram_word(2), 0);
    start(&work[1], 1, window_word(3), 0);
    cr_assert(eq(uint, wake(window_word(2), 1), 1));
    cr_assert(eq(uint, wake(ram_word(3), 1), 1));
    cr_assert(zero(int, join(&work[0])));
    cr_assert(zero(int, join(&work[1])));
}

CHECKED_TEST(wait, a_word_behind_a_window_stays_the_one_it_was_when_the_window_changes)
{
    struct work work;

    start(&work, 0, window_word(2), 0);
    cr_assert(zero(int, vm_map_setmap(&rig.map, gpa_from_u64(RIG_WINDOW),
                                      gpa_from_u64(RIG_WINDOW + (512 << PAGE_SHIFT)), 0)));
    cr_assert(eq(uint, wake(ram_word(2), 1), 1));
    cr_assert(zero(int, join(&work)));
}

/* --- What happens to the page meanwhile ---------------------------------- */

static void
map_object(uint64_t at, struct vm_object *object)
{
    const struct vm_map_insert args = {
        .start = gpa_from_u64(at),
        .end = gpa_from_u64(at + (NPAGES << PAGE_SHIFT)),
        .object = object,
        .protection = VM_PROT_RW,
        .max_protection = VM_PROT_ALL,
    };

    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
}

static struct vm_object *
new_object(void)
{
    struct vm_object *object;

    cr_assert(zero(int, vm_object_create_default(&rig.sys, NPAGES, &object)));
    return object;
}

CHECKED_TEST(wait, a_word_of_copied_memory_is_woken_whichever_side_is_written_first)
{
    for (unsigned source_first = 0; source_first < 2; source_first++) {
        struct work work;

        map_object(SRC, new_object());
        store(SRC + 8, 1);
        start(&work, 0, SRC + 8, 1);
        cr_assert(zero(int, vm_map_copy(&rig.map, gpa_from_u64(SRC), gpa_from_u64(DST),
                                        NPAGES << PAGE_SHIFT)));
        cr_assert(zero(uint, wake(DST + 8, 9)), "the copy's word is another, though one page");
        store(source_first ? SRC + 8 : DST + 8, 2);
        cr_assert(zero(uint, wake(DST + 8, 9)));
        store(source_first ? DST + 8 : SRC + 8, 2);
        cr_assert(zero(uint, wake(DST + 8, 9)));
        cr_assert(eq(uint, wake(SRC + 8, 1), 1));
        cr_assert(zero(int, join(&work)));
        cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(SRC),
                                          gpa_from_u64(SRC + (NPAGES << PAGE_SHIFT)))));
        cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(DST),
                                          gpa_from_u64(DST + (NPAGES << PAGE_SHIFT)))));
    }
}

CHECKED_TEST(wait, an_object_that_is_mapped_twice_has_its_words_once)
{
    struct vm_object *object = new_object();
    struct work work;

    vm_object_ref(object);
    map_object(SRC, object);
    map_object(DST, object);
    start(&work, 0, SRC + 8, 0);
    cr_assert(zero(uint, wake(DST + 12, 9)));
    cr_assert(zero(uint, wake(DST + PAGE_SIZE + 8, 9)));
    cr_assert(eq(uint, wake(DST + 8, 1), 1));
    cr_assert(zero(int, join(&work)));
}

/* --- No wake-up is lost -------------------------------------------------- */

#define ROUNDS 3000u

/* vCPU `cpu` waits until the word has been counted up to ROUNDS. */
static void *
count_main(void *argument)
{
    const struct work *work = argument;
    struct vm_fault_info info;
    uint32_t value = 0;
    int error;

    while (value < ROUNDS) {
        error = wait_for(work->cpu, work->word, value, WAIT_FOREVER);
        cr_assert(error == 0 || error == -EBUSY, "%d", error);
        cr_assert(eq(int,
                     vm_map_read(&rig.map, gpa_from_u64(work->word), &value, sizeof(value), &info),
                     VM_OK));
    }
    return NULL;
}

CHECKED_TEST(wait, whoever_stores_and_wakes_misses_nobody_who_compares_and_sleeps)
{
    struct work work[3] = { { .cpu = 0, .word = ram_word(4) },
                            { .cpu = 1, .word = window_word(4) },
                            { .cpu = 2, .word = ram_word(4) } };

    for (unsigned i = 0; i < 3; i++)
        cr_assert(zero(int, pthread_create(&work[i].thread, NULL, count_main, &work[i])));
    for (uint32_t value = 1; value <= ROUNDS; value++) {
        store(ram_word(4), value);
        (void)wake(value % 2 == 0 ? ram_word(4) : window_word(4), UINT64_MAX);
        if (value % 64 == 0)
            rig_until(is_asleep(0) || is_asleep(1) || is_asleep(2));
    }
    for (unsigned i = 0; i < 3; i++)
        cr_assert(zero(int, pthread_join(work[i].thread, NULL)));
}

/* --- The end ------------------------------------------------------------- */

CHECKED_TEST(wait, when_the_last_vcpu_waits_without_a_time_out_that_is_the_end)
{
    struct work work[NCPUS];

    for (unsigned i = 0; i < NCPUS - 1; i++) {
        start(&work[i], i, ram_word(i), 0);
        cr_assert(eq(uint, atomic_load(&nparked), i), "one with a time-out comes back by itself");
        cr_assert(eq(uint, wake(ram_word(i), 1), 1));
        cr_assert(zero(int, join(&work[i])));
        work[i] = (struct work){ .cpu = i, .word = ram_word(i), .timeout_ns = WAIT_FOREVER };
        cr_assert(zero(int, pthread_create(&work[i].thread, NULL, work_main, &work[i])));
        rig_until(is_asleep(i));
    }
    cr_assert(eq(uint, atomic_load(&nparked), NCPUS - 1));
    cr_assert(eq(uint, wake(ram_word(1), 1), 1));
    cr_assert(eq(uint, atomic_load(&nparked), NCPUS - 2), "whoever wakes counts, not the woken");
    cr_assert(zero(int, join(&work[1])));
    cr_assert(zero(int, pthread_create(&work[1].thread, NULL, work_main, &work[1])));
    rig_until(is_asleep(1));
    cr_assert(zero(uint, atomic_load(&nended)));
    cr_assert(zero(int, wait_for(NCPUS - 1, ram_word(5), 0, WAIT_FOREVER)));
    cr_assert(eq(uint, atomic_load(&nended), 1));
    for (unsigned i = 0; i < NCPUS - 1; i++)
        cr_assert(zero(int, join(&work[i])));
}
