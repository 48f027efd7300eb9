/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Accesses of a guest to ports and addresses without memory: who answers, and what they are when
 * nobody does.  Mini guests: host_bus.S.
 */
#include "tests/kvm/vm_rig.h"

#include "guest/include/vkvm_abi.h"

GUEST(guest_ports);
GUEST(guest_absent);
GUEST(guest_reader);

static void
ports_nobody_owns_read_as_ones(struct verdict *v)
{
    const struct vm_config config = default_config();
    struct vm *vm = make_vm(&config, guest_ports, guest_ports_end);
    struct vm_outcome outcome = run_vm(vm);
    uint64_t values[2];

    expect_exit(v, &outcome, 0);
    get(vm, GUEST_RECORD, values, sizeof(values));
    CHECK_EQ(v, values[0], 0xff);
    CHECK_EQ(v, values[1], 0xffffffff);
    destroy_vm(vm);
}

/* What a device on the memory bus was asked. */
struct probe {
    uint64_t written_at;
    uint32_t written;
    uint64_t read_at;
};

static int
probe_access(void *device, const struct bus_access *access)
{
    static const uint16_t answer = 0x1234;
    struct probe *probe = device;

    if (access->write && access->size == sizeof(probe->written)) {
        probe->written_at = access->offset;
        memcpy(&probe->written, access->data, sizeof(probe->written));
    } else if (!access->write && access->size == sizeof(answer)) {
        probe->read_at = access->offset;
        memcpy(access->data, &answer, sizeof(answer));
    }
    return 0;
}

static void
memory_nobody_has_reads_as_ones_if_the_machine_says_so_and_devices_answer(struct verdict *v)
{
    struct vm_config config = default_config();
    struct probe probe = { 0 };
    struct vm_outcome outcome;
    uint64_t values[2];
    struct vm *vm;

    config.machine.absent = BUS_ABSENT_ONES;
    vm = make_vm(&config, guest_absent, guest_absent_end);
    CHECK_EQ(v, bus_add(&vm->bus, BUS_MEMORY, 0x80001000, 0x100, 0, probe_access, &probe), 0);
    outcome = run_vm(vm);
    expect_exit(v, &outcome, 0);
    get(vm, GUEST_RECORD, values, sizeof(values));
    CHECK_EQ(v, values[0], UINT64_MAX);
    CHECK_EQ(v, values[1], 0x1234);
    CHECK_EQ(v, probe.written, 7);
    CHECK_EQ(v, probe.written_at, 0x10);
    CHECK_EQ(v, probe.read_at, 4);
    destroy_vm(vm);
}

static void
memory_nobody_has_is_a_fault_if_the_machine_says_so(struct verdict *v)
{
    const struct vm_config config = default_config();
    struct vm_outcome outcome = run_guest(&config, guest_absent, guest_absent_end);

    expect_end(v, &outcome, VM_END_CRASHED, "triple fault"); /* it has no handler */
}

static void
a_vm_without_guest_calls_has_a_port_that_nobody_owns(struct verdict *v)
{
    struct vm_config config = default_config();
    struct vm_outcome outcome;

    config.guest = NULL;
    outcome = run_guest(&config, guest_ports, guest_ports_end);
    expect_end(v, &outcome, VM_END_CRASHED, "all vCPUs halted"); /* behind the exit call */
}

static void
all_bytes_are_read_one_like_none_among_them_and_the_end_is_told(struct verdict *v)
{
    static const uint8_t input[] = { 'a', 0xff, 0, 0xff, 0xff, 'z', '\n', 0xff };
    const struct vm_config config = default_config();
    uint8_t read_back[sizeof(input) + 1];
    struct vm_outcome outcome;
    int64_t last;
    struct vm *vm;
    int saved = dup(STDIN_FILENO), ends[2];

    if (saved < 0 || pipe(ends) != 0 || write(ends[1], input, sizeof(input)) != sizeof(input) ||
        dup2(ends[0], STDIN_FILENO) < 0)
        die("pipe", strerror(errno));
    close(ends[1]);
    vm = make_vm(&config, guest_reader, guest_reader_end);
    outcome = run_vm(vm);
    (void)dup2(saved, STDIN_FILENO);
    close(saved);
    close(ends[0]);
    expect_exit(v, &outcome, 0);
    get(vm, GUEST_RECORD, &last, sizeof(last));
    CHECK_EQ(v, last, -VKVM_ENODATA);
    get(vm, GUEST_RECORD + 8, read_back, sizeof(read_back));
    CHECK(v, memcmp(read_back, input, sizeof(input)) == 0, "other bytes");
    CHECK_EQ(v, read_back[sizeof(input)], 0);
    destroy_vm(vm);
}

static const struct test tests[] = {
    TEST(ports_nobody_owns_read_as_ones),
    TEST(memory_nobody_has_reads_as_ones_if_the_machine_says_so_and_devices_answer),
    TEST(memory_nobody_has_is_a_fault_if_the_machine_says_so),
    TEST(a_vm_without_guest_calls_has_a_port_that_nobody_owns),
    TEST(all_bytes_are_read_one_like_none_among_them_and_the_end_is_told),
};

int
main(int argc, char **argv)
{
    return run_tests("host_bus", tests, COUNT(tests), argc > 1 ? argv[1] : NULL);
}
