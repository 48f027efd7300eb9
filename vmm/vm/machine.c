/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making, checking and asking a machine description.
 */
#include "vmm/vm/machine.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/device/virtio_mmio.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Letter i is protection bit i. */
static const char PROTECTION_LETTERS[] = "rwx";

/* A range of guest-physical addresses, to be compared with all others. */
struct place {
    const char *what;
    unsigned index;
    uint64_t start;
    uint64_t size;
};

#define PLACES_MAX (MACHINE_MAX_RAM + MACHINE_MAX_WINDOWS + MACHINE_MAX_FILES + MACHINE_MAX_DEVICES)

static const struct machine_device vkernel_devices[] = {
    { .kind = MACHINE_DOORBELL, .port = VKVM_PORT_DOORBELL, .nports = 4 },
    { .kind = MACHINE_CONSOLE, .port = VKVM_PORT_CONSOLE, .nports = 1 },
};

static const struct machine_device pc_devices[] = {
    { .kind = MACHINE_SERIAL, .port = 0x3F8, .nports = 8, .line = 4 },
    { .kind = MACHINE_CMOS, .port = 0x70, .nports = 2 },
    { .kind = MACHINE_KEYBOARD, .port = 0x60, .nports = 5 },
    { .kind = MACHINE_PCI_CONFIG, .port = 0xCF8, .nports = 8 },
    { .kind = MACHINE_ACPI_PM, .port = 0x600, .nports = 12, .line = 9 },
    { .kind = MACHINE_DEBUG_EXIT, .port = 0xF4, .nports = 4 },
    { .kind = MACHINE_FW_CFG, .port = 0x510, .nports = 2 },
    { .kind = MACHINE_TEST_PORTS, .port = 0xE0, .nports = 8 },
    { .kind = MACHINE_TEST_LINES, .port = 0x2000, .nports = 24 },
    { .kind = MACHINE_TEST_MEMORY, .start = { 0xFF000000 }, .size = 0x10000 },
};

const struct machine_device *
machine_standard_device(enum machine_kind kind, enum machine_device_kind device)
{
    static const struct machine_device disk = { .kind = MACHINE_DISK, .size = VIRTIO_MMIO_SIZE };
    static const struct machine_device balloon = { .kind = MACHINE_BALLOON,
                                                   .line = MACHINE_PC_BALLOON_LINE,
                                                   .start = { MACHINE_PC_BALLOON },
                                                   .size = VIRTIO_MMIO_SIZE };
    const struct machine_device *devices = kind == MACHINE_PC ? pc_devices : vkernel_devices;
    size_t n = kind == MACHINE_PC ? COUNT(pc_devices) : COUNT(vkernel_devices);

    if (kind == MACHINE_PC && device == MACHINE_DISK)
        return &disk;
    if (kind == MACHINE_PC && device == MACHINE_BALLOON)
        return &balloon;
    for (size_t i = 0; i < n; i++) {
        if (devices[i].kind == device)
            return &devices[i];
    }
    return NULL;
}

void
machine_init(struct machine *machine)
{
    *machine = (struct machine){ .nvcpus = 1, .ndevices = COUNT(vkernel_devices) };
    memcpy(machine->devices, vkernel_devices, sizeof(vkernel_devices));
}

uint64_t
machine_memory_size(const struct machine *machine)
{
    uint64_t size = 0;

    for (unsigned i = 0; i < machine->nram; i++)
        size += machine->ram[i].size;
    return size;
}

/* As much of *left as fits into [start, end), if anything. */
static void
add_ram(struct machine *machine, uint64_t start, uint64_t end, uint64_t *left)
{
    uint64_t size = *left < end - start ? *left : end - start;

    if (size == 0)
        return;
    machine->ram[machine->nram++] = (struct machine_ram){ gpa_from_u64(start), size };
    *left -= size;
}

void
machine_set_memory(struct machine *machine, uint64_t size)
{
    uint64_t left = size;

    machine->nram = 0;
    if (machine->kind == MACHINE_PC) {
        add_ram(machine, 0, MACHINE_PC_HOLE_START, &left);
        add_ram(machine, MACHINE_PC_HOLE_END, VKVM_WINDOW_BASE, &left);
    } else {
        add_ram(machine, 0, VKVM_WINDOW_BASE, &left);
    }
    add_ram(machine, VKVM_RAM_HIGH_BASE, UINT64_MAX, &left);
}

static bool
is_taken(const struct machine *machine, uint64_t start, unsigned line)
{
    for (unsigned i = 0; i < machine->ndevices; i++) {
        const struct machine_device *device = &machine->devices[i];

        if (device->line == line || (device->size != 0 && gpa_to_u64(device->start) == start))
            return true;
    }
    return false;
}

void
machine_show_disk(struct machine *machine, unsigned i)
{
    uint64_t start = MACHINE_PC_DISKS;
    unsigned line = MACHINE_PC_DISK_LINE;

    for (unsigned n = 1; n < MACHINE_MAX_DISKS && is_taken(machine, start, line); n++) {
        start += VIRTIO_MMIO_SIZE;
        line++;
    }
    machine->devices[machine->ndevices++] = (struct machine_device){
        .kind = MACHINE_DISK,
        .line = line,
        .start = gpa_from_u64(start),
        .size = VIRTIO_MMIO_SIZE,
        .disk = i,
    };
}

void
machine_set_balloon(struct machine *machine, bool on)
{
    unsigned i = 0;

    while (i < machine->ndevices && machine->devices[i].kind != MACHINE_BALLOON)
        i++;
    if (on && i == machine->ndevices) {
        machine->devices[machine->ndevices++] =
            *machine_standard_device(MACHINE_PC, MACHINE_BALLOON);
    } else if (!on && i < machine->ndevices) {
        machine->ndevices--;
        memmove(machine->devices + i, machine->devices + i + 1,
                (machine->ndevices - i) * sizeof(machine->devices[0]));
    }
}

void
machine_make_pc(struct machine *machine)
{
    uint64_t size = machine_memory_size(machine);

    _Static_assert(COUNT(pc_devices) + MACHINE_MAX_DISKS + 1 <= MACHINE_MAX_DEVICES,
                   "room for all");
    _Static_assert(MACHINE_PC_DISK_LINE + MACHINE_MAX_DISKS <= MACHINE_LINES, "a line for each");
    machine->kind = MACHINE_PC;
    machine->absent = BUS_ABSENT_ONES;
    machine->ndevices = COUNT(pc_devices);
    memcpy(machine->devices, pc_devices, sizeof(pc_devices));
    for (unsigned i = 0; i < machine->ndisks; i++)
        machine_show_disk(machine, i);
    machine_set_memory(machine, size);
}

static uint64_t
ram_end(const struct machine_ram *ram)
{
    return gpa_to_u64(ram->start) + ram->size;
}

uint64_t
machine_ram_pages(const struct machine *machine)
{
    return machine->nram == 0 ? 0 : ram_end(&machine->ram[machine->nram - 1]) >> PAGE_SHIFT;
}

uint64_t
machine_low_end(const struct machine *machine)
{
    return machine->nram == 0 || gpa_to_u64(machine->ram[0].start) != 0 ? 0 : machine->ram[0].size;
}

const struct machine_ram *
machine_find_ram(const struct machine *machine, uint64_t gpa, uint64_t size)
{
    for (unsigned i = 0; i < machine->nram; i++) {
        const struct machine_ram *ram = &machine->ram[i];

        if (gpa >= gpa_to_u64(ram->start) && size <= ram->size &&
            gpa - gpa_to_u64(ram->start) <= ram->size - size)
            return ram;
    }
    return NULL;
}

const struct machine_device *
machine_find_device(const struct machine *machine, enum machine_device_kind kind)
{
    for (unsigned i = 0; i < machine->ndevices; i++) {
        if (machine->devices[i].kind == kind)
            return &machine->devices[i];
    }
    return NULL;
}

void
machine_protection_text(vm_prot_t protection, char text[4])
{
    unsigned n = 0;

    for (unsigned i = 0; i < 3; i++) {
        if ((protection & 1u << i) != 0)
            text[n++] = PROTECTION_LETTERS[i];
    }
    text[n] = '\0';
}

int
machine_protection_find(const char *text, vm_prot_t *protection)
{
    vm_prot_t found = VM_PROT_NONE;

    for (const char *p = text; *p != '\0'; p++) {
        const char *letter = strchr(PROTECTION_LETTERS, *p);

        if (letter == NULL)
            return -EINVAL;
        found |= (vm_prot_t)(1u << (letter - PROTECTION_LETTERS));
    }
    if (found == VM_PROT_NONE)
        return -EINVAL;
    *protection = found;
    return 0;
}

/* --- checking ------------------------------------------------------------- */

static int
check_count(const char *what, unsigned count, unsigned max, struct failure *failure)
{
    if (count <= max)
        return 0;
    return failure_set(failure, -EINVAL, "%u %s: the most is %u", count, what, max);
}

static int
check_counts(const struct machine *machine, struct failure *failure)
{
    int error = check_count("vCPUs", machine->nvcpus, MACHINE_MAX_VCPUS, failure);

    if (error == 0 && machine->nvcpus == 0)
        error = failure_set(failure, -EINVAL, "0 vCPUs: give 1 to %d", MACHINE_MAX_VCPUS);
    if (error == 0 && machine->nram == 0)
        error = failure_set(failure, -EINVAL, "no memory: give some from address 0");
    if (error == 0)
        error = check_count("ranges of memory", machine->nram, MACHINE_MAX_RAM, failure);
    if (error == 0)
        error = check_count("windows", machine->nwindows, MACHINE_MAX_WINDOWS, failure);
    if (error == 0)
        error = check_count("files", machine->nfiles, MACHINE_MAX_FILES, failure);
    if (error == 0)
        error = check_count("devices", machine->ndevices, MACHINE_MAX_DEVICES, failure);
    if (error == 0)
        error = check_count("disks", machine->ndisks, MACHINE_MAX_DISKS, failure);
    return error;
}

/* Whole pages that the processor can address. */
static int
check_pages(const struct place *place, unsigned physical_bits, struct failure *failure)
{
    uint64_t end = (uint64_t)1 << physical_bits;

    if (place->size == 0 || ((place->start | place->size) & PAGE_MASK) != 0)
        return failure_set(failure, -EINVAL, "%s %u: start and size must be whole pages",
                           place->what, place->index);
    if (place->start >= end || place->size > end - place->start)
        return failure_set(failure, -EINVAL,
                           "%s %u: 0x%" PRIx64 " bytes at 0x%" PRIx64
                           " end beyond the processor's physical addresses, which have %u bits: "
                           "give less",
                           place->what, place->index, place->size, place->start, physical_bits);
    return 0;
}

static int
check_apart(const struct place *a, const struct place *b, struct failure *failure)
{
    if (a->start < b->start ? b->start - a->start >= a->size : a->start - b->start >= b->size)
        return 0;
    return failure_set(failure, -EINVAL, "%s %u and %s %u overlap at 0x%" PRIx64 ": move one",
                       a->what, a->index, b->what, b->index,
                       a->start > b->start ? a->start : b->start);
}

/* Where only windows and files may lie, and they nowhere else.  A device's memory lies outside. */
static int
check_region(const struct place *place, bool is_ram, struct failure *failure)
{
    bool inside = place->start >= VKVM_WINDOW_BASE && place->start < VKVM_WINDOW_END &&
                  place->size <= VKVM_WINDOW_END - place->start;

    if (is_ram
            ? place->start >= VKVM_RAM_HIGH_BASE || (place->start < VKVM_WINDOW_BASE &&
                                                     place->size <= VKVM_WINDOW_BASE - place->start)
            : inside)
        return 0;
    return failure_set(failure, -EINVAL,
                       is_ram ? "%s %u: it must end below 0x%" PRIx64 " or start at 0x%" PRIx64
                                " or above"
                              : "%s %u: it must lie in guest addresses 0x%" PRIx64 " to 0x%" PRIx64,
                       place->what, place->index, VKVM_WINDOW_BASE,
                       is_ram ? VKVM_RAM_HIGH_BASE : VKVM_WINDOW_END);
}

static unsigned
collect_places(const struct machine *machine, struct place places[PLACES_MAX])
{
    unsigned n = 0;

    for (unsigned i = 0; i < machine->nram; i++)
        places[n++] =
            (struct place){ "memory", i, gpa_to_u64(machine->ram[i].start), machine->ram[i].size };
    for (unsigned i = 0; i < machine->nwindows; i++)
        places[n++] = (struct place){ "window", i, gpa_to_u64(machine->windows[i].start),
                                      machine->windows[i].size };
    for (unsigned i = 0; i < machine->nfiles; i++)
        places[n++] = (struct place){ "file", i, gpa_to_u64(machine->files[i].start),
                                      machine->files[i].size };
    for (unsigned i = 0; i < machine->ndevices; i++) {
        const struct machine_device *device = &machine->devices[i];

        if (device->size != 0)
            places[n++] = (struct place){ "device", i, gpa_to_u64(device->start), device->size };
    }
    return n;
}

/* KVM and the devices have a PC's addresses below 4 GiB that are no RAM. */
static int
check_hole(const struct place *place, struct failure *failure)
{
    if (place->start >= MACHINE_PC_HOLE_END || place->start + place->size <= MACHINE_PC_HOLE_START)
        return 0;
    return failure_set(failure, -EINVAL,
                       "%s %u reaches into a PC's hole, 0x%" PRIx64 " to 0x%" PRIx64 ": move it",
                       place->what, place->index, MACHINE_PC_HOLE_START, MACHINE_PC_HOLE_END);
}

static int
check_places(const struct machine *machine, unsigned physical_bits, struct failure *failure)
{
    struct place places[PLACES_MAX];
    unsigned n = collect_places(machine, places);
    unsigned nmapped = machine->nram + machine->nwindows + machine->nfiles;
    int error = 0;

    for (unsigned i = 0; i < n && error == 0; i++) {
        error = check_pages(&places[i], physical_bits, failure);
        if (error == 0)
            error = check_region(&places[i], i < machine->nram || i >= nmapped, failure);
        if (error == 0 && machine->kind == MACHINE_PC && i < machine->nram)
            error = check_hole(&places[i], failure);
        for (unsigned j = 0; j < i && error == 0; j++)
            error = check_apart(&places[j], &places[i], failure);
    }
    for (unsigned i = 1; i < machine->nram && error == 0; i++) {
        if (places[i].start < places[i - 1].start)
            error = failure_set(failure, -EINVAL, "memory %u starts below memory %u: sort them", i,
                                i - 1);
    }
    return error;
}

static bool
share_ports(const struct machine_device *a, const struct machine_device *b)
{
    return a->port < b->port + b->nports && b->port < a->port + a->nports;
}

static int
check_devices(const struct machine *machine, struct failure *failure)
{
    for (unsigned i = 0; i < machine->ndevices; i++) {
        const struct machine_device *device = &machine->devices[i];

        if (device->nports > 0x10000 - device->port || (device->nports == 0 && device->size == 0))
            return failure_set(failure, -EINVAL, "device %u: %u ports from 0x%x cannot be", i,
                               device->nports, device->port);
        for (unsigned j = 0; j < i; j++) {
            if (share_ports(device, &machine->devices[j]))
                return failure_set(failure, -EINVAL, "devices %u and %u share ports: move one", j,
                                   i);
        }
        for (unsigned j = 0; j < i; j++) {
            if (device->line != 0 && device->line == machine->devices[j].line)
                return failure_set(failure, -EINVAL,
                                   "devices %u and %u share line %u: give each its own", j, i,
                                   device->line);
        }
        if (device->line >= MACHINE_LINES)
            return failure_set(failure, -EINVAL, "device %u: line %u: the last is %u", i,
                               device->line, MACHINE_LINES - 1);
    }
    return 0;
}

/* A driver finds the device in the ACPI tables, which have 32 bits for its address (aml.h). */
static int
check_virtio(const struct machine *machine, unsigned index, const char *name,
             struct failure *failure)
{
    const struct machine_device *device = &machine->devices[index];

    if (machine->kind != MACHINE_PC)
        return failure_set(failure, -EINVAL, "device %u is a %s: only a PC has that", index, name);
    if (device->size != VIRTIO_MMIO_SIZE || gpa_to_u64(device->start) >= MACHINE_PC_HOLE_END)
        return failure_set(failure, -EINVAL, "device %u: a %s has 0x%x bytes of registers below 4G",
                           index, name, VIRTIO_MMIO_SIZE);
    if (device->line == 0)
        return failure_set(failure, -EINVAL, "device %u: a %s needs an interrupt line", index,
                           name);
    return 0;
}

static int
check_balloons(const struct machine *machine, struct failure *failure)
{
    unsigned n = 0;
    int error = 0;

    for (unsigned i = 0; i < machine->ndevices && error == 0; i++) {
        if (machine->devices[i].kind != MACHINE_BALLOON)
            continue;
        error = check_virtio(machine, i, "balloon", failure);
        if (error == 0 && ++n > 1)
            error =
                failure_set(failure, -EINVAL, "device %u is a second balloon: leave one out", i);
    }
    return error;
}

static int
check_disk_device(const struct machine *machine, unsigned index, struct failure *failure)
{
    const struct machine_device *device = &machine->devices[index];

    if (device->disk >= machine->ndisks)
        return failure_set(failure, -EINVAL, "device %u shows disk %u of %u", index, device->disk,
                           machine->ndisks);
    return check_virtio(machine, index, "disk", failure);
}

static int
check_disks(const struct machine *machine, struct failure *failure)
{
    unsigned shown[MACHINE_MAX_DISKS] = { 0 };
    int error = 0;

    for (unsigned i = 0; i < machine->ndevices && error == 0; i++) {
        if (machine->devices[i].kind != MACHINE_DISK)
            continue;
        error = check_disk_device(machine, i, failure);
        if (error == 0)
            shown[machine->devices[i].disk]++;
    }
    for (unsigned i = 0; i < machine->ndisks && error == 0; i++) {
        if (shown[i] != 1)
            error =
                failure_set(failure, -EINVAL, "disk %u: %u devices show it, not one", i, shown[i]);
    }
    return error;
}

int
machine_check_window(const struct machine_window *window, const char *name, struct failure *failure)
{
    if (window->format == NULL)
        return failure_set(failure, -EINVAL, "%s: no table format: give one", name);
    if (window->size > VKVM_WINDOW_END - gpa_to_u64(window->start))
        return failure_set(failure, -EINVAL, "%s ends above 0x%" PRIx64 ": make it smaller", name,
                           VKVM_WINDOW_END);
    if (window->size > (uint64_t)1 << window->format->frame_end)
        return failure_set(failure, -EINVAL, "%s is larger than %s can map: make it smaller", name,
                           window->format->name);
    if ((window->root & ~(vpte_t)UINT32_MAX) != 0 && window->format->entry_size == 4)
        return failure_set(failure, -EINVAL, "%s: root has more than 32 bits: give a smaller one",
                           name);
    return 0;
}

static int
check_windows(const struct machine *machine, struct failure *failure)
{
    char name[24];
    int error = 0;

    for (unsigned i = 0; i < machine->nwindows && error == 0; i++) {
        snprintf(name, sizeof(name), "window %u", i);
        error = machine_check_window(&machine->windows[i], name, failure);
    }
    return error;
}

static int
check_file_offsets(const struct machine *machine, struct failure *failure)
{
    const struct machine_file *file = &machine->ram_file;
    uint64_t size = machine_ram_pages(machine) << PAGE_SHIFT;

    if ((file->offset & PAGE_MASK) != 0 || file->offset > INT64_MAX - size)
        return failure_set(failure, -EINVAL,
                           "memory: the offset into its file must be whole pages: give another");
    for (unsigned i = 0; i < machine->nfiles; i++) {
        file = &machine->files[i];
        if ((file->offset & PAGE_MASK) != 0 || file->offset > INT64_MAX - file->size)
            return failure_set(failure, -EINVAL,
                               "file %u: the offset into it must be whole pages: give another", i);
    }
    return 0;
}

int
machine_check(const struct machine *machine, unsigned physical_bits, struct failure *failure)
{
    int error = check_counts(machine, failure);

    if (error == 0)
        error = check_places(machine, physical_bits, failure);
    if (error == 0)
        error = check_windows(machine, failure);
    if (error == 0)
        error = check_file_offsets(machine, failure);
    if (error == 0)
        error = check_devices(machine, failure);
    if (error == 0)
        error = check_disks(machine, failure);
    if (error == 0)
        error = check_balloons(machine, failure);
    return error;
}
