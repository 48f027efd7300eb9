/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PC's parts.
 *
 * Input: the loop reads standard input while the serial port has room.  When it has none the
 * descriptor's source goes, and comes back once the guest has read some; so a level-triggered
 * descriptor that nobody can read from keeps nobody busy.  All of that happens in the loop's thread.
 * Output: the vCPU's thread collects it and writes lines; a line without an end yet is the loop's to
 * write after a moment.
 */
#include "vmm/vm/pc.h"

#include "vmm/base/limits.h"
#include "vmm/device/acpi_pm.h"
#include "vmm/device/cmos.h"
#include "vmm/device/debug_exit.h"
#include "vmm/device/fw_cfg.h"
#include "vmm/device/reset.h"
#include "vmm/device/serial.h"
#include "vmm/device/test_device.h"
#include "vmm/kvm/irqchip.h"
#include "vmm/vm/guest_memory.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/x86_64/acpi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pc {
    struct vm *vm;               /* (c) borrowed */
    struct irqchip chip;         /* (c) */
    bool exact_faults;           /* (c) */
    struct event_loop *loop;     /* (c) once it runs; borrowed */
    struct event_source *input;  /* the loop's thread's; NULL = not waited for */
    struct event_source *refill; /* (c) once the loop runs: there is room for input */
    struct event_source *line; /* (c) likewise: output has waited long enough for its line's end */
    bool input_always_ready;   /* the loop's thread's: no source can wait for it */
    struct serial serial;      /* its own lock; the others have their bus range's */
    struct cmos cmos;
    struct keyboard keyboard;
    struct pci_ports pci;
    struct acpi_pm pm;
    struct debug_exit debug_exit;
    struct fw_cfg fw_cfg;
    struct test_device test;
};

/* --- what devices ask for --------------------------------------------------- */

static void
on_power(void *context, enum power_request request, unsigned status, const char *by)
{
    struct pc *pc = context;

    switch (request) {
    case POWER_OFF:
        vm_end(pc->vm, VM_END_GUEST, 0, "switched off by %s", by);
        break;
    case POWER_EXIT:
        vm_end(pc->vm, VM_END_GUEST, (int)status, "ended by %s", by);
        break;
    case POWER_RESET:
        vm_end(pc->vm, VM_END_RESET, 0, "the guest reset itself by %s", by);
        break;
    case POWER_SLEEP:
        vm_end(pc->vm, VM_END_CRASHED, 0,
               "the guest went to sleep by %s: the machine has no sleep state of type %u", by,
               status);
        break;
    }
}

/* What is no RAM has no mapping to drop. */
static void
on_drop(void *context, uint64_t address)
{
    struct pc *pc = context;
    gpa_t start = gpa_trunc_page(gpa_from_u64(address));

    (void)!vm_map_inval(&pc->vm->map, start, gpa_add(start, PAGE_SIZE));
}

static void
on_test_line(void *context, unsigned line, bool level)
{
    struct pc *pc = context;

    irqchip_set_line(&pc->chip, line, level);
}

/* --- the serial port --------------------------------------------------------- */

static void
on_output(void *context, const void *bytes, size_t size)
{
    struct pc *pc = context;

    vm_console_collect(pc->vm, bytes, size);
}

/* A line that has no end yet: any thread; the loop's. */
static void
on_line_begun(void *context, uint64_t ns)
{
    struct pc *pc = context;

    event_timer_set(pc->line, ns, 0);
}

static void
on_line_due(void *context)
{
    struct pc *pc = context;

    vm_console_flush(pc->vm, 0);
}

/* A vCPU's thread: the loop goes on. */
static void
on_room(void *context)
{
    struct pc *pc = context;

    if (pc->refill != NULL)
        event_wake(pc->refill);
}

static void
stop_waiting(struct pc *pc)
{
    event_source_remove(pc->input);
    pc->input = NULL;
}

/* Move input to the guest.  Returns whether more may come, and there is room for it. */
static bool
move_input(struct pc *pc)
{
    uint8_t bytes[SERIAL_FIFO];
    ssize_t n;
    size_t room;

    do {
        room = serial_room(&pc->serial);
        n = room == 0 ? 0 : console_take(&pc->vm->console, bytes, room);
        if (n > 0)
            (void)serial_receive(&pc->serial, bytes, (size_t)n);
    } while (n > 0);
    return room != 0 && n != -ENODATA;
}

static void
on_input(void *context, unsigned events)
{
    struct pc *pc = context;

    if (!move_input(pc) || (events & EVENT_FAILED) != 0)
        stop_waiting(pc);
}

/* A regular file is always ready: it is read again when there is room. */
static void
start_waiting(struct pc *pc)
{
    int error;

    if (pc->input != NULL)
        return;
    error = event_loop_add_fd(pc->loop, pc->vm->console.in, EVENT_READ, on_input, pc, &pc->input);
    if (error != 0) {
        pc->input = NULL;
        pc->input_always_ready = true;
    }
}

static void
on_refill(void *context)
{
    struct pc *pc = context;

    if (move_input(pc) && !pc->input_always_ready)
        start_waiting(pc);
}

int
pc_listen(struct pc *pc, struct event_loop *loop)
{
    int error;

    if (machine_find_device(&pc->vm->config.machine, MACHINE_SERIAL) == NULL)
        return 0;
    pc->loop = loop;
    error = event_loop_add_timer(loop, on_line_due, pc, &pc->line);
    if (error == 0)
        error = event_loop_add_wake(loop, on_refill, pc, &pc->refill);
    if (error != 0)
        return error;
    console_set_later(&pc->vm->console, on_line_begun, pc);
    event_wake(pc->refill);
    return 0;
}

/* --- making ------------------------------------------------------------------ */

static void
init_devices(struct pc *pc)
{
    const struct machine *machine = &pc->vm->config.machine;
    const struct machine_device *serial = machine_find_device(machine, MACHINE_SERIAL);
    const struct power power = { .request = on_power, .context = pc };
    const struct serial_config config = {
        .line = { serial != NULL && serial->line != 0 ? irqchip_set_line : NULL, &pc->chip,
                  serial != NULL ? serial->line : 0 },
        .output = on_output,
        .room = on_room,
        .context = pc,
    };
    uint64_t low = machine_low_end(machine);

    serial_init(&pc->serial, &config);
    cmos_init(&pc->cmos, low, machine_memory_size(machine) - low, NULL);
    pc->keyboard.power = power;
    pc->pci.power = power;
    acpi_pm_init(&pc->pm, &power, NULL);
    pc->debug_exit.power = power;
    pc->fw_cfg = (struct fw_cfg){ .memory_size = machine_memory_size(machine),
                                  .nvcpus = (uint16_t)machine->nvcpus };
    pc->test.drop = on_drop;
    pc->test.set_line = on_test_line;
    pc->test.context = pc;
}

/* Before the first vCPU: it has no effect later. */
static int
choose_exact_faults(struct pc *pc, struct failure *failure)
{
    const struct vm_config *config = &pc->vm->config;
    int error;

    if (!config->exact_faults && config->machine.nwindows == 0 && config->trace.path == NULL &&
        config->inject.nrules == 0)
        return 0;
    error = irqchip_keep_halted(&pc->vm->kvm);
    pc->exact_faults = error == 0;
    if (error == 0)
        return 0;
    if (error != -ENOTSUP)
        return failure_set(failure, error, "cannot keep halted vCPUs in the guest: %s",
                           limits_explain(error).text);
    vm_warn_line(
        config->warn, config->warn_context,
        "this KVM cannot keep halted vCPUs in the guest (KVM_CAP_X86_DISABLE_EXITS): faults "
        "may come from the kernel's threads, which do not tell reads from writes",
        0);
    return 0;
}

struct irq_line
pc_line(struct pc *pc, unsigned line)
{
    return (struct irq_line){ irqchip_set_line, &pc->chip, line };
}

bool
pc_has_exact_faults(const struct pc *pc)
{
    return pc->exact_faults;
}

int
pc_create(struct vm *vm, struct pc **pcp, struct failure *failure)
{
    struct pc *pc = calloc(1, sizeof(*pc));
    int error;

    if (pc == NULL)
        return failure_set(failure, -ENOMEM, "cannot make the devices: %s",
                           limits_explain(ENOMEM).text);
    pc->vm = vm;
    error = irqchip_create(&vm->kvm, &pc->chip, failure);
    if (error == 0)
        error = choose_exact_faults(pc, failure);
    if (error != 0) {
        free(pc);
        return error;
    }
    init_devices(pc);
    *pcp = pc;
    return 0;
}

void
pc_destroy(struct pc *pc)
{
    serial_fini(&pc->serial);
    free(pc);
}

/* Which function answers for a kind of device, where, and what it is told. */
static const struct pc_kind {
    bus_access_fn *access;
    size_t offset; /* of the device in struct pc */
    enum machine_device_kind kind;
    unsigned flags;
} pc_kinds[] = {
    { serial_access, offsetof(struct pc, serial), MACHINE_SERIAL, BUS_UNLOCKED },
    { cmos_access, offsetof(struct pc, cmos), MACHINE_CMOS, 0 },
    { keyboard_access, offsetof(struct pc, keyboard), MACHINE_KEYBOARD, 0 },
    { pci_ports_access, offsetof(struct pc, pci), MACHINE_PCI_CONFIG, 0 },
    { acpi_pm_access, offsetof(struct pc, pm), MACHINE_ACPI_PM, 0 },
    { debug_exit_access, offsetof(struct pc, debug_exit), MACHINE_DEBUG_EXIT, 0 },
    { fw_cfg_access, offsetof(struct pc, fw_cfg), MACHINE_FW_CFG, 0 },
    { test_device_ports, offsetof(struct pc, test), MACHINE_TEST_PORTS, 0 },
    { test_device_lines, offsetof(struct pc, test), MACHINE_TEST_LINES, 0 },
    { test_device_memory, offsetof(struct pc, test), MACHINE_TEST_MEMORY, 0 },
};

static int
add_device(struct pc *pc, const struct pc_kind *kind, const struct machine_device *device)
{
    struct bus *bus = &pc->vm->bus;
    void *place = (uint8_t *)pc + kind->offset;
    int error = 0;

    if (device->nports != 0)
        error =
            bus_add(bus, BUS_PORT, device->port, device->nports, kind->flags, kind->access, place);
    if (error == 0 && device->size != 0)
        error = bus_add(bus, BUS_MEMORY, gpa_to_u64(device->start), device->size, kind->flags,
                        kind->access, place);
    return error;
}

int
pc_add_devices(struct pc *pc, struct failure *failure)
{
    const struct machine *machine = &pc->vm->config.machine;
    const struct machine_device *device;
    int error = 0;

    for (size_t i = 0; i < sizeof(pc_kinds) / sizeof(pc_kinds[0]) && error == 0; i++) {
        device = machine_find_device(machine, pc_kinds[i].kind);
        if (device != NULL)
            error = add_device(pc, &pc_kinds[i], device);
    }
    return error == 0 ? 0
                      : failure_set(failure, error, "cannot put the devices on the bus: %s",
                                    strerror(-error));
}

/* --- tables ------------------------------------------------------------------ */

static enum vm_result
write_map(void *context, gpa_t gpa, const void *from, size_t size, struct vm_fault_info *info)
{
    return vm_map_write(context, gpa, from, size, info);
}

/* Those that a driver finds in the tables.  Returns how many. */
static unsigned
list_disks(const struct machine *machine, struct acpi_device disks[MACHINE_MAX_DISKS])
{
    unsigned n = 0;

    for (unsigned i = 0; i < machine->ndevices; i++) {
        const struct machine_device *device = &machine->devices[i];

        if (device->kind == MACHINE_DISK)
            disks[n++] =
                (struct acpi_device){ gpa_to_u64(device->start), device->size, device->line };
    }
    return n;
}

int
pc_write_tables(struct pc *pc, struct failure *failure)
{
    const struct machine *machine = &pc->vm->config.machine;
    const struct machine_device *pm = machine_find_device(machine, MACHINE_ACPI_PM);
    struct acpi_device disks[MACHINE_MAX_DISKS];
    uint8_t tables[ACPI_SIZE];
    const struct guest_memory memory = { .write = write_map, .context = &pc->vm->map };
    struct acpi_config config = { .ncpus = machine->nvcpus, .devices = disks };

    if (pm == NULL)
        return 0;
    config.pm_port = pm->port;
    config.sci_line = pm->line;
    config.ndevices = list_disks(machine, disks);
    return guest_memory_write(&memory, gpa_from_u64(ACPI_RSDP_GPA), tables,
                              acpi_build(&config, tables), "the ACPI tables", failure);
}
