/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whole VMs around mini guests (host_vm.S): start state, doorbell, console, and
 * every way a VM ends.  host_fault.c has the exceptions.
 */
#include "tests/kvm/vm_rig.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/kvm/kvm_window.h"
#include "vmm/x86_64/layout.h"

#include <fcntl.h>
#include <signal.h>

#define VE_AREA UINT64_C(0x33000)

GUEST(guest_start);
GUEST(guest_caller);
GUEST(guest_console);
GUEST(guest_spin);
GUEST(guest_spin_counting);
GUEST(guest_halt_one);
GUEST(guest_triple_fault);
GUEST(guest_touch);
GUEST(guest_chatter);
GUEST(guest_fxsave);

/* --- start state ------------------------------------------------------------ */

static void
every_vcpu_starts_as_the_abi_says(struct verdict *v)
{
    struct vm_config config = default_config();
    const uint64_t nvcpus = config.machine.nvcpus = 3;
    struct trap_record r;
    struct vm_outcome outcome;
    struct vm *vm;
    uint64_t i;

    vm = make_vm(&config, guest_start, guest_start_end);
    put(vm, GUEST_PARAM, &nvcpus, sizeof(nvcpus));
    outcome = run_vm(vm);
    expect_exit(v, &outcome, 0);
    for (i = 0; i < nvcpus; i++) {
        get(vm, GUEST_RECORD + i * RECORD_SIZE, &r, sizeof(r));
        CHECK_EQ(v, r.regs[0], 0x7000);
        CHECK_EQ(v, r.regs[1], i);
        CHECK_EQ(v, r.rsp, 0);
        CHECK_EQ(v, r.rflags & 0x3202, 2); /* no interrupts, IOPL 0 */
        CHECK_EQ(v, r.cs, VKVM_SEL_KERNEL_CODE);
        CHECK_EQ(v, r.ss, VKVM_SEL_KERNEL_DATA);
        CHECK_EQ(v, r.regs[2], 0x80010033);    /* CR0: PG WP NE ET MP PE */
        CHECK_EQ(v, r.regs[3], 0x620);         /* CR4: PAE OSFXSR OSXMMEXCPT */
        CHECK_EQ(v, r.regs[4] & 0xd01, 0xd01); /* EFER: NXE LMA LME SCE */
        CHECK_EQ(v, r.regs[5], ARCH_SEL_TSS);
    }
    destroy_vm(vm);
}

static void
the_boot_page_tables_map_low_memory_and_the_windows(struct verdict *v)
{
    const struct vm_config config = default_config();
    struct vm *vm = make_vm(&config, guest_spin, guest_spin_end);
    uint64_t e;

    get(vm, LAYOUT_PML4, &e, sizeof(e));
    CHECK_EQ(v, e & ~UINT64_C(0xfff), LAYOUT_PDPT);
    CHECK_EQ(v, e & 7, 7);
    get(vm, LAYOUT_PDPT + 3 * 8, &e, sizeof(e));
    CHECK_EQ(v, e & ~UINT64_C(0xfff), LAYOUT_PD_LOW + 3 * 0x1000);
    get(vm, LAYOUT_PDPT + 4 * 8, &e, sizeof(e));
    CHECK_EQ(v, e, 0);
    get(vm, LAYOUT_PDPT + 67 * 8, &e, sizeof(e));
    CHECK_EQ(v, e & ~UINT64_C(0xfff), LAYOUT_PD_WINDOW + 3 * 0x1000);
    get(vm, LAYOUT_PD_LOW + 3 * 0x1000 + 511 * 8, &e, sizeof(e));
    CHECK_EQ(v, e & ~UINT64_C(0x1fffff), UINT64_C(0xffe00000));
    CHECK_EQ(v, e & 0x87, 0x87);
    get(vm, LAYOUT_PD_WINDOW + 8, &e, sizeof(e));
    CHECK_EQ(v, e & ~UINT64_C(0x1fffff), VKVM_WINDOW_BASE + 0x200000);
    CHECK_EQ(v, gpa_to_u64(arch_boot_end()), LAYOUT_BOOT_END);
    destroy_vm(vm);
}

static void
what_cannot_be_a_vm_is_refused_with_a_reason(struct verdict *v)
{
    const struct machine_window low = { .start = gpa_from_u64(0x1000),
                                        .size = PAGE_SIZE,
                                        .format = &vpte64_format };
    const struct vm_host_config host_config = default_host_config();
    struct vm_host *host = make_host(&host_config);
    struct failure failure;
    struct vm_config bad;
    struct vm *vm = NULL;

#define REFUSED(change)                                             \
    do {                                                            \
        bad = default_config();                                     \
        change;                                                     \
        failure.message[0] = '\0';                                  \
        CHECK_EQ(v, vm_create(host, &bad, &vm, &failure), -EINVAL); \
        CHECK_EQ(v, failure.code, -EINVAL);                         \
        CHECK(v, failure.message[0] != '\0', "no message");         \
    } while (0)
    REFUSED(bad.machine.nram = 0);
    REFUSED(bad.machine.ram[0].size = 0x1234567);
    REFUSED(bad.machine.nvcpus = 0);
    REFUSED(bad.machine.nvcpus = MACHINE_MAX_VCPUS + 1);
    REFUSED(bad.machine.nwindows = MACHINE_MAX_WINDOWS + 1);
    REFUSED((bad.machine.nwindows = 1, bad.machine.windows[0] = low));
    REFUSED((bad.machine.nwindows = 1, bad.machine.windows[0] = low,
             bad.machine.windows[0].start = gpa_from_u64(VKVM_WINDOW_END - PAGE_SIZE),
             bad.machine.windows[0].size = 2 * PAGE_SIZE));
    REFUSED((bad.machine.nwindows = 1, bad.machine.windows[0] = low,
             bad.machine.windows[0].start = gpa_from_u64(WINDOW),
             bad.machine.windows[0].format = NULL));
#undef REFUSED
    CHECK(v, vm == NULL, "*vmp was touched");
    vm_host_destroy(host);
}

/* --- doorbell ---------------------------------------------------------------- */

/* Make the calls in one guest and take their results. */
static void
make_calls(struct verdict *v, const struct vm_config *config, struct doorbell *calls, uint64_t n)
{
    struct vm *vm = make_vm(config, guest_caller, guest_caller_end);
    struct vm_outcome outcome;

    put(vm, GUEST_CALLS, &n, sizeof(n));
    put(vm, GUEST_CALLS + 8, calls, n * sizeof(*calls));
    outcome = run_vm(vm);
    expect_exit(v, &outcome, 0);
    get(vm, GUEST_CALLS + 8, calls, n * sizeof(*calls));
    destroy_vm(vm);
}

struct expected_call {
    uint64_t number;
    uint64_t argument[5];
    int64_t result;
};

static void
expect_calls(struct verdict *v, const struct vm_config *config,
             const struct expected_call *expected, size_t n)
{
    struct doorbell calls[64] = { 0 };
    size_t i;

    for (i = 0; i < n; i++) {
        calls[i].number = expected[i].number;
        memcpy(calls[i].argument, expected[i].argument, sizeof(calls[i].argument));
    }
    make_calls(v, config, calls, n);
    for (i = 0; i < n; i++) {
        CHECK(v, calls[i].result == expected[i].result,
              "entry %zu: call %" PRIu64 " (0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64 ") = %" PRId64
              ", not %" PRId64,
              i, calls[i].number, calls[i].argument[0], calls[i].argument[1], calls[i].argument[2],
              calls[i].result, expected[i].result);
        CHECK_EQ(v, calls[i].result2, VKVM_PORT_DOORBELL);
    }
}

static void
general_calls_check_their_arguments(struct verdict *v)
{
    const struct vm_config config = default_config();
    static const struct expected_call calls[] = {
        { VKVM_CALL_VERSION, { 0 }, VKVM_ABI_VERSION },
        { VKVM_CALL_COUNT, { 0 }, -VKVM_ENOSYS },
        { UINT64_MAX, { 0 }, -VKVM_ENOSYS },
        { UINT64_C(1) << 32 | VKVM_CALL_EXIT, { 0 }, -VKVM_ENOSYS },
        { VKVM_CALL_EXIT, { 256 }, -VKVM_EINVAL },
        { VKVM_CALL_EXIT, { UINT64_MAX }, -VKVM_EINVAL },
        { VKVM_CALL_STATISTICS, { 0x35000, 8 }, 8 },
        { VKVM_CALL_STATISTICS, { 0x35000, 4096 }, sizeof(struct vkvm_statistics) },
        { VKVM_CALL_STATISTICS, { 0x35000, 0 }, -VKVM_EINVAL },
        { VKVM_CALL_STATISTICS, { MEMORY_SIZE - 64, 128 }, -VKVM_EFAULT },
        { VKVM_CALL_STATISTICS, { MEMORY_SIZE, 128 }, -VKVM_EFAULT },
        { VKVM_CALL_STATISTICS, { UINT64_MAX - 3, 128 }, -VKVM_EFAULT },
        { VKVM_CALL_FAULT_DELIVERY, { VKVM_DELIVER_PF, 0 }, 0 },
        { VKVM_CALL_FAULT_DELIVERY, { VKVM_DELIVER_VE, VE_AREA }, 0 },
        { VKVM_CALL_FAULT_DELIVERY, { VKVM_DELIVER_VE, VE_AREA + 4 }, -VKVM_EINVAL },
        { VKVM_CALL_FAULT_DELIVERY, { VKVM_DELIVER_VE, MEMORY_SIZE - 40 }, 0 },
        { VKVM_CALL_FAULT_DELIVERY, { VKVM_DELIVER_VE, MEMORY_SIZE - 32 }, -VKVM_EFAULT },
        { VKVM_CALL_FAULT_DELIVERY, { VKVM_DELIVER_VE, UINT64_MAX - 7 }, -VKVM_EFAULT },
        { VKVM_CALL_FAULT_DELIVERY, { 2, 0 }, -VKVM_EINVAL },
    };

    expect_calls(v, &config, calls, COUNT(calls));
}

static void
range_calls_check_their_arguments(struct verdict *v)
{
    struct vm_config config = default_config();
    static const struct expected_call calls[] = {
        { VKVM_CALL_SETMAP, { WINDOW, WINDOW_SIZE, ROOT_MAPPED }, 0 },
        { VKVM_CALL_SETMAP, { WINDOW + 1, WINDOW_SIZE, 0 }, -VKVM_EINVAL },
        { VKVM_CALL_SETMAP, { WINDOW, 0, 0 }, -VKVM_EINVAL },
        { VKVM_CALL_SETMAP, { WINDOW, WINDOW_SIZE - PAGE_SIZE, 0 }, -VKVM_EINVAL },
        { VKVM_CALL_SETMAP, { WINDOW + PAGE_SIZE, PAGE_SIZE, 0 }, -VKVM_ENOENT },
        { VKVM_CALL_SETMAP, { 0, MEMORY_SIZE, 0 }, -VKVM_EINVAL },
        { VKVM_CALL_SETMAP, { WINDOW + WINDOW_SIZE, PAGE_SIZE, 0 }, -VKVM_ENOENT },
        { VKVM_CALL_SETMAP, { -PAGE_SIZE, PAGE_SIZE, 0 }, -VKVM_EINVAL },
        { VKVM_CALL_SETMAP, { WINDOW, -PAGE_SIZE, 0 }, -VKVM_EINVAL },
        { VKVM_CALL_INVAL, { WINDOW, WINDOW_SIZE }, 0 },
        { VKVM_CALL_INVAL, { WINDOW + PAGE_SIZE, PAGE_SIZE }, 0 },
        { VKVM_CALL_INVAL, { MEMORY_SIZE / 2, PAGE_SIZE }, 0 },
        { VKVM_CALL_INVAL, { WINDOW, WINDOW_SIZE + PAGE_SIZE }, -VKVM_ENOENT },
        { VKVM_CALL_INVAL, { WINDOW, 100 }, -VKVM_EINVAL },
        { VKVM_CALL_INVAL, { WINDOW, 0 }, -VKVM_EINVAL },
        { VKVM_CALL_INVAL, { UINT64_MAX - PAGE_SIZE + 1, PAGE_SIZE }, -VKVM_EINVAL },
        { VKVM_CALL_ADVISE, { WINDOW, WINDOW_SIZE, VKVM_ADVICE_RANDOM }, 0 },
        { VKVM_CALL_ADVISE, { WINDOW, WINDOW_SIZE, VKVM_ADVICE_SEQUENTIAL }, 0 },
        { VKVM_CALL_ADVISE, { WINDOW, WINDOW_SIZE, VKVM_ADVICE_NORMAL }, 0 },
        { VKVM_CALL_ADVISE, { WINDOW, WINDOW_SIZE, 3 }, -VKVM_EINVAL },
        { VKVM_CALL_ADVISE, { WINDOW, WINDOW_SIZE, UINT64_MAX }, -VKVM_EINVAL },
        { VKVM_CALL_ADVISE, { WINDOW, PAGE_SIZE, VKVM_ADVICE_RANDOM }, 0 },
        { VKVM_CALL_ADVISE, { WINDOW, WINDOW_SIZE + PAGE_SIZE, 0 }, -VKVM_EINVAL },
        { VKVM_CALL_ADVISE, { 0, MEMORY_SIZE, VKVM_ADVICE_RANDOM }, 0 },
        { VKVM_CALL_ADVISE, { 0, MEMORY_SIZE / 2, VKVM_ADVICE_NORMAL }, 0 },
        { VKVM_CALL_ADVISE, { WINDOW + WINDOW_SIZE, PAGE_SIZE, 0 }, -VKVM_ENOENT },
        { VKVM_CALL_PROTECT, { WINDOW, WINDOW_SIZE, VKVM_MAP_READ }, 0 },
        { VKVM_CALL_PROTECT, { WINDOW, WINDOW_SIZE, VKVM_MAP_READ | VKVM_MAP_WRITE }, 0 },
        { VKVM_CALL_PROTECT, { WINDOW, WINDOW_SIZE, 0 }, 0 },
        { VKVM_CALL_PROTECT, { WINDOW, WINDOW_SIZE, VKVM_MAP_WRITE }, -VKVM_EINVAL },
        { VKVM_CALL_PROTECT, { WINDOW, WINDOW_SIZE, VKVM_MAP_VPTE32 }, -VKVM_EINVAL },
        { VKVM_CALL_PROTECT, { WINDOW, WINDOW_SIZE, 0x100 }, -VKVM_EINVAL },
        { VKVM_CALL_PROTECT, { WINDOW, PAGE_SIZE, VKVM_MAP_READ }, -VKVM_EINVAL },
        { VKVM_CALL_PROTECT, { 0, MEMORY_SIZE, VKVM_MAP_READ }, -VKVM_EINVAL },
    };

    config.machine.nwindows = 1;
    config.machine.windows[0] = (struct machine_window){ .start = gpa_from_u64(WINDOW),
                                                         .size = WINDOW_SIZE,
                                                         .format = &vpte64_format,
                                                         .protection = VM_PROT_ALL };
    expect_calls(v, &config, calls, COUNT(calls));
}

static void
vmspace_calls_check_their_arguments(struct verdict *v)
{
    const struct vm_config config = default_config();
    static const struct expected_call calls[] = {
        { VKVM_CALL_VMSPACE_CREATE, { 0 }, -VKVM_EINVAL },
        { VKVM_CALL_VMSPACE_CREATE, { 65536 }, -VKVM_EINVAL },
        { VKVM_CALL_VMSPACE_CREATE, { 1 }, 0 },
        { VKVM_CALL_VMSPACE_CREATE, { 1 }, -VKVM_EEXIST },
        { VKVM_CALL_VMSPACE_CREATE, { 65535 }, 0 },
        { VKVM_CALL_VMSPACE_CREATE, { 257 }, 0 }, /* shares a bucket with 1 */
        { VKVM_CALL_VMSPACE_MAP, { 2, WINDOW, PAGE_SIZE, 0, VKVM_MAP_READ }, -VKVM_ENOENT },
        { VKVM_CALL_VMSPACE_MAP, { 1, WINDOW, PAGE_SIZE, 0, VKVM_MAP_READ }, 0 },
        { VKVM_CALL_VMSPACE_MAP, { 1, WINDOW, PAGE_SIZE, 0, VKVM_MAP_READ }, -VKVM_EEXIST },
        { VKVM_CALL_VMSPACE_MAP, { 257, WINDOW, PAGE_SIZE, 0, VKVM_MAP_READ }, -VKVM_EEXIST },
        { VKVM_CALL_VMSPACE_MAP,
          { 1, WINDOW + PAGE_SIZE, PAGE_SIZE, 0,
            VKVM_MAP_READ | VKVM_MAP_WRITE | VKVM_MAP_EXECUTE | VKVM_MAP_VPTE32 },
          0 },
        { VKVM_CALL_VMSPACE_MAP, { 1, 0, PAGE_SIZE, 0, 1 }, -VKVM_EINVAL },
        { VKVM_CALL_VMSPACE_MAP, { 1, WINDOW - PAGE_SIZE, 2 * PAGE_SIZE, 0, 1 }, -VKVM_EINVAL },
        { VKVM_CALL_VMSPACE_MAP, { 1, VKVM_WINDOW_END, PAGE_SIZE, 0, 1 }, -VKVM_EINVAL },
        { VKVM_CALL_VMSPACE_MAP,
          { 1, VKVM_WINDOW_END - PAGE_SIZE, 2 * PAGE_SIZE, 0, 1 },
          -VKVM_EINVAL },
        { VKVM_CALL_VMSPACE_MAP, { 1, WINDOW, UINT64_MAX - PAGE_SIZE + 1, 0, 1 }, -VKVM_EINVAL },
        { VKVM_CALL_VMSPACE_MAP, { 1, WINDOW + 5, PAGE_SIZE, 0, 1 }, -VKVM_EINVAL },
        { VKVM_CALL_VMSPACE_MAP, { 1, WINDOW + 0x10000, 0, 0, 1 }, -VKVM_EINVAL },
        { VKVM_CALL_VMSPACE_MAP, { 1, WINDOW + 0x10000, PAGE_SIZE, 0, 2 }, -VKVM_EINVAL },
        { VKVM_CALL_VMSPACE_MAP, { 1, WINDOW + 0x10000, PAGE_SIZE, 0, 0x21 }, -VKVM_EINVAL },
        { VKVM_CALL_VMSPACE_UNMAP, { 2, WINDOW, PAGE_SIZE }, -VKVM_ENOENT },
        { VKVM_CALL_VMSPACE_UNMAP, { 257, WINDOW, PAGE_SIZE }, -VKVM_ENOENT },
        { VKVM_CALL_VMSPACE_UNMAP, { 1, WINDOW, 2 * PAGE_SIZE }, -VKVM_ENOENT },
        { VKVM_CALL_VMSPACE_UNMAP, { 1, 0, MEMORY_SIZE }, -VKVM_EINVAL },
        { VKVM_CALL_VMSPACE_UNMAP, { 1, WINDOW, PAGE_SIZE }, 0 },
        { VKVM_CALL_VMSPACE_UNMAP, { 1, WINDOW, PAGE_SIZE }, -VKVM_ENOENT },
        { VKVM_CALL_VMSPACE_MAP, { 257, WINDOW, PAGE_SIZE, 0, VKVM_MAP_READ }, 0 },
        { VKVM_CALL_VMSPACE_DESTROY, { 1 }, 0 },
        { VKVM_CALL_VMSPACE_DESTROY, { 1 }, -VKVM_ENOENT },
        { VKVM_CALL_VMSPACE_DESTROY, { 0 }, -VKVM_ENOENT },
        { VKVM_CALL_VMSPACE_DESTROY, { UINT64_C(1) << 16 | 257 }, -VKVM_ENOENT },
        { VKVM_CALL_INVAL, { WINDOW, PAGE_SIZE }, 0 },
        { VKVM_CALL_INVAL, { WINDOW + PAGE_SIZE, PAGE_SIZE }, -VKVM_ENOENT },
    };

    expect_calls(v, &config, calls, COUNT(calls));
}

static void
errors_of_both_domains_become_those_of_the_abi(struct verdict *v)
{
    CHECK_EQ(v, doorbell_error(VM_OK, -ENOSPC), -VKVM_ENOSPC);
    CHECK_EQ(v, doorbell_error(VM_OK, -ENOMEM), -VKVM_ENOMEM);
    CHECK_EQ(v, doorbell_error(VM_OK, -EBUSY), -VKVM_EBUSY);
    CHECK_EQ(v, doorbell_error(VM_OK, -EACCES), -VKVM_EACCES);
    CHECK_EQ(v, doorbell_error(VM_OK, -EMFILE), -VKVM_EIO);
    CHECK_EQ(v, doorbell_error(VM_HOST_FAILURE, -ENOMEM), -VKVM_EIO);
    CHECK_EQ(v, doorbell_error(VM_IO_ERROR, 0), -VKVM_EIO);
    CHECK_EQ(v, doorbell_error(VM_VPTE_INVALID, 0), -VKVM_EFAULT);
    CHECK_EQ(v, doorbell_error(VM_INVALID_ADDRESS, 0), -VKVM_EFAULT);
}

static void
windows_go_on_where_there_are_no_more_memslots(struct verdict *v)
{
    const struct vm_config config = default_config();
    struct vm *vm = make_vm(&config, guest_caller, guest_caller_end);
    struct doorbell calls[5] = {
        { .number = VKVM_CALL_VMSPACE_CREATE, .argument = { 7 } },
        { .number = VKVM_CALL_VMSPACE_MAP, .argument = { 7, WINDOW, PAGE_SIZE, 0, 1 } },
        { .number = VKVM_CALL_VMSPACE_MAP, .argument = { 7, WINDOW + PAGE_SIZE, PAGE_SIZE, 0, 1 } },
        { .number = VKVM_CALL_VMSPACE_UNMAP, .argument = { 7, WINDOW, PAGE_SIZE } },
        { .number = VKVM_CALL_VMSPACE_MAP, .argument = { 7, WINDOW, PAGE_SIZE, 0, 1 } },
    };
    const uint64_t n = COUNT(calls);
    struct vm_outcome outcome;

    vm->kpmap->slots.limit = 2; /* RAM has one, both windows share the other */
    put(vm, GUEST_CALLS, &n, sizeof(n));
    put(vm, GUEST_CALLS + 8, calls, sizeof(calls));
    outcome = run_vm(vm);
    expect_exit(v, &outcome, 0);
    get(vm, GUEST_CALLS + 8, calls, sizeof(calls));
    CHECK_EQ(v, calls[1].result, 0);
    CHECK_EQ(v, calls[2].result, 0);
    CHECK_EQ(v, calls[3].result, 0);
    CHECK_EQ(v, calls[4].result, 0);
    destroy_vm(vm);
}

/* --- ports and console ------------------------------------------------------------ */

/* Standard input or output replaced by a pipe's end, for one run. */
struct redirection {
    int fd;
    int saved;
};

static struct redirection
redirect(int fd, int to)
{
    struct redirection r = { fd, fcntl(fd, F_DUPFD_CLOEXEC, 10) };

    fflush(stdout);
    if (r.saved < 0 || dup2(to, fd) < 0)
        die("dup", strerror(errno));
    return r;
}

static void
redirect_back(const struct redirection *r)
{
    if (dup2(r->saved, r->fd) < 0)
        die("dup2", strerror(errno));
    close(r->saved);
}

static void
make_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        die("pipe", strerror(errno));
}

static void
the_console_writes_all_bytes_and_reads_what_is_there(struct verdict *v)
{
    const struct vm_config config = default_config();
    struct redirection in, out;
    struct vm_outcome outcome;
    int input[2], output[2];
    char text[64] = "";

    make_pipe(input);
    make_pipe(output);
    if (write(input[1], "hello", 5) != 5)
        die("write", strerror(errno));
    in = redirect(STDIN_FILENO, input[0]);
    out = redirect(STDOUT_FILENO, output[1]);
    outcome = run_guest(&config, guest_console, guest_console_end);
    redirect_back(&in);
    redirect_back(&out);
    close(input[0]);
    close(input[1]);
    close(output[1]);
    expect_exit(v, &outcome, 0);
    if (read(output[0], text, sizeof(text) - 1) < 0)
        die("read", strerror(errno));
    close(output[0]);
    CHECK(v, strcmp(text, "console!hello") == 0, "\"%s\"", text);
}

static void
an_output_nobody_reads_ends_the_vm_and_not_the_process(struct verdict *v)
{
    const struct vm_config config = default_config();
    struct redirection out;
    struct vm_outcome outcome;
    int output[2];

    make_pipe(output);
    close(output[0]);
    out = redirect(STDOUT_FILENO, output[1]);
    outcome = run_guest(&config, guest_chatter, guest_chatter_end);
    redirect_back(&out);
    close(output[1]);
    expect_end(v, &outcome, VM_END_FAILED, "cannot write standard output");
}

static void
a_full_output_does_not_hold_up_the_timeout(struct verdict *v)
{
    struct vm_config config = default_config();
    struct redirection out;
    struct vm_outcome outcome;
    char *fill = calloc(1, 1 << 20);
    int output[2];

    config.timeout_ms = 200;
    make_pipe(output);
    (void)fcntl(output[1], F_SETFL, O_NONBLOCK);
    while (write(output[1], fill, 1 << 20) > 0)
        continue;
    (void)fcntl(output[1], F_SETFL, 0);
    free(fill);
    out = redirect(STDOUT_FILENO, output[1]);
    outcome = run_guest(&config, guest_chatter, guest_chatter_end);
    redirect_back(&out);
    close(output[0]);
    close(output[1]);
    expect_end(v, &outcome, VM_END_TIMEOUT, "200 ms");
}

/* --- ends ---------------------------------------------------------------------------- */

static void
a_timeout_ends_spinning_guests(struct verdict *v)
{
    struct vm_config config = default_config();
    struct vm_outcome outcome;

    config.timeout_ms = 100;
    config.machine.nvcpus = 2;
    outcome = run_guest(&config, guest_spin, guest_spin_end);
    expect_end(v, &outcome, VM_END_TIMEOUT, "100 ms");
}

static void
a_triple_fault_ends_the_vm(struct verdict *v)
{
    const struct vm_config config = default_config();
    struct vm_outcome outcome = run_guest(&config, guest_triple_fault, guest_triple_fault_end);

    expect_end(v, &outcome, VM_END_CRASHED, "triple fault");
    CHECK(v, strstr(outcome.message, "rip 0x") != NULL, "\"%s\"", outcome.message);
}

static void
halting_ends_the_vm_only_when_every_vcpu_does(struct verdict *v)
{
    struct vm_config config = default_config();
    struct vm_outcome outcome;

    outcome = run_guest(&config, guest_halt_one, guest_halt_one_end);
    expect_end(v, &outcome, VM_END_CRASHED, "all vCPUs halted");
    config.machine.nvcpus = 2;
    config.timeout_ms = 100;
    outcome = run_guest(&config, guest_halt_one, guest_halt_one_end);
    expect_end(v, &outcome, VM_END_TIMEOUT, "100 ms");
}

/* What another thread does to a VM that runs. */
struct meddler {
    struct vm *vm;
    int signal;
    pthread_t thread;
};

static void
wait_until_running(struct vm *vm)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    int i;

    while (!atomic_load(&vm->vcpus[0].started))
        nanosleep(&pause, NULL);
    for (i = 0; i < 30; i++)
        nanosleep(&pause, NULL);
}

static void *
send_signal(void *argument)
{
    struct meddler *m = argument;

    wait_until_running(m->vm);
    kill(getpid(), m->signal);
    return NULL;
}

static void *
kill_fault_threads(void *argument)
{
    struct meddler *m = argument;

    wait_until_running(m->vm);
    fault_service_kill_thread(m->vm->shared.service, 0);
    return NULL;
}

static void *
check_often(void *argument)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    struct meddler *m = argument;
    struct vcpu *vcpu = &m->vm->vcpus[0];
    unsigned i;

    wait_until_running(m->vm);
    for (i = 0; i < 3 * VCPU_SAME_CHECKS && !vcpu_vm_is_ending(&m->vm->shared); i++) {
        vcpu_request_check(vcpu, gpa_from_u64(0xabc000));
        while (atomic_load(&vcpu->requests) != 0 && !vcpu_vm_is_ending(&m->vm->shared))
            nanosleep(&pause, NULL);
    }
    vm_end(m->vm, VM_END_GUEST, 77, "checked");
    return NULL;
}

/* Runs the VM and ends it. */
static struct vm_outcome
meddle_with(struct vm *vm, void *(*act)(void *), int signal)
{
    struct meddler m = { .vm = vm, .signal = signal };
    struct vm_outcome outcome;
    sigset_t set, old;

    /* The signal is for vm_run's thread. */
    sigfillset(&set);
    pthread_sigmask(SIG_SETMASK, &set, &old);
    if (pthread_create(&m.thread, NULL, act, &m) != 0)
        die("pthread_create", "failed");
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    outcome = run_vm(m.vm);
    pthread_join(m.thread, NULL);
    destroy_vm(m.vm);
    return outcome;
}

static struct vm_outcome
run_with_meddler(const struct vm_config *config, const uint8_t *code, const uint8_t *end,
                 void *(*act)(void *), int signal)
{
    return meddle_with(make_vm(config, code, end), act, signal);
}

static void
signals_end_the_vm_and_not_the_process(struct verdict *v)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    const struct vm_config config = default_config();
    struct vm_outcome outcome;
    size_t i;

    for (i = 0; i < COUNT(signals); i++) {
        outcome = run_with_meddler(&config, guest_spin, guest_spin_end, send_signal, signals[i]);
        expect_end(v, &outcome, VM_END_INTERRUPTED, "signal");
        CHECK_EQ(v, outcome.status, signals[i]);
    }
}

static void
a_dead_fault_thread_ends_the_vm(struct verdict *v)
{
    struct vm_host_config host = default_host_config();
    struct vm_config config = default_config();
    struct vm_outcome outcome;

    config.fault_threads = 1;
    host.prefault_pages = 0;
    outcome = meddle_with(make_vm_on(make_host(&host), &config, guest_touch, guest_touch_end),
                          kill_fault_threads, 0);
    expect_end(v, &outcome, VM_END_FAILED, "fault thread");
}

static void
a_vcpu_found_at_one_place_by_all_checks_ends_the_vm(struct verdict *v)
{
    const struct vm_config config = default_config();
    struct vm_outcome outcome;

    outcome = run_with_meddler(&config, guest_spin, guest_spin_end, check_often, 0);
    expect_end(v, &outcome, VM_END_FAILED, "0xabc000");
    CHECK(v, strstr(outcome.message, "without progress") != NULL, "\"%s\"", outcome.message);
}

static void
a_vcpu_that_gets_on_passes_its_checks(struct verdict *v)
{
    const struct vm_config config = default_config();
    struct vm_outcome outcome;

    outcome =
        run_with_meddler(&config, guest_spin_counting, guest_spin_counting_end, check_often, 0);
    expect_exit(v, &outcome, 77);
}

static void
the_first_end_wins(struct verdict *v)
{
    const struct vm_config config = default_config();
    struct vm *vm = make_vm(&config, guest_spin, guest_spin_end);
    struct vm_outcome outcome;

    vm_end(vm, VM_END_CRASHED, 0, "first %d", 1);
    vm_end(vm, VM_END_FAILED, 0, "second");
    outcome = run_vm(vm);
    expect_end(v, &outcome, VM_END_CRASHED, "first 1");
    destroy_vm(vm);
}

static void
an_instruction_kvm_cannot_emulate_works_or_ends_the_vm_by_name(struct verdict *v)
{
    const struct vm_config config = default_config();
    struct vm_outcome outcome = run_guest(&config, guest_fxsave, guest_fxsave_end);

    if (outcome.end != VM_END_GUEST)
        expect_end(v, &outcome, VM_END_FAILED, "cannot emulate the instruction 48 0f ae 04");
}

/* --- main ---------------------------------------------------------------------- */

static const struct test tests[] = {
    TEST(what_cannot_be_a_vm_is_refused_with_a_reason),
    TEST(every_vcpu_starts_as_the_abi_says),
    TEST(the_boot_page_tables_map_low_memory_and_the_windows),
    TEST(general_calls_check_their_arguments),
    TEST(range_calls_check_their_arguments),
    TEST(vmspace_calls_check_their_arguments),
    TEST(errors_of_both_domains_become_those_of_the_abi),
    TEST(windows_go_on_where_there_are_no_more_memslots),
    TEST(the_console_writes_all_bytes_and_reads_what_is_there),
    TEST(an_output_nobody_reads_ends_the_vm_and_not_the_process),
    TEST(a_full_output_does_not_hold_up_the_timeout),
    TEST(a_timeout_ends_spinning_guests),
    TEST(a_triple_fault_ends_the_vm),
    TEST(halting_ends_the_vm_only_when_every_vcpu_does),
    TEST(signals_end_the_vm_and_not_the_process),
    TEST(a_dead_fault_thread_ends_the_vm),
    TEST(a_vcpu_found_at_one_place_by_all_checks_ends_the_vm),
    TEST(a_vcpu_that_gets_on_passes_its_checks),
    TEST(the_first_end_wins),
    TEST(an_instruction_kvm_cannot_emulate_works_or_ends_the_vm_by_name),
};

int
main(int argc, char **argv)
{
    return run_tests("host_vm", tests, COUNT(tests), argc > 1 ? argv[1] : NULL);
}
