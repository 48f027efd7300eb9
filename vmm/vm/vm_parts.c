/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making and unmaking what a VM consists of, part by part.  A part that cannot be made leaves
 * nothing of itself.
 */
#include "vmm/vm/vm_parts.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/base/limits.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vm/vm_trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Against what this host can do. */
static int
check_machine(struct vm *vm, struct failure *failure)
{
    const struct machine *machine = &vm->config.machine;
    int error = machine_check(machine, arch_physical_bits(&vm->host->kvm), failure);

    if (error == 0 && machine->nvcpus > vm->kvm.max_vcpus)
        error = failure_set(failure, -EINVAL, "%u vCPUs: KVM allows %u here", machine->nvcpus,
                            vm->kvm.max_vcpus);
    return error;
}

static int
make_kvm(struct vm *vm, struct failure *failure)
{
    int error;

    error = kvm_vm_open(&vm->kvm, &vm->host->kvm, failure);
    if (error != 0)
        return error;
    error = check_machine(vm, failure);
    if (error == 0)
        return 0;
    kvm_vm_close(&vm->kvm);
    return error;
}

static int
make_pc(struct vm *vm, struct failure *failure)
{
    return vm->config.machine.kind == MACHINE_PC ? pc_create(vm, &vm->pc, failure) : 0;
}

static void
unmake_pc(struct vm *vm)
{
    if (vm->pc != NULL)
        pc_destroy(vm->pc);
}

static void
on_pmap_fatal(void *context, const char *message)
{
    vm_end(context, VM_END_FAILED, 0, "%s", message);
}

static int
make_kpmap(struct vm *vm, struct failure *failure)
{
    const struct kvm_pmap_config config = {
        .kvm = &vm->kvm, .sys = &vm->host->sys, .fatal = on_pmap_fatal, .context = vm
    };
    int error;

    error = kvm_pmap_create(&config, &vm->kpmap);
    if (error != 0)
        return failure_set(failure, error, "cannot make the address space of the windows: %s",
                           limits_explain(error).text);
    return 0;
}

static int
make_pmap(struct vm *vm, struct failure *failure)
{
    int error;

    error = pmap_init(&vm->pmap, &vm->host->sys, &kvm_pmap_ops, vm->kpmap);
    if (error == -ENOSPC)
        return failure_set(failure, error, "a process has %d VMs at most: start another",
                           VM_MAX_PMAPS);
    if (error != 0)
        return failure_set(failure, error, "cannot make the physical map: %s",
                           limits_explain(error).text);
    return 0;
}

static int
make_ram_object(struct vm *vm, struct failure *failure)
{
    const struct machine *machine = &vm->config.machine;
    int error;

    if (machine->ram_file.path != NULL)
        return file_maps_make_ram(&vm->files, &vm->host->sys, machine, &vm->ram, failure);
    error = vm_object_create_default(&vm->host->sys, machine_ram_pages(machine), &vm->ram);
    if (error != 0)
        return failure_set(failure, error, "cannot make %" PRIu64 " bytes of guest memory: %s",
                           machine_memory_size(machine), limits_explain(error).text);
    return 0;
}

static int
make_ram(struct vm *vm, struct failure *failure)
{
    int error;

    vm_map_init(&vm->map, &vm->host->sys, &vm->pmap);
    vm->map.stop = &vm->shared.ending;
    if (vm->config.inject.nrules != 0)
        vm->map.inject = &vm->config.inject;
    error = make_ram_object(vm, failure);
    if (error != 0)
        vm_map_fini(&vm->map);
    return error;
}

/* Map all of RAM's object somewhere; the map counts a reference of its own. */
static int
map_ram(struct vm *vm, struct vm_map_insert *args)
{
    int error;

    args->object = vm->ram;
    args->max_protection = VM_PROT_ALL;
    vm_object_ref(vm->ram);
    error = vm_map_insert(&vm->map, args);
    if (error != 0)
        vm_object_unref(vm->ram);
    return error;
}

static int
map_window(struct vm *vm, unsigned index, struct failure *failure)
{
    const struct machine_window *window = &vm->config.machine.windows[index];
    struct vm_map_insert args = {
        .start = window->start,
        .end = gpa_add(window->start, window->size),
        .maptype = VM_MAPTYPE_VPAGETABLE,
        .format = window->format,
        .root = window->root,
        .protection = window->protection,
    };
    int error;

    error = map_ram(vm, &args);
    if (error != 0)
        return failure_set(failure, error,
                           "cannot map window %u at guest address 0x%" PRIx64 ": %s", index,
                           gpa_to_u64(window->start), limits_explain(error).text);
    return 0;
}

/* The page index in the RAM object is the guest-physical page number. */
static int
map_ram_range(struct vm *vm, const struct machine_ram *ram, struct failure *failure)
{
    struct vm_map_insert args = {
        .start = ram->start,
        .end = gpa_add(ram->start, ram->size),
        .offset = gpa_to_u64(ram->start) >> PAGE_SHIFT,
        .maptype = VM_MAPTYPE_NORMAL,
        .protection = VM_PROT_ALL,
    };
    int error = map_ram(vm, &args);

    if (error != 0)
        return failure_set(failure, error, "cannot map guest memory at 0x%" PRIx64 ": %s",
                           gpa_to_u64(ram->start), limits_explain(error).text);
    return 0;
}

static int
map_memory(struct vm *vm, struct failure *failure)
{
    const struct machine *machine = &vm->config.machine;
    unsigned i;
    int error = 0;

    for (i = 0; i < machine->nram && error == 0; i++)
        error = map_ram_range(vm, &machine->ram[i], failure);
    for (i = 0; i < machine->nwindows && error == 0; i++)
        error = map_window(vm, i, failure);
    return error;
}

static void
destroy_vcpus(struct vm *vm)
{
    unsigned i;

    for (i = 0; i < vm->config.machine.nvcpus; i++)
        vcpu_destroy(&vm->vcpus[i]);
    free(vm->vcpus);
    vm->vcpus = NULL;
}

/* What the vCPUs have in common. */
static int
choose_cpus(struct vm *vm, struct failure *failure)
{
    vm->shared.cpus =
        (struct arch_cpus){ .n = vm->config.machine.nvcpus,
                            .lapic = vm->pc != NULL,
                            .exact_faults = vm->pc != NULL && pc_has_exact_faults(vm->pc),
                            .features = vm->config.features };
    return vm->config.features.n == 0 ? 0
                                      : arch_cpus_check(&vm->host->kvm, &vm->shared.cpus, failure);
}

static int
make_vcpus(struct vm *vm, struct failure *failure)
{
    unsigned i;
    int error = choose_cpus(vm, failure);

    if (error != 0)
        return error;
    vm->vcpus = calloc(vm->config.machine.nvcpus, sizeof(*vm->vcpus));
    if (vm->vcpus == NULL)
        return failure_set(failure, -ENOMEM, "cannot make %u vCPUs: %s", vm->config.machine.nvcpus,
                           limits_explain(ENOMEM).text);
    vm->shared.kvm = &vm->kvm;
    for (i = 0; i < vm->config.machine.nvcpus; i++)
        vm->vcpus[i].fd = -1;
    for (i = 0; i < vm->config.machine.nvcpus && error == 0; i++)
        error = vcpu_create(&vm->shared, i, &vm->vcpus[i], failure);
    if (error != 0)
        destroy_vcpus(vm);
    return error;
}

/* Whoever waits for the vCPUs in an event loop looks at the descriptor. */
static void
tell_rested(void *context)
{
    const struct vm *vm = context;
    const uint64_t one = 1;

    if (write(vm->rested_fd, &one, sizeof(one)) < 0)
        assert(errno == EAGAIN);
}

static int
make_eventfds(struct vm *vm, struct failure *failure)
{
    int error = 0;

    vm->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    vm->rested_fd = vm->ended_fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (vm->rested_fd < 0)
        error =
            failure_set(failure, -errno, "cannot make an eventfd: %s", limits_explain(errno).text);
    if (error != 0 && vm->ended_fd >= 0)
        close(vm->ended_fd);
    return error;
}

static int
make_rest(struct vm *vm, struct failure *failure)
{
    int error = make_eventfds(vm, failure);

    if (error != 0)
        return error;
    console_init(&vm->console, STDIN_FILENO, STDOUT_FILENO);
    vm_mutex_init(&vm->end_lock);
    vcpu_gate_init(&vm->shared.gate, tell_rested, vm);
    return 0;
}

static void
unmake_rest(struct vm *vm)
{
    vcpu_gate_fini(&vm->shared.gate);
    vm_mutex_fini(&vm->end_lock);
    console_fini(&vm->console);
    close(vm->rested_fd);
    close(vm->ended_fd);
}

static void
unmake_ram(struct vm *vm)
{
    vm_map_fini(&vm->map);
    file_maps_fini(&vm->files);
    vm_object_unref(vm->ram);
}

static int
make_memory(struct vm *vm, struct failure *failure)
{
    int error;

    error = make_ram(vm, failure);
    if (error != 0)
        return error;
    error = map_memory(vm, failure);
    if (error != 0)
        unmake_ram(vm);
    return error;
}

static int
make_files(struct vm *vm, struct failure *failure)
{
    int error;

    error = file_maps_init(&vm->files, &vm->map, vm->config.machine.files,
                           vm->config.machine.nfiles, failure);
    if (error != 0)
        file_maps_fini(&vm->files);
    return error;
}

static void
unmake_files(struct vm *vm)
{
    file_maps_fini(&vm->files);
}

/*
 * The byte port.  The console takes care of itself: output may have to wait for whoever reads it,
 * and no other vCPU is to wait with it.
 */
static int
console_access(void *device, const struct bus_access *access)
{
    struct vm *vm = device;
    uint8_t *bytes = access->data;

    if (access->write) {
        vm_console_write(vm, bytes, access->count);
        return 0;
    }
    for (unsigned i = 0; i < access->count; i++)
        bytes[i] = console_read(&vm->console);
    return 0;
}

static int
make_bus(struct vm *vm, struct failure *failure)
{
    const struct machine_device *device = machine_find_device(&vm->config.machine, MACHINE_CONSOLE);
    int error = 0;

    bus_init(&vm->bus, vm->config.machine.absent);
    if (device != NULL)
        error = bus_add(&vm->bus, BUS_PORT, device->port, device->nports, BUS_UNLOCKED,
                        console_access, vm);
    if (error != 0)
        error = failure_set(failure, error, "cannot make the bus: %s", strerror(-error));
    else if (vm->pc != NULL)
        error = pc_add_devices(vm->pc, failure);
    if (error != 0)
        bus_fini(&vm->bus);
    return error;
}

static void
unmake_bus(struct vm *vm)
{
    bus_fini(&vm->bus);
}

static int
make_disks(struct vm *vm, struct failure *failure)
{
    return vm->config.machine.ndisks == 0 ? 0 : vm_disks_create(vm, &vm->disks, failure);
}

static void
unmake_disks(struct vm *vm)
{
    if (vm->disks != NULL)
        vm_disks_destroy(vm->disks);
}

static int
make_guest(struct vm *vm, struct failure *failure)
{
    return vm->config.guest == NULL ? 0 : vm->config.guest->attach(vm, &vm->guest, failure);
}

static void
unmake_guest(struct vm *vm)
{
    if (vm->config.guest != NULL)
        vm->config.guest->detach(vm->guest);
}

static void
unmake_kpmap(struct vm *vm)
{
    kvm_pmap_destroy(vm->kpmap);
}

static void
unmake_pmap(struct vm *vm)
{
    pmap_fini(&vm->pmap);
}

static void
unmake_kvm(struct vm *vm)
{
    kvm_vm_close(&vm->kvm);
}

/* The parts of a VM in the order they are made; they go in the reverse order. */
static const struct vm_part {
    int (*make)(struct vm *vm, struct failure *failure);
    void (*unmake)(struct vm *vm);
} vm_parts[] = {
    { make_rest, unmake_rest },   { make_kvm, unmake_kvm },      { make_pc, unmake_pc },
    { make_kpmap, unmake_kpmap }, { make_pmap, unmake_pmap },    { make_memory, unmake_ram },
    { make_files, unmake_files }, { make_vcpus, destroy_vcpus }, { make_bus, unmake_bus },
    { make_disks, unmake_disks }, { make_guest, unmake_guest },  { vm_trace_make, vm_trace_unmake },
};
#define PARTS (sizeof(vm_parts) / sizeof(vm_parts[0]))

static void
unmake_first(struct vm *vm, size_t nparts)
{
    while (nparts-- != 0)
        vm_parts[nparts].unmake(vm);
}

int
vm_parts_make(struct vm *vm, struct failure *failure)
{
    size_t i;
    int error;

    for (i = 0; i < PARTS; i++) {
        error = vm_parts[i].make(vm, failure);
        if (error != 0) {
            unmake_first(vm, i);
            return error;
        }
    }
    return 0;
}

void
vm_parts_unmake(struct vm *vm)
{
    unmake_first(vm, PARTS);
}
