/* SPDX-License-Identifier: BSD-2-Clause */
/* The fault service: threads that answer faults, without a guest kernel (kvm_rig.h). */
#include "tests/kvm/service_rig.h"

#include "vmm/kvm/fault_placement.h"
#include "vmm/kvm/fault_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>

static void
check_service(enum fault_placement placement)
{
    struct fault_report report;
    struct guest g;

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(1, 0, placement);
    add_entry(VM_MAPTYPE_NORMAL, 0);
    guest_open(&g, 0, service);
    CHECK(guest_do(&g, GUEST_STORE, gpa_from_u64(WINDOW_GPA), WINDOW_PAGES, 7) == 0);
    guest_close(&g);
    fault_service_stop(service, &report);
    CHECK(report.messages > 0 && report.latency.count == report.messages);
    CHECK(report.missing + report.minor + report.write_protect == report.messages);
    CHECK(report.resolved == report.messages && report.failed == 0);
    machine_close();
}

static void
the_service_resolves_faults_with_and_without_spinning(void)
{
    check_service(FAULT_PLACE_SPIN);
    check_service(FAULT_PLACE_BLOCK);
    check_service(FAULT_PLACE_AUTO);
}

/* An emulated processor takes longer for a look than a sender for its delay line. */
static void
a_fault_thread_spins_by_itself_only_where_it_can_be_in_time(void)
{
    struct fault_service_config config = { .nvcpus = 1, .placement = FAULT_PLACE_AUTO };

    CHECK(fault_placement_spins(&config, 2, FAULT_LATE_NS));
    CHECK(!fault_placement_spins(&config, 2, FAULT_LATE_NS + 1));
    CHECK(!fault_placement_spins(&config, 1, 0));
    config.placement = FAULT_PLACE_SPIN;
    CHECK(fault_placement_spins(&config, 1, UINT64_MAX));
    config.placement = FAULT_PLACE_BLOCK;
    CHECK(!fault_placement_spins(&config, 2, 0));
}

static void
a_look_for_a_message_takes_a_time_that_can_be_told(void)
{
    machine_open(NO_WINDOW, false);
    uint64_t ns = fault_reader_look_ns(m.kvm.uffd);
    printf("    %" PRIu64 " ns\n", ns);
    CHECK(ns > 0 && ns < UINT64_MAX);
    machine_close();
}

static void
a_fault_the_guest_must_handle_reaches_its_vcpu_with_the_cause(void)
{
    struct fault_report report;
    struct guest g;
    gpa_t gpa = gpa_from_u64(WINDOW_GPA + 5 * PAGE_SIZE);

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(1, 0, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_VPAGETABLE, 0); /* root without V */
    guest_open(&g, 0, service);
    for (unsigned i = 0; i < 50; i++) {
        CHECK(guest_do(&g, i % 2 ? GUEST_STORE : GUEST_LOAD, gpa, 1, 7) == -EFAULT);
        CHECK(g.failure.result == VM_VPTE_INVALID);
        CHECK(gpa_to_u64(gpa_trunc_page(g.failure.gpa)) == gpa_to_u64(gpa));
        CHECK(g.failure.access == (i % 2 ? VM_PROT_WRITE : VM_PROT_READ));
    }
    CHECK(!fault_service_take_failure(service, 0, &g.failure));
    CHECK(m.kp->nfailed == 0);
    guest_close(&g);
    fault_service_stop(service, &report);
    CHECK(report.failed == 50);
    CHECK(fatals == 0);
    machine_close();
}

#define FAIL_ROUNDS 100u

static pthread_barrier_t fail_barrier;

/* One thread for all rounds: a message that is answered late still finds its vCPU. */
static void *
fail_in_rounds(void *argument)
{
    struct guest *g = argument;

    for (unsigned round = 0; round < FAIL_ROUNDS; round++) {
        pthread_barrier_wait(&fail_barrier);
        CHECK(guest_do(g, GUEST_STORE, g->gpa, 1, 1) == -EFAULT);
        CHECK(g->failure.result == VM_VPTE_INVALID);
    }
    return NULL;
}

static void
two_vcpus_that_fail_on_one_page_both_learn_it(void)
{
    struct guest g[2];
    pthread_t thread[2];

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(2, 2, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_VPAGETABLE, 0);
    pthread_barrier_init(&fail_barrier, NULL, 2);
    for (unsigned i = 0; i < 2; i++) {
        guest_open(&g[i], i, service);
        g[i].gpa = gpa_from_u64(WINDOW_GPA);
    }
    for (unsigned i = 0; i < 2; i++)
        MUST(pthread_create(&thread[i], NULL, fail_in_rounds, &g[i]) == 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < 2; i++)
        guest_close(&g[i]);
    pthread_barrier_destroy(&fail_barrier);
    fault_service_stop(service, NULL); /* takes what was recorded for a message answered late */
    CHECK(m.kp->nfailed == 0);
    CHECK(fatals == 0);
    machine_close();
}

/* Touch the page until it does not fail for want of a failure to take. */
static void *
store_until_answered(void *argument)
{
    struct guest *g = argument;

    do
        g->result = guest_do(g, GUEST_STORE, g->gpa, 1, 1);
    while (g->result == -ECANCELED);
    return NULL;
}

static void
a_failure_nobody_takes_does_not_hold_up_others_for_ever(void)
{
    struct guest g[2];
    pthread_t thread;
    struct vm_fault_info info;
    vpte_t all = VPTE_V | VPTE_PS | VPTE_R | VPTE_W | VPTE_X;

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(2, 1, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_VPAGETABLE, 0);
    for (unsigned i = 0; i < 2; i++)
        guest_open(&g[i], i, service);
    g[0].service = NULL; /* takes no failure */
    fault_service_attach(service, 0);
    CHECK(guest_do(&g[0], GUEST_STORE, gpa_from_u64(WINDOW_GPA), 1, 1) == -ECANCELED);
    CHECK(vm_map_setmap(&m.map, gpa_from_u64(WINDOW_GPA),
                        gpa_from_u64(WINDOW_GPA + WINDOW_PAGES * PAGE_SIZE), all) == 0);
    g[1].gpa = gpa_from_u64(WINDOW_GPA);
    MUST(pthread_create(&thread, NULL, store_until_answered, &g[1]) == 0);
    pthread_join(thread, NULL);
    CHECK(g[1].result == 0);
    CHECK(!fault_service_take_failure(service, 0, &info));
    for (unsigned i = 0; i < 2; i++)
        guest_close(&g[i]);
    fault_service_stop(service, NULL);
    machine_close();
}

/* A second is long for what comes after milliseconds, again and again. */
static void
a_vcpu_that_does_not_take_its_failure_is_kicked_until_it_does(void)
{
    const struct timespec moment = { .tv_nsec = 1000000 };
    struct vm_fault_info info;
    struct guest g;

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(2, 1, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_VPAGETABLE, 0);
    guest_open(&g, 0, service);
    g.service = NULL; /* takes no failure */
    fault_service_attach(service, 0);
    CHECK(guest_do(&g, GUEST_STORE, gpa_from_u64(WINDOW_GPA), 1, 1) == -ECANCELED);
    for (unsigned i = 0; i < 1000 && kicks < 3; i++)
        (void)nanosleep(&moment, NULL);
    CHECK(kicks >= 3);
    CHECK(fault_service_take_failure(service, 0, &info));
    CHECK(info.result == VM_VPTE_INVALID);
    guest_close(&g);
    fault_service_stop(service, NULL);
    machine_close();
}

static void
a_dead_fault_thread_ends_the_machine_with_a_message(void)
{
    struct guest g;

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(1, 1, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_NORMAL, 0);
    guest_open(&g, 0, service);
    CHECK(guest_do(&g, GUEST_STORE, gpa_from_u64(WINDOW_GPA), 1, 7) == 0);
    fault_service_kill_thread(service, 0);
    CHECK(guest_do(&g, GUEST_STORE, gpa_from_u64(WINDOW_GPA + 3000 * PAGE_SIZE), 1, 7) ==
          -ECANCELED);
    CHECK(fatals == 1);
    CHECK(strstr(fatal_message, "fault thread 0") != NULL);
    guest_close(&g);
    fault_service_stop(service, NULL);
    machine_close();
}

/* The first page of the window is never entered, only its waiter woken.  ZEROPAGE and
 * CONTINUE have the same shape: range, mode, bytes done. */
static int
disturb_enter(unsigned long request, void *argument)
{
    struct uffdio_zeropage *op = argument;

    if ((request != UFFDIO_ZEROPAGE && request != UFFDIO_CONTINUE) ||
        op->range.start != (uintptr_t)window_word(0))
        return 1;
    op->zeropage = (int64_t)op->range.len;
    return ioctl(m.kvm.uffd, UFFDIO_WAKE, &op->range);
}

static void
a_page_that_faults_without_end_is_reported_as_suspect(void)
{
    struct guest g;

    machine_open(NO_WINDOW, false);
    m.sys.tunables.prefault_pages = 0;
    struct fault_service *service = service_open(1, 1, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_NORMAL, 0);
    guest_open(&g, 0, service);
    CHECK(guest_do(&g, GUEST_LOAD, gpa_from_u64(0), 1, 0) == 0);
    disturb = disturb_enter;
    CHECK(guest_do(&g, GUEST_LOAD, gpa_from_u64(WINDOW_GPA), 1, 0) == -ECANCELED);
    CHECK(suspects == 2);
    disturb = NULL;
    guest_close(&g);
    fault_service_stop(service, NULL);
    machine_close();
}

/* Drop the page's mapping whenever it is there, until the vCPU is done. */
static void
drop_until(const _Atomic bool *done)
{
    const gpa_t page = gpa_from_u64(WINDOW_GPA), end = gpa_add(page, PAGE_SIZE);

    while (!*done) {
        if (pmap_extract(&m.pmap, page, NULL) != VM_PROT_NONE)
            pmap_remove(&m.pmap, page, end);
        usleep(10); /* the others need the processors */
    }
}

static _Atomic bool counted_up;

static void *
count_up(void *argument)
{
    struct guest *g = argument;

    do
        g->result = guest_do(g, GUEST_INCREMENT, g->gpa, 100, 0);
    while (g->result == 0 && vm_meter_get(&m.map.meter, v_vm_faults) < FAULT_SUSPECT * 3 / 2);
    counted_up = true;
    return NULL;
}

static void
a_vcpu_that_waits_in_a_page_whose_mapping_goes_again_and_again_is_no_suspect(void)
{
    struct guest g;
    pthread_t thread;

    machine_open(NO_WINDOW, false);
    m.sys.tunables.prefault_pages = 0;
    struct fault_service *service = service_open(1, 1, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_NORMAL, 0);
    guest_open(&g, 0, service);
    g.gpa = gpa_from_u64(WINDOW_GPA);
    counted_up = false;
    MUST(pthread_create(&thread, NULL, count_up, &g) == 0);
    drop_until(&counted_up);
    pthread_join(thread, NULL);
    CHECK(g.result == 0);
    CHECK(suspects == 0);
    guest_close(&g);
    fault_service_stop(service, NULL);
    machine_close();
}

static int
disturb_fatally(unsigned long request, void *argument)
{
    struct uffdio_zeropage *op = argument;

    if (request != UFFDIO_ZEROPAGE)
        return 1;
    op->zeropage = -ENOMEM;
    errno = ENOMEM;
    return -1;
}

static void
an_entry_the_host_refuses_ends_the_machine_with_address_access_and_cause(void)
{
    struct guest g;

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(1, 1, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_NORMAL, 0);
    guest_open(&g, 0, service);
    CHECK(guest_do(&g, GUEST_LOAD, gpa_from_u64(0), 1, 0) == 0);
    disturb = disturb_fatally;
    CHECK(guest_do(&g, GUEST_STORE, gpa_from_u64(WINDOW_GPA), 1, 0) == -ECANCELED);
    CHECK(fatals == 1);
    CHECK(strstr(fatal_message, "0x40000000") != NULL);
    CHECK(strstr(fatal_message, "write") != NULL);
    CHECK(strstr(fatal_message, strerror(ENOMEM)) != NULL);
    guest_close(&g);
    fault_service_stop(service, NULL);
    machine_close();
}

static void
an_idle_service_stops_at_once(void)
{
    machine_open(NO_WINDOW, false);
    for (unsigned i = 0; i < 50; i++) {
        fault_service_stop(service_open(2, 3, i % 2 ? FAULT_PLACE_SPIN : FAULT_PLACE_BLOCK), NULL);
        CHECK(fatals == 0);
    }
    machine_close();
}

static const struct rig_test tests[] = {
    RIG_TEST(the_service_resolves_faults_with_and_without_spinning),
    RIG_TEST(a_fault_thread_spins_by_itself_only_where_it_can_be_in_time),
    RIG_TEST(a_look_for_a_message_takes_a_time_that_can_be_told),
    RIG_TEST(a_fault_the_guest_must_handle_reaches_its_vcpu_with_the_cause),
    RIG_TEST(two_vcpus_that_fail_on_one_page_both_learn_it),
    RIG_TEST(a_failure_nobody_takes_does_not_hold_up_others_for_ever),
    RIG_TEST(a_vcpu_that_does_not_take_its_failure_is_kicked_until_it_does),
    RIG_TEST(a_dead_fault_thread_ends_the_machine_with_a_message),
    RIG_TEST(a_page_that_faults_without_end_is_reported_as_suspect),
    RIG_TEST(a_vcpu_that_waits_in_a_page_whose_mapping_goes_again_and_again_is_no_suspect),
    RIG_TEST(an_entry_the_host_refuses_ends_the_machine_with_address_access_and_cause),
    RIG_TEST(an_idle_service_stops_at_once),
};

int
main(int argc, char **argv)
{
    return rig_main("host_service", tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
