/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults of threads that are no vCPU's, as KVM's asynchronous page faults are: a thread of the
 * kernel's waits in place of the vCPU and asks for write access whatever the vCPU wants.  Here a
 * thread of the test plays it: a system call with a buffer in the window is an access by the
 * kernel, and fails with EFAULT as one of KVM's does.
 */
#include "tests/kvm/service_rig.h"

#include <fcntl.h>

#define COPY_GPA (WINDOW_GPA + WINDOW_PAGES * PAGE_SIZE)

static int
foreign_read(gpa_t gpa)
{
    int pipes[2], error = 0;

    MUST(pipe(pipes) == 0);
    if (write(pipes[1], kvm_pmap_host_address(m.kp, gpa), 1) != 1)
        error = -errno;
    close(pipes[0]);
    close(pipes[1]);
    return error;
}

static int
foreign_write(gpa_t gpa)
{
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC), error = 0;

    if (read(fd, kvm_pmap_host_address(m.kp, gpa), 1) != 1)
        error = -errno;
    close(fd);
    return error;
}

/* A service for one vCPU, and the window's entry with page 0 filled. */
static struct fault_service *
open_world(void)
{
    static const uint64_t word = 42;
    struct fault_service *service;
    struct vm_fault_info info;

    machine_open(NO_WINDOW, false);
    m.sys.tunables.prefault_pages = 0;
    foreign = true;
    service = service_open(1, 1, FAULT_PLACE_BLOCK);
    add_entry(VM_MAPTYPE_NORMAL, 0);
    MUST(vm_map_write(&m.map, gpa_from_u64(WINDOW_GPA), &word, sizeof(word), &info) == VM_OK);
    return service;
}

/* ... and a virtual copy of it. */
static struct fault_service *
open_copied_world(void)
{
    struct fault_service *service = open_world();

    MUST(vm_map_copy(&m.map, gpa_from_u64(WINDOW_GPA), gpa_from_u64(COPY_GPA),
                     WINDOW_PAGES * PAGE_SIZE) == 0);
    return service;
}

static void
close_world(struct fault_service *service, struct fault_report *report)
{
    fault_service_stop(service, report);
    foreign = false;
    CHECK(fatals == 0);
    machine_close();
}

static void
a_foreign_fault_on_a_fresh_page_is_answered_and_counted(void)
{
    struct fault_service *service = open_world();
    struct fault_report report;

    CHECK(foreign_write(gpa_from_u64(WINDOW_GPA + PAGE_SIZE)) == 0);
    CHECK(foreign_read(gpa_from_u64(WINDOW_GPA)) == 0);
    CHECK(!fault_service_take_foreign(service));
    close_world(service, &report);
    CHECK(report.foreign == 2);
    CHECK(report.failed == 0);
}

static void
a_foreign_write_copies_no_page_until_it_comes_again(void)
{
    struct fault_service *service = open_copied_world();
    const gpa_t page = gpa_from_u64(COPY_GPA);
    struct guest g;

    guest_open(&g, 0, service);
    CHECK(foreign_write(page) == -EFAULT);
    CHECK(vm_meter_get(&m.map.meter, v_cow_faults) == 0);
    CHECK(fault_service_take_foreign(service));
    CHECK(!fault_service_take_foreign(service));
    CHECK(foreign_read(page) == 0);
    CHECK(guest_do(&g, GUEST_LOAD, page, 1, 0) == 0);
    CHECK(vm_meter_get(&m.map.meter, v_cow_faults) == 0);
    CHECK(foreign_write(page) == 0);
    CHECK(vm_meter_get(&m.map.meter, v_cow_faults) == 1);
    guest_close(&g);
    close_world(service, NULL);
}

static void
a_vcpus_own_write_to_a_refused_page_is_made_once_the_page_is_given_back(void)
{
    struct fault_service *service = open_copied_world();
    const gpa_t page = gpa_from_u64(COPY_GPA);
    struct guest g;

    guest_open(&g, 0, service);
    CHECK(foreign_write(page) == -EFAULT);
    CHECK(fault_service_take_foreign(service));
    CHECK(guest_do(&g, GUEST_STORE, page, 1, 7) == 0);
    CHECK(vm_meter_get(&m.map.meter, v_cow_faults) == 1);
    guest_close(&g);
    close_world(service, NULL);
}

static void
a_foreign_fault_that_cannot_be_resolved_fails_and_ends_nothing(void)
{
    struct fault_service *service;
    struct fault_report report;

    machine_open(NO_WINDOW, false);
    foreign = true;
    service = service_open(1, 1, FAULT_PLACE_BLOCK);
    add_entry(VM_MAPTYPE_VPAGETABLE, 0);
    CHECK(foreign_read(gpa_from_u64(WINDOW_GPA)) == -EFAULT);
    CHECK(foreign_read(gpa_from_u64(WINDOW_GPA + PAGE_SIZE)) == -EFAULT);
    CHECK(fault_service_take_foreign(service));
    CHECK(foreign_write(gpa_from_u64(WINDOW_GPA)) == -EFAULT);
    close_world(service, &report);
    CHECK(report.failed == 0);
    CHECK(report.foreign == report.messages);
}

static void
without_foreign_threads_such_a_fault_ends_the_machine(void)
{
    struct fault_service *service;

    machine_open(NO_WINDOW, false);
    service = service_open(1, 1, FAULT_PLACE_BLOCK);
    add_entry(VM_MAPTYPE_VPAGETABLE, 0);
    CHECK(foreign_read(gpa_from_u64(WINDOW_GPA)) == -EFAULT);
    CHECK(fatals == 1);
    CHECK(strstr(fatal_message, "no vCPU") != NULL);
    fault_service_stop(service, NULL);
    machine_close();
}

static const struct rig_test tests[] = {
    RIG_TEST(a_foreign_fault_on_a_fresh_page_is_answered_and_counted),
    RIG_TEST(a_foreign_write_copies_no_page_until_it_comes_again),
    RIG_TEST(a_vcpus_own_write_to_a_refused_page_is_made_once_the_page_is_given_back),
    RIG_TEST(a_foreign_fault_that_cannot_be_resolved_fails_and_ends_nothing),
    RIG_TEST(without_foreign_threads_such_a_fault_ends_the_machine),
};

int
main(int argc, char **argv)
{
    return rig_main("host_foreign", tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
