/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers of the fixed ACPI hardware.
 */
#include "vmm/device/acpi_pm.h"

#include "vmm/base/clock.h"
#include "vmm/device/access.h"

#define STATUS (ACPI_PM_EVENTS + 0)
#define ENABLE (ACPI_PM_EVENTS + 2)

#define CONTROL_ACPI 0x0001u  /* SCI_EN: always in ACPI mode */
#define CONTROL_SLEEP 0x2000u /* SLP_EN: write only */
#define CONTROL_TYPE_SHIFT 10
#define CONTROL_TYPE_MASK 7u

#define TIMER_HZ UINT64_C(3579545)
#define TIMER_MASK 0xFFFFFFu
#define NS_PER_SECOND UINT64_C(1000000000)

void
acpi_pm_init(struct acpi_pm *pm, const struct power *power, uint64_t (*now)(void))
{
    *pm = (struct acpi_pm){ .power = *power,
                            .now = now != NULL ? now : clock_now_ns,
                            .control = CONTROL_ACPI };
}

static uint32_t
timer(const struct acpi_pm *pm)
{
    uint64_t ns = pm->now();

    return (uint32_t)(ns / NS_PER_SECOND * TIMER_HZ +
                      ns % NS_PER_SECOND * TIMER_HZ / NS_PER_SECOND) &
           TIMER_MASK;
}

static void
write_control(struct acpi_pm *pm, uint16_t value)
{
    unsigned type = value >> CONTROL_TYPE_SHIFT & CONTROL_TYPE_MASK;

    pm->control = (uint16_t)((value & ~CONTROL_SLEEP) | CONTROL_ACPI);
    if ((value & CONTROL_SLEEP) == 0)
        return;
    pm->power.request(pm->power.context, type == ACPI_PM_SLEEP_OFF ? POWER_OFF : POWER_SLEEP, type,
                      "ACPI");
}

/* All registers as the bytes they are at. */
static uint64_t
read_registers(const struct acpi_pm *pm, uint64_t offset)
{
    if (offset >= ACPI_PM_TIMER)
        return (uint64_t)timer(pm) >> 8 * (offset - ACPI_PM_TIMER);
    return ((uint64_t)pm->control << 32 | (uint64_t)pm->enabled << 16) >> 8 * offset;
}

static void
write_registers(struct acpi_pm *pm, uint64_t offset, unsigned size, uint64_t value)
{
    if (offset == ENABLE && size == 2)
        pm->enabled = (uint16_t)value;
    else if (offset == STATUS && size == 4)
        pm->enabled = (uint16_t)(value >> 16);
    else if (offset == ACPI_PM_CONTROL && size >= 2)
        write_control(pm, (uint16_t)value);
}

int
acpi_pm_access(void *device, const struct bus_access *access)
{
    struct acpi_pm *pm = device;

    for (unsigned i = 0; i < access->count; i++) {
        if (access->write)
            write_registers(pm, access->offset, access->size, access_value(access, i));
        else
            access_answer(access, i, read_registers(pm, access->offset));
    }
    return 0;
}
