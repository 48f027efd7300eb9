/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine description: memory's ranges, and what cannot be a machine. */
#include "vmm/vm/machine.h"

#include "guest/include/vkvm_abi.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#define GIB ((uint64_t)1 << 30)

static struct machine
sound_machine(void)
{
    struct machine machine;

    machine_init(&machine);
    machine_set_memory(&machine, GIB);
    machine.nwindows = 1;
    machine.windows[0] = (struct machine_window){ .start = gpa_from_u64(VKVM_WINDOW_BASE),
                                                  .size = GIB,
                                                  .format = &vpte64_format };
    machine.nfiles = 1;
    machine.files[0] =
        (struct machine_file){ .start = gpa_from_u64(VKVM_WINDOW_BASE + GIB), .size = PAGE_SIZE };
    return machine;
}

Test(machine, memory_that_does_not_fit_below_the_windows_goes_on_above_them)
{
    struct machine machine;
    struct failure failure;

    machine_init(&machine);
    machine_set_memory(&machine, VKVM_WINDOW_BASE);
    cr_expect(eq(uint, machine.nram, 1));
    machine_set_memory(&machine, MACHINE_MEMORY_MAX);
    cr_assert(eq(uint, machine.nram, 2));
    cr_expect(eq(u64, machine.ram[0].size, VKVM_WINDOW_BASE));
    cr_expect(eq(u64, gpa_to_u64(machine.ram[1].start), VKVM_RAM_HIGH_BASE));
    cr_expect(eq(u64, machine_memory_size(&machine), MACHINE_MEMORY_MAX));
    cr_expect(eq(u64, machine_ram_pages(&machine),
                 (VKVM_RAM_HIGH_BASE + MACHINE_MEMORY_MAX - VKVM_WINDOW_BASE) >> PAGE_SHIFT));
    cr_expect(eq(int, machine_check(&machine, 46, &failure), 0));
}

Test(machine, memory_beyond_the_processors_addresses_is_refused_with_their_width)
{
    struct machine machine;
    struct failure failure;

    machine_init(&machine);
    machine_set_memory(&machine, MACHINE_MEMORY_MAX);
    cr_expect(eq(int, machine_check(&machine, 40, &failure), -EINVAL));
    cr_expect(strstr(failure.message, "40 bits") != NULL, "%s", failure.message);
    machine_set_memory(&machine, MACHINE_MEMORY_MAX - (VKVM_RAM_HIGH_BASE - VKVM_WINDOW_BASE));
    cr_expect(eq(int, machine_check(&machine, 40, &failure), 0), "%s", failure.message);
}

Test(machine, a_range_is_found_by_what_lies_in_it_as_a_whole)
{
    struct machine machine;

    machine_init(&machine);
    machine_set_memory(&machine, VKVM_WINDOW_BASE + GIB);
    cr_expect(machine_find_ram(&machine, 0, 1) == &machine.ram[0]);
    cr_expect(machine_find_ram(&machine, VKVM_WINDOW_BASE - 1, 1) == &machine.ram[0]);
    cr_expect(machine_find_ram(&machine, VKVM_WINDOW_BASE - 1, 2) == NULL);
    cr_expect(machine_find_ram(&machine, VKVM_RAM_HIGH_BASE - 1, 1) == NULL);
    cr_expect(machine_find_ram(&machine, VKVM_RAM_HIGH_BASE, GIB) == &machine.ram[1]);
    cr_expect(machine_find_ram(&machine, VKVM_RAM_HIGH_BASE, GIB + 1) == NULL);
    cr_expect(machine_find_ram(&machine, UINT64_MAX, UINT64_MAX) == NULL);
    cr_expect(eq(u64, machine_low_end(&machine), VKVM_WINDOW_BASE));
}

Test(machine, memory_may_have_holes)
{
    struct machine machine = sound_machine();
    struct failure failure;

    machine.nram = 3;
    machine.ram[1] = (struct machine_ram){ gpa_from_u64(2 * GIB), GIB };
    machine.ram[2] = (struct machine_ram){ gpa_from_u64(4 * GIB), GIB };
    cr_assert(eq(int, machine_check(&machine, 48, &failure), 0), "%s", failure.message);
    cr_expect(eq(u64, machine_memory_size(&machine), 3 * GIB));
    cr_expect(eq(u64, machine_ram_pages(&machine), 5 * GIB >> PAGE_SHIFT));
    cr_expect(machine_find_ram(&machine, GIB, 1) == NULL);
}

#define REFUSED(text, change)                                                              \
    do {                                                                                   \
        struct machine machine = sound_machine();                                          \
        struct failure failure = { .message = "" };                                        \
                                                                                           \
        change;                                                                            \
        cr_expect(eq(int, machine_check(&machine, 48, &failure), -EINVAL), "%s", text);    \
        cr_expect(eq(int, failure.code, -EINVAL));                                         \
        cr_expect(strstr(failure.message, text) != NULL, "%s: %s", text, failure.message); \
    } while (0)

Test(machine, what_cannot_be_is_refused_with_its_reason)
{
    REFUSED("no memory", machine.nram = 0);
    REFUSED("ranges of memory", machine.nram = MACHINE_MAX_RAM + 1);
    REFUSED("0 vCPUs", machine.nvcpus = 0);
    REFUSED("vCPUs", machine.nvcpus = MACHINE_MAX_VCPUS + 1);
    REFUSED("windows", machine.nwindows = MACHINE_MAX_WINDOWS + 1);
    REFUSED("files", machine.nfiles = MACHINE_MAX_FILES + 1);
    REFUSED("devices", machine.ndevices = MACHINE_MAX_DEVICES + 1);
    REFUSED("whole pages", machine.ram[0].size = 0);
    REFUSED("whole pages", machine.ram[0].size = GIB + 1);
    REFUSED("48 bits", machine.ram[0].start = gpa_from_u64((uint64_t)1 << 48));
    REFUSED("48 bits", machine.ram[0].size = UINT64_MAX & ~PAGE_MASK);
    REFUSED("must end below", machine.ram[0].size = VKVM_WINDOW_BASE + PAGE_SIZE);
    REFUSED("must end below", machine.ram[0].start = gpa_from_u64(VKVM_WINDOW_END));
    REFUSED("must lie in", machine.windows[0].start = gpa_from_u64(2 * GIB));
    REFUSED("must lie in", machine.windows[0].size = VKVM_RAM_HIGH_BASE - VKVM_WINDOW_BASE);
    REFUSED("must lie in", machine.files[0].start = gpa_from_u64(VKVM_WINDOW_END));
    REFUSED("overlap", machine.files[0].start = machine.windows[0].start);
    REFUSED("overlap", (machine.nram = 2, machine.ram[1] = machine.ram[0]));
    REFUSED("sort them", (machine.nram = 2, machine.ram[1] = machine.ram[0],
                          machine.ram[0].start = gpa_from_u64(2 * GIB)));
    REFUSED("no table format", machine.windows[0].format = NULL);
    REFUSED("cannot be", machine.devices[1].nports = 0);
    REFUSED("cannot be", (machine.devices[1].port = 0xffff, machine.devices[1].nports = 2));
    REFUSED("larger than vpte32 can map", (machine.windows[0].format = &vpte32_format,
                                           machine.windows[0].size = 5 * GIB, machine.nfiles = 0));
    REFUSED("root has more than 32 bits",
            (machine.windows[0].format = &vpte32_format, machine.windows[0].root = GIB << 2));
    REFUSED("file 0: the offset", machine.files[0].offset = 1);
    REFUSED("file 0: the offset", machine.files[0].offset = INT64_MAX & ~PAGE_MASK);
    REFUSED("memory: the offset", machine.ram_file.offset = 1);
    REFUSED("memory: the offset", machine.ram_file.offset = INT64_MAX & ~PAGE_MASK);
    REFUSED("share line 7", (machine.devices[0].line = 7, machine.devices[1].line = 7));
    REFUSED("share ports", machine.devices[1].port = VKVM_PORT_DOORBELL + 3);
}

Test(machine, a_pc_has_a_hole_below_4_gib_and_other_devices)
{
    struct machine machine;
    struct failure failure;

    machine_init(&machine);
    machine_set_memory(&machine, 5 * GIB);
    machine_make_pc(&machine);
    cr_assert(eq(uint, machine.nram, 2));
    cr_expect(eq(u64, machine.ram[0].size, 3 * GIB));
    cr_expect(eq(u64, gpa_to_u64(machine.ram[1].start), 4 * GIB));
    cr_expect(eq(u64, machine_memory_size(&machine), 5 * GIB));
    cr_expect(eq(int, (int)machine.absent, BUS_ABSENT_ONES));
    cr_expect(machine_find_device(&machine, MACHINE_DOORBELL) == NULL);
    cr_expect(eq(uint, machine_find_device(&machine, MACHINE_SERIAL)->line, 4));
    cr_expect(eq(int, machine_check(&machine, 48, &failure), 0), "%s", failure.message);
    machine_set_memory(&machine, MACHINE_MEMORY_MAX);
    cr_assert(eq(uint, machine.nram, 3));
    cr_expect(eq(u64, machine_memory_size(&machine), MACHINE_MEMORY_MAX));
    cr_expect(eq(int, machine_check(&machine, 46, &failure), 0), "%s", failure.message);
    machine_set_memory(&machine, GIB);
    cr_expect(eq(uint, machine.nram, 1));
}

Test(machine, what_cannot_be_in_a_pc_is_refused_with_its_reason)
{
    struct machine machine;
    struct failure failure;

    machine_init(&machine);
    machine_set_memory(&machine, GIB);
    machine_make_pc(&machine);
    machine.ram[0].size = 3 * GIB + PAGE_SIZE;
    cr_expect(eq(int, machine_check(&machine, 48, &failure), -EINVAL));
    cr_expect(strstr(failure.message, "hole") != NULL, "%s", failure.message);
    machine_set_memory(&machine, GIB);
    machine.devices[0].line = MACHINE_LINES;
    cr_expect(eq(int, machine_check(&machine, 48, &failure), -EINVAL));
    cr_expect(strstr(failure.message, "line 24") != NULL, "%s", failure.message);
    machine_make_pc(&machine);
    machine.devices[9].start = gpa_from_u64(GIB / 2);
    cr_expect(eq(int, machine_check(&machine, 48, &failure), -EINVAL));
    cr_expect(strstr(failure.message, "overlap") != NULL, "%s", failure.message);
}

static struct machine
machine_with_disks(unsigned n)
{
    struct machine machine;

    machine_init(&machine);
    machine_set_memory(&machine, 4 * GIB);
    machine.ndisks = n;
    machine_make_pc(&machine);
    return machine;
}

Test(machine, a_pc_shows_each_disk_by_registers_and_a_line_of_its_own)
{
    struct machine machine = machine_with_disks(MACHINE_MAX_DISKS);
    const struct machine_device *first = machine_find_device(&machine, MACHINE_DISK);
    struct failure failure;

    cr_assert(first != NULL);
    for (unsigned i = 0; i < MACHINE_MAX_DISKS; i++) {
        cr_expect(eq(uint, first[i].disk, i));
        cr_expect(eq(uint, first[i].line, 16 + i));
        cr_expect(eq(u64, gpa_to_u64(first[i].start), 0xD0000000 + i * PAGE_SIZE));
    }
    cr_expect(eq(int, machine_check(&machine, 48, &failure), 0), "%s", failure.message);
}

#define REFUSED_DISKS(text, change)                                                        \
    do {                                                                                   \
        struct machine machine = machine_with_disks(2);                                    \
        struct machine_device *first = &machine.devices[machine.ndevices - 2];             \
        struct failure failure = { 0 };                                                    \
                                                                                           \
        (void)first;                                                                       \
        change;                                                                            \
        cr_expect(eq(int, machine_check(&machine, 48, &failure), -EINVAL), "%s", text);    \
        cr_expect(strstr(failure.message, text) != NULL, "%s: %s", text, failure.message); \
    } while (0)

Test(machine, a_disk_that_is_not_shown_once_or_not_where_a_driver_finds_it_is_refused)
{
    REFUSED_DISKS("9 disks: the most is 8", (machine.ndisks = 9, first->disk = 0));
    REFUSED_DISKS("shows disk 2 of 2", first->disk = 2);
    REFUSED_DISKS("disk 0: 2 devices show it", first[1].disk = 0);
    REFUSED_DISKS("disk 1: 0 devices show it", machine.ndevices--);
    REFUSED_DISKS("below 4G", first[1].size = 2 * PAGE_SIZE);
    REFUSED_DISKS("below 4G", first->start = gpa_from_u64(16 * GIB));
    REFUSED_DISKS("is a disk: only a PC has that", machine.kind = MACHINE_VKERNEL);
}

Test(machine, free_page_reporting_is_one_device_beside_all_disks)
{
    struct machine machine = machine_with_disks(MACHINE_MAX_DISKS);
    unsigned before = machine.ndevices;
    struct machine_device *balloon = &machine.devices[before];
    struct failure failure = { 0 };

    machine_set_balloon(&machine, true);
    machine_set_balloon(&machine, true);
    cr_assert(eq(uint, machine.ndevices, before + 1));
    cr_expect(eq(int, machine_check(&machine, 48, &failure), 0), "%s", failure.message);
    balloon->line = 0;
    cr_expect(eq(int, machine_check(&machine, 48, &failure), -EINVAL));
    cr_expect(strstr(failure.message, "a balloon needs an interrupt line") != NULL);
    balloon->line = 11;
    balloon[1] = *balloon;
    balloon[1].line = 12;
    balloon[1].start = gpa_from_u64(0xD0020000);
    machine.ndevices++;
    cr_expect(eq(int, machine_check(&machine, 48, &failure), -EINVAL));
    cr_expect(strstr(failure.message, "a second balloon") != NULL);
    machine.ndevices--;
    machine_set_balloon(&machine, false);
    machine_set_balloon(&machine, false);
    cr_expect(eq(uint, machine.ndevices, before));
    cr_expect(machine_find_device(&machine, MACHINE_BALLOON) == NULL);
}

Test(machine, a_device_is_found_by_its_kind)
{
    struct machine machine = sound_machine();

    cr_expect(eq(uint, machine_find_device(&machine, MACHINE_CONSOLE)->port, VKVM_PORT_CONSOLE));
    machine.ndevices = 1;
    cr_expect(machine_find_device(&machine, MACHINE_CONSOLE) == NULL);
}

Test(machine, a_kind_of_machine_has_its_own_devices)
{
    cr_expect(machine_standard_device(MACHINE_VKERNEL, MACHINE_SERIAL) == NULL);
    cr_expect(machine_standard_device(MACHINE_PC, MACHINE_DOORBELL) == NULL);
    cr_expect(eq(uint, machine_standard_device(MACHINE_PC, MACHINE_SERIAL)->port, 0x3f8));
}

Test(machine, a_protection_is_letters_and_back)
{
    char text[4];

    for (unsigned i = 1; i < 8; i++) {
        vm_prot_t protection = VM_PROT_NONE;

        machine_protection_text((vm_prot_t)i, text);
        cr_assert(eq(int, machine_protection_find(text, &protection), 0));
        cr_expect(eq(uint, protection, i));
    }
    cr_expect(eq(int, machine_protection_find("", &(vm_prot_t){ VM_PROT_NONE }), -EINVAL));
    cr_expect(eq(int, machine_protection_find("rwz", &(vm_prot_t){ VM_PROT_NONE }), -EINVAL));
}
