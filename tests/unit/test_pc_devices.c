/* SPDX-License-Identifier: BSD-2-Clause */
/* The small devices of a PC: clock, resets, ACPI hardware, debug exit, fw_cfg, test device. */
#include "tests/unit/device_rig.h"
#include "vmm/device/acpi_pm.h"
#include "vmm/device/cmos.h"
#include "vmm/device/debug_exit.h"
#include "vmm/device/fw_cfg.h"
#include "vmm/device/reset.h"
#include "vmm/device/test_device.h"

#include <string.h>

#define GIB (UINT64_C(1) << 30)

static void
setup(void)
{
    nrequests = 0;
    bus_init(&bus, BUS_ABSENT_ONES);
}

static void
teardown(void)
{
    bus_fini(&bus);
}

TestSuite(pc_devices, .init = setup, .fini = teardown);

/* --- the clock ------------------------------------------------------------ */

static struct timespec wall;

static void
wall_now(struct timespec *now)
{
    *now = wall;
}

static uint8_t
cmos_get(uint8_t index)
{
    out(0x70, 1, index);
    return (uint8_t)in(0x71, 1);
}

Test(pc_devices, the_clock_shows_the_time_in_bcd_and_when_it_is_about_to_change)
{
    struct cmos cmos;

    cmos_init(&cmos, GIB, 0, wall_now);
    put_device(BUS_PORT, 0x70, CMOS_PORTS, cmos_access, &cmos);
    wall = (struct timespec){ .tv_sec = 951827696 }; /* Tuesday, 29 February 2000, 12:34:56 */
    cr_expect(eq(u8, cmos_get(0x00), 0x56));
    cr_expect(eq(u8, cmos_get(0x02), 0x34));
    cr_expect(eq(u8, cmos_get(0x84), 0x12)); /* with NMIs masked */
    cr_expect(eq(u8, cmos_get(0x06), 3));
    cr_expect(eq(u8, cmos_get(0x07), 0x29));
    cr_expect(eq(u8, cmos_get(0x08), 0x02));
    cr_expect(eq(u8, cmos_get(0x09), 0x00));
    cr_expect(eq(u8, cmos_get(0x32), 0x20));
    cr_expect(eq(u8, cmos_get(0x0A), 0x26));
    cr_expect(eq(u8, cmos_get(0x0B), 0x02));
    cr_expect(eq(u8, cmos_get(0x0D), 0x80));
    wall.tv_nsec = 999000000;
    cr_expect(eq(u8, cmos_get(0x0A), 0xA6));
    out(0x71, 1, 0); /* the time is the host's */
    wall.tv_nsec = 0;
    cr_expect(eq(u8, cmos_get(0x0A), 0x26));
}

Test(pc_devices, cmos_memory_tells_how_much_ram_there_is_and_keeps_what_is_written)
{
    struct cmos cmos;

    cmos_init(&cmos, 3 * GIB, 5 * GIB, NULL);
    put_device(BUS_PORT, 0x70, CMOS_PORTS, cmos_access, &cmos);
    cr_expect(eq(u8, cmos_get(0x15), 0x80));
    cr_expect(eq(u8, cmos_get(0x16), 0x02));
    cr_expect(eq(u8, cmos_get(0x30), 0xFF)); /* 64 MiB and more */
    cr_expect(eq(u8, cmos_get(0x31), 0xFF));
    cr_expect(eq(u64, cmos_get(0x34) | (uint64_t)cmos_get(0x35) << 8, (3 * GIB >> 16) - 256));
    cr_expect(eq(u64,
                 cmos_get(0x5B) | (uint64_t)cmos_get(0x5C) << 8 | (uint64_t)cmos_get(0x5D) << 16,
                 5 * GIB >> 16));
    out(0x70, 1, 0x40);
    out(0x71, 1, 0x99);
    cr_expect(eq(u8, cmos_get(0x40), 0x99));
    cr_expect(eq(u64, in(0x70, 1), 0xFF));
}

/* --- resets ---------------------------------------------------------------- */

Test(pc_devices, the_keyboard_controller_is_idle_and_resets_the_machine_by_its_command)
{
    struct keyboard keyboard = { device_power };

    put_device(BUS_PORT, 0x60, KEYBOARD_PORTS, keyboard_access, &keyboard);
    cr_expect(eq(u64, in(0x64, 1), 0));
    cr_expect(eq(u64, in(0x60, 1), 0));
    cr_expect(eq(u64, in(0x61, 1), 0xFF));
    out(0x64, 1, 0xAD);
    out(0x60, 1, 0xFE);
    cr_expect(eq(uint, nrequests, 0));
    out(0x64, 1, 0xFE);
    cr_expect(eq(uint, nrequests, 1));
    cr_expect(eq(int, (int)requested, POWER_RESET));
}

Test(pc_devices, configuration_space_is_all_ones_and_the_reset_register_lies_in_its_ports)
{
    struct pci_ports ports = { .power = device_power };

    put_device(BUS_PORT, 0xCF8, PCI_PORTS, pci_ports_access, &ports);
    out(0xCF8, 4, 0x80000004);
    cr_expect(eq(u64, in(0xCF8, 4), 0x80000004));
    cr_expect(eq(u64, in(0xCFC, 4), 0xFFFFFFFF));
    cr_expect(eq(u64, in(0xCFE, 2), 0xFFFF));
    out(0xCFC, 4, 0);
    out(0xCF9, 1, 0x02); /* a system reset is chosen, but not made */
    cr_expect(eq(uint, nrequests, 0));
    out(0xCF9, 1, 0x06);
    cr_expect(eq(uint, nrequests, 1));
    cr_expect(eq(int, (int)requested, POWER_RESET));
}

/* --- ACPI ------------------------------------------------------------------ */

static uint64_t monotonic;

static uint64_t
monotonic_now(void)
{
    return monotonic;
}

Test(pc_devices, the_pm_timer_counts_at_its_rate_and_wraps_around_after_24_bits)
{
    struct acpi_pm pm;

    acpi_pm_init(&pm, &device_power, monotonic_now);
    put_device(BUS_PORT, 0x600, ACPI_PM_PORTS, acpi_pm_access, &pm);
    monotonic = 0;
    cr_expect(eq(u64, in(0x608, 4), 0));
    monotonic = 1000000000;
    cr_expect(eq(u64, in(0x608, 4), 3579545));
    monotonic = 4686999999;
    cr_expect(eq(u64, in(0x608, 4), 16777327 - (1 << 24)));
    monotonic = UINT64_C(1) << 62; /* a product of 64 bits would not do */
    cr_expect(eq(u64, in(0x608, 4) >> 24, 0));
}

Test(pc_devices, sleep_type_5_switches_off_and_no_other_state_is_there)
{
    struct acpi_pm pm;

    acpi_pm_init(&pm, &device_power, NULL);
    put_device(BUS_PORT, 0x600, ACPI_PM_PORTS, acpi_pm_access, &pm);
    cr_expect(eq(u64, in(0x604, 2), 1)); /* ACPI mode */
    out(0x604, 2, 5 << 10);
    cr_expect(eq(uint, nrequests, 0));
    out(0x604, 2, 5 << 10 | 0x2000);
    cr_expect(eq(uint, nrequests, 1));
    cr_expect(eq(int, (int)requested, POWER_OFF));
    cr_expect(eq(u64, in(0x604, 2), 5 << 10 | 1));
    out(0x604, 2, 1 << 10 | 0x2000);
    cr_expect(eq(int, (int)requested, POWER_SLEEP));
    cr_expect(eq(uint, requested_status, 1));
}

Test(pc_devices, pm_events_can_be_enabled_and_none_ever_comes)
{
    struct acpi_pm pm;

    acpi_pm_init(&pm, &device_power, NULL);
    put_device(BUS_PORT, 0x600, ACPI_PM_PORTS, acpi_pm_access, &pm);
    out(0x602, 2, 0x0120);
    out(0x600, 2, 0xFFFF);
    cr_expect(eq(u64, in(0x600, 2), 0));
    cr_expect(eq(u64, in(0x602, 2), 0x0120));
    cr_expect(eq(u64, in(0x600, 4), 0x01200000));
    out(0x600, 4, 0x02010000);
    cr_expect(eq(u64, in(0x602, 2), 0x0201));
}

/* --- what tests use --------------------------------------------------------- */

Test(pc_devices, the_debug_port_ends_with_an_odd_status)
{
    struct debug_exit debug_exit = { device_power };

    put_device(BUS_PORT, 0xF4, DEBUG_EXIT_PORTS, debug_exit_access, &debug_exit);
    (void)in(0xF4, 4);
    cr_expect(eq(uint, nrequests, 0));
    out(0xF4, 4, 0);
    cr_expect(eq(int, (int)requested, POWER_EXIT));
    cr_expect(eq(uint, requested_status, 1));
    out(0xF4, 1, 0x10);
    cr_expect(eq(uint, requested_status, 0x21));
    out(0xF4, 4, 0xFFFFFFFF);
    cr_expect(eq(uint, requested_status, 0xFF));
}

static uint64_t
fw_cfg_get(uint16_t key, unsigned size)
{
    uint64_t value = 0;
    uint8_t bytes[16];
    struct bus_access string = { .size = 1, .count = size, .data = bytes };

    out(0x510, 2, key);
    cr_assert(bus_access(&bus, BUS_PORT, 0x511, &string) == 0);
    memcpy(&value, bytes, size < 8 ? size : 8);
    return value;
}

Test(pc_devices, fw_cfg_tells_memory_and_processors_from_the_start_at_each_selection)
{
    struct fw_cfg fw_cfg = { .memory_size = UINT64_C(0x123456789000), .nvcpus = 3 };

    put_device(BUS_PORT, 0x510, FW_CFG_PORTS, fw_cfg_access, &fw_cfg);
    cr_expect(eq(u64, fw_cfg_get(0, 4), 0x554D4551));
    cr_expect(eq(u64, fw_cfg_get(3, 8), UINT64_C(0x123456789000)));
    cr_expect(eq(u64, fw_cfg_get(3, 8), UINT64_C(0x123456789000)));
    cr_expect(eq(u64, fw_cfg_get(5, 2), 3));
    cr_expect(eq(u64, fw_cfg_get(0x11, 8), 0));
    cr_expect(eq(u64, fw_cfg_get(3, 16), UINT64_C(0x123456789000)));
    cr_expect(eq(u64, in(0x511, 1), 0)); /* behind the end */
}

static uint64_t dropped;
static unsigned lines_up;

static void
on_drop(void *context, uint64_t address)
{
    (void)context;
    dropped = address;
}

static void
on_line(void *controller, unsigned line, bool level)
{
    (void)controller;
    lines_up = level ? lines_up | 1u << line : lines_up & ~(1u << line);
}

Test(pc_devices, the_test_device_keeps_bytes_drops_pages_raises_lines_and_has_memory)
{
    static struct test_device test = { .drop = on_drop, .set_line = on_line };
    const uint64_t memory = 0xFF000000;

    put_device(BUS_PORT, 0xE0, TEST_PORTS, test_device_ports, &test);
    put_device(BUS_PORT, 0x2000, TEST_LINES, test_device_lines, &test);
    put_device(BUS_MEMORY, memory, TEST_MEMORY, test_device_memory, &test);
    out(0xE0, 4, 0x12345678);
    out(0xE2, 1, 0xAA);
    cr_expect(eq(u64, in(0xE0, 4), 0x12AA5678));
    cr_expect(eq(u64, in(0xE2, 2), 0x12AA));
    out(0xE4, 4, 0xABCDE000);
    cr_expect(eq(u64, dropped, 0xABCDE000));
    cr_expect(eq(u64, in(0xE4, 4), 0xFFFFFFFF));
    out(0x2000 + 23, 1, 1);
    out(0x2000, 1, 1);
    cr_expect(eq(uint, lines_up, 1u << 23 | 1));
    out(0x2000, 1, 0);
    cr_expect(eq(uint, lines_up, 1u << 23));
    bus_write(BUS_MEMORY, memory + TEST_MEMORY - 8, 8, UINT64_C(0x1122334455667788));
    cr_expect(eq(u64, bus_read(BUS_MEMORY, memory + TEST_MEMORY - 4, 4), 0x11223344));
}
