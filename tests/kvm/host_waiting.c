/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults that wait, and vCPUs that must not wait with them, without a guest kernel (kvm_rig.h). */
#include "tests/kvm/service_rig.h"
#include "vmm/vpagetable/vm_pager.h"

#include <limits.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* How many threads can still be made, by anybody in this process. */
static _Atomic unsigned threads_left = UINT_MAX;

/* The linker's names (ld --wrap).  NOLINTBEGIN(bugprone-reserved-identifier) */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument);

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                      void *argument)
{
    if (threads_left == 0)
        return EAGAIN;
    threads_left -= threads_left != UINT_MAX;
    return __real_pthread_create(thread, attributes, start, argument);
}
/* NOLINTEND(bugprone-reserved-identifier) */

/* A disk with the first pages of the window's object, which is read when the test says so. */
#define DISK_PAGES 64u

static struct {
    struct vm_object *object; /* the window's; a reference is the map's */
    pthread_mutex_t lock;     /* guards what follows */
    pthread_cond_t cond;
    bool slow;  /* reads wait */
    bool fails; /* ... and fail */
    unsigned waiting;
} disk = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static bool
disk_haspage(struct vm_object *object, vm_pindex_t pindex, unsigned *before, unsigned *after)
{
    (void)object;
    if (before != NULL)
        *before = 0;
    if (after != NULL)
        *after = 0; /* a read is of one page */
    return pindex < DISK_PAGES;
}

static enum vm_pager_result
disk_getpages(struct vm_object *object, struct vm_page **pages, unsigned count, unsigned reqpage,
              bool *done)
{
    bool fails;

    (void)object;
    pthread_mutex_lock(&disk.lock);
    disk.waiting++;
    pthread_cond_broadcast(&disk.cond);
    while (disk.slow)
        pthread_cond_wait(&disk.cond, &disk.lock);
    disk.waiting--;
    fails = disk.fails;
    pthread_mutex_unlock(&disk.lock);
    if (fails)
        return VM_PAGER_ERROR;
    for (unsigned i = 0; i < count; i++) {
        memset(vm_page_address(pages[i]), 0xdd, PAGE_SIZE);
        vm_page_flag_clear(pages[i], VM_PAGE_ZERO);
        done[i] = true;
    }
    (void)reqpage;
    return VM_PAGER_OK;
}

static const struct vm_pager_ops disk_ops = {
    .name = "test",
    .haspage = disk_haspage,
    .getpages = disk_getpages,
};

static void
disk_set_slow(bool slow)
{
    pthread_mutex_lock(&disk.lock);
    disk.slow = slow;
    pthread_cond_broadcast(&disk.cond);
    pthread_mutex_unlock(&disk.lock);
}

static void
disk_await(unsigned waiting)
{
    pthread_mutex_lock(&disk.lock);
    while (disk.waiting != waiting)
        pthread_cond_wait(&disk.cond, &disk.lock);
    pthread_mutex_unlock(&disk.lock);
}

/* How many of the service's threads can be made at its start. */
static unsigned fault_threads_left = UINT_MAX;

/* A machine with the disk's object in the window, and vCPUs. */
static struct fault_service *
disk_machine_open(struct guest *g, unsigned nvcpus, unsigned nthreads)
{
    struct fault_service *service;

    machine_open(NO_WINDOW, false);
    m.sys.tunables.prefault_pages = 0;
    threads_left = fault_threads_left;
    service = service_open(nvcpus, nthreads, FAULT_PLACE_AUTO);
    threads_left = UINT_MAX;
    MUST(vm_object_create(&m.sys, OBJT_FILE, WINDOW_PAGES, &disk_ops, NULL, &disk.object) == 0);
    add_entry_of(disk.object, VM_MAPTYPE_NORMAL, 0);
    for (unsigned i = 0; i < nvcpus; i++)
        guest_open(&g[i], i, service);
    disk_set_slow(false);
    CHECK(guest_do(&g[0], GUEST_LOAD, gpa_from_u64(0), 1, 0) == 0); /* its page tables */
    disk_set_slow(true);
    return service;
}

static void
disk_machine_close(struct guest *g, unsigned nvcpus, struct fault_service *service)
{
    struct fault_report report;

    for (unsigned i = 0; i < nvcpus; i++)
        guest_close(&g[i]);
    fault_service_stop(service, &report);
    CHECK(report.resolved == report.messages && report.latency.count == report.messages);
    CHECK(vm_meter_get(&m.map.meter, v_vm_faults) + vm_meter_get(&m.map.meter, v_lookups) >=
          report.messages);
    machine_close();
}

/* Join a vCPU's thread that has nothing to wait for; after a long time, let it. */
static bool
joins(pthread_t thread)
{
    struct timespec end;
    bool joined;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    joined = pthread_timedjoin_np(thread, NULL, &end) == 0;
    if (!joined) {
        disk_set_slow(false);
        pthread_join(thread, NULL);
    }
    return joined;
}

/* A vCPU fills so many pages that are on no disk with zeros; can it? */
static bool
zeros_are_to_be_had(struct guest *g, unsigned npages)
{
    static unsigned next;
    pthread_t thread;

    next = next < DISK_PAGES || next > WINDOW_PAGES / 2 ? DISK_PAGES : next;
    guest_start_thread(g, &thread, GUEST_STORE, next, npages);
    next += npages;
    return joins(thread) && g->result == 0;
}

static void
a_vcpu_that_needs_zeros_does_not_wait_for_the_disk_of_others(void)
{
    struct guest g[4];
    pthread_t thread[3];
    struct fault_service *service = disk_machine_open(g, 4, 1);

    for (unsigned i = 0; i < 3; i++) {
        guest_start_thread(&g[i], &thread[i], GUEST_LOAD, 8 * i, 1);
        disk_await(i + 1);
        CHECK(zeros_are_to_be_had(&g[3], 10));
    }
    disk_set_slow(false);
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        CHECK(g[i].result == 0);
    }
    CHECK(warnings == 0);
    disk_machine_close(g, 4, service);
}

static void
a_vcpu_that_needs_zeros_does_not_wait_for_a_page_that_is_busy(void)
{
    struct guest g[2];
    pthread_t thread;
    struct fault_service *service = disk_machine_open(g, 2, 1);
    struct vm_page *page;

    vm_mutex_lock(&disk.object->lock);
    page = vm_page_alloc(disk.object, WINDOW_PAGES - 1);
    vm_mutex_unlock(&disk.object->lock);
    guest_start_thread(&g[0], &thread, GUEST_LOAD, WINDOW_PAGES - 1, 1);
    while (vm_meter_get(&m.map.meter, v_intrans) == 0)
        usleep(100);
    CHECK(zeros_are_to_be_had(&g[1], 10));
    vm_page_zero_fill(page);
    page->valid = 1;
    vm_mutex_lock(&disk.object->lock);
    vm_page_activate(page);
    vm_page_wakeup(page);
    vm_mutex_unlock(&disk.object->lock);
    pthread_join(thread, NULL);
    CHECK(g[0].result == 0);
    disk_machine_close(g, 2, service);
}

/* Not even where each vCPU has a thread: the one that reads ahead may fault again meanwhile. */
static void
nobody_waits_for_what_is_read_ahead(void)
{
    struct guest g[2];
    pthread_t thread;
    struct fault_service *service = disk_machine_open(g, 2, 2);

    disk_set_slow(false);
    CHECK(guest_do(&g[0], GUEST_LOAD, gpa_from_u64(WINDOW_GPA), 1, 0) == 0);
    vm_mutex_lock(&disk.object->lock);
    vm_page_flag_set(vm_page_lookup(disk.object, 0), VM_PAGE_RAM);
    vm_mutex_unlock(&disk.object->lock);
    pmap_remove(&m.pmap, gpa_from_u64(WINDOW_GPA), gpa_from_u64(WINDOW_GPA + PAGE_SIZE));
    disk_set_slow(true);
    guest_start_thread(&g[0], &thread, GUEST_LOAD, 0, 1);
    CHECK(joins(thread) && g[0].result == 0);
    disk_await(1); /* page 1 is read ahead */
    guest_start_thread(&g[0], &thread, GUEST_LOAD, 30, 1);
    disk_await(2);
    CHECK(zeros_are_to_be_had(&g[1], 10));
    disk_set_slow(false);
    pthread_join(thread, NULL);
    CHECK(g[0].result == 0);
    disk_machine_close(g, 2, service);
}

/*
 * The only fault thread has handed the fault over, and sleeps without an end while the worker
 * records the failure.
 */
static void
a_failure_that_a_worker_records_kicks_its_vcpu_at_once(void)
{
    struct guest g[2];
    pthread_t thread;
    struct fault_service *service = disk_machine_open(g, 2, 1);
    struct fault_report report;

    disk.fails = true;
    atomic_store(&m.map.handles_loss, true);
    guest_start_thread(&g[0], &thread, GUEST_LOAD, 0, 1);
    disk_await(1);
    CHECK(kicks == 0);
    disk_set_slow(false);
    pthread_join(thread, NULL);
    CHECK(g[0].result == -EFAULT && g[0].failure.result == VM_IO_ERROR);
    for (unsigned i = 0; i < 5000 && kicks == 0; i++)
        usleep(1000);
    CHECK(kicks == 1 && fatals == 0);
    disk.fails = false;
    for (unsigned i = 0; i < 2; i++)
        guest_close(&g[i]);
    fault_service_stop(service, &report);
    CHECK(report.failed == 1 && report.resolved + 1 == report.messages);
    machine_close();
}

/* A thread that is no vCPU's reads the window's first page: a system call is an access by the kernel. */
static void *
read_as_a_foreigner(void *argument)
{
    int *error = argument, pipes[2];

    MUST(pipe(pipes) == 0);
    *error =
        write(pipes[1], kvm_pmap_host_address(m.kp, gpa_from_u64(WINDOW_GPA)), 1) == 1 ? 0 : -errno;
    close(pipes[0]);
    close(pipes[1]);
    return NULL;
}

/* Nobody knows whose failure that is: whoever needs the page faults again. */
static void
a_failure_of_a_foreign_fault_that_waited_kicks_no_vcpu(void)
{
    struct guest g[2];
    pthread_t thread;
    struct fault_service *service;
    int error;

    foreign = true;
    service = disk_machine_open(g, 2, 1);
    disk.fails = true;
    atomic_store(&m.map.handles_loss, true);
    MUST(pthread_create(&thread, NULL, read_as_a_foreigner, &error) == 0);
    disk_await(1);
    disk_set_slow(false);
    pthread_join(thread, NULL);
    CHECK(error == -EFAULT);
    CHECK(fault_service_take_foreign(service));
    for (unsigned i = 0; i < 2; i++)
        guest_close(&g[i]);
    fault_service_stop(service, NULL);
    CHECK(kicks == 0 && stray_kicks == 0 && fatals == 0);
    disk.fails = foreign = false;
    machine_close();
}

static void
a_vm_may_end_while_faults_wait(void)
{
    struct guest g[2];
    pthread_t thread[2];
    struct fault_service *service = disk_machine_open(g, 2, 1);

    for (unsigned i = 0; i < 2; i++)
        guest_start_thread(&g[i], &thread[i], GUEST_LOAD, 20 * i, 1);
    disk_await(2);
    machine_abort();
    for (unsigned i = 0; i < 2; i++) {
        CHECK(joins(thread[i]));
        CHECK(g[i].result == -ECANCELED);
        guest_close(&g[i]);
    }
    disk_set_slow(false);
    fault_service_stop(service, NULL);
    machine_close();
}

/* Let this process make no thread any more, for good.  Root has no limit. */
static void
forbid_threads(void)
{
    const struct rlimit limit = { 1, 1 };

    MUST(setrlimit(RLIMIT_NPROC, &limit) == 0);
    if (geteuid() == 0)
        MUST(setresuid(65534, 65534, 65534) == 0);
}

static void
wait_without_workers(void)
{
    struct guest g[2];
    struct fault_service *service = disk_machine_open(g, 2, 1);

    disk_set_slow(false);
    forbid_threads();
    for (unsigned i = 0; i < 3; i++)
        CHECK(guest_do(&g[0], GUEST_LOAD, gpa_from_u64(WINDOW_GPA + i * PAGE_SIZE), 1, 0) == 0);
    CHECK(warnings == 1 && strstr(warning, strerror(EAGAIN)) != NULL);
    CHECK(fatals == 0);
    disk_machine_close(g, 2, service);
}

static void
start_without_threads(void)
{
    struct fault_service *service;

    machine_open(NO_WINDOW, false);
    forbid_threads();
    CHECK(service_start(2, 2, FAULT_PLACE_AUTO, &service) == -EAGAIN);
    machine_close();
}

static void
in_a_child(void (*run)(void))
{
    int status = 0;
    pid_t child = fork();

    MUST(child >= 0);
    if (child == 0) {
        run();
        fflush(stdout);
        _exit(rig_failed);
    }
    MUST(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void
without_a_worker_the_fault_thread_waits_itself_and_says_so_once(void)
{
    in_a_child(wait_without_workers);
}

/* ... and workers wait for the disk, as where fewer threads than vCPUs were asked for. */
static void
with_fewer_fault_threads_than_wanted_the_vm_runs_and_says_so(void)
{
    struct guest g[2];
    pthread_t thread;
    struct fault_service *service;

    fault_threads_left = 1;
    service = disk_machine_open(g, 2, 2);
    fault_threads_left = UINT_MAX;
    CHECK(warnings == 1 && strstr(warning, "fewer fault threads than wanted") != NULL);
    CHECK(strstr(warning, strerror(EAGAIN)) != NULL);
    guest_start_thread(&g[0], &thread, GUEST_LOAD, 0, 1);
    disk_await(1);
    CHECK(zeros_are_to_be_had(&g[1], 10));
    disk_set_slow(false);
    pthread_join(thread, NULL);
    CHECK(g[0].result == 0 && fatals == 0);
    disk_machine_close(g, 2, service);
}

static void
without_a_fault_thread_there_is_no_service(void)
{
    in_a_child(start_without_threads);
}

static const struct rig_test tests[] = {
    RIG_TEST(a_vcpu_that_needs_zeros_does_not_wait_for_the_disk_of_others),
    RIG_TEST(a_vcpu_that_needs_zeros_does_not_wait_for_a_page_that_is_busy),
    RIG_TEST(nobody_waits_for_what_is_read_ahead),
    RIG_TEST(a_failure_that_a_worker_records_kicks_its_vcpu_at_once),
    RIG_TEST(a_failure_of_a_foreign_fault_that_waited_kicks_no_vcpu),
    RIG_TEST(a_vm_may_end_while_faults_wait),
    RIG_TEST(without_a_worker_the_fault_thread_waits_itself_and_says_so_once),
    RIG_TEST(with_fewer_fault_threads_than_wanted_the_vm_runs_and_says_so),
    RIG_TEST(without_a_fault_thread_there_is_no_service),
};

int
main(int argc, char **argv)
{
    return rig_main("host_waiting", tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
