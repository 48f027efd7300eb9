/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a VM comes in the middle of what its guest does, and what that leaves is in order.
 */
#include "tests/kvm/vm_rig.h"

#include "guest/include/vkvm_abi.h"

#include <sched.h>

#define LARGE_MEMORY (UINT64_C(2) << 30) /* to wire it takes seconds */
#define FEW_PAGES 1000u

GUEST(guest_wire);

/* Ends the VM once so many pages are wired. */
static void *
end_when_wired(void *argument)
{
    struct vm *vm = argument;

    while (atomic_load(&vm->host->sys.wired_pages) < FEW_PAGES)
        sched_yield();
    vm_end(vm, VM_END_CRASHED, 0, "in the middle of it");
    return NULL;
}

/* What was told at the end, and how many vCPU threads there were then. */
struct told {
    struct vm *vm;
    unsigned times;
    unsigned running;
    char message[sizeof(((struct vm_outcome *)0)->message)];
};

static void
take_end(void *context, const struct vm_outcome *outcome)
{
    struct told *told = context;

    told->times++;
    for (unsigned i = 0; i < told->vm->config.machine.nvcpus; i++)
        told->running += atomic_load(&told->vm->vcpus[i].started);
    memcpy(told->message, outcome->message, sizeof(told->message));
}

static void
the_end_does_not_wait_for_a_call_of_the_guest(struct verdict *v)
{
    const uint64_t size = LARGE_MEMORY - GUEST_CALLS;
    struct vm_config config = default_config();
    struct told told = { .times = 0 };
    struct vm_outcome outcome;
    uint64_t wired;
    pthread_t thread;

    machine_set_memory(&config.machine, LARGE_MEMORY);
    config.ended = take_end;
    config.ended_context = &told;
    told.vm = make_vm(&config, guest_wire, guest_wire_end);
    put(told.vm, GUEST_CALLS, &size, sizeof(size));
    if (pthread_create(&thread, NULL, end_when_wired, told.vm) != 0)
        die("pthread_create", "failed");
    outcome = run_vm(told.vm);
    pthread_join(thread, NULL);
    expect_end(v, &outcome, VM_END_CRASHED, "in the middle of it");
    wired = atomic_load(&told.vm->host->sys.wired_pages);
    CHECK(v, wired >= FEW_PAGES && wired < size >> PAGE_SHIFT, "%" PRIu64 " pages are wired",
          wired);
    CHECK_EQ(v, told.times, 1);
    CHECK_EQ(v, told.running, 0);
    CHECK(v, strcmp(told.message, outcome.message) == 0, "told \"%s\"", told.message);
    destroy_vm(told.vm);
}

static const struct test tests[] = {
    TEST(the_end_does_not_wait_for_a_call_of_the_guest),
};

int
main(int argc, char **argv)
{
    return run_tests("host_end", tests, COUNT(tests), argc > 1 ? argv[1] : NULL);
}
