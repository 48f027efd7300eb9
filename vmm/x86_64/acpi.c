/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing ACPI tables, and the little AML that the DSDT needs.
 */
#include "vmm/x86_64/acpi.h"

#include "vmm/x86_64/aml.h"

#include <assert.h>
#include <string.h>

#define LOCAL_APIC_GPA 0xFEE00000u
#define IO_APIC_GPA 0xFEC00000u

#define HEADER_SIZE 36
#define CHECKSUM_AT 9

/* FADT (5.2.9) */
#define FADT_SIZE 276
#define FADT_WBINVD (1u << 0)
#define FADT_C1 (1u << 2)
#define FADT_NO_POWER_BUTTON (1u << 4) /* ... that is fixed hardware; nor the next two */
#define FADT_NO_SLEEP_BUTTON (1u << 5)
#define FADT_NO_RTC_WAKE (1u << 6)
#define FADT_RESET_REGISTER (1u << 10)
#define FADT_LEGACY_DEVICES (1u << 0) /* IAPC_BOOT_ARCH; the bit of the 8042 stays clear */
#define FADT_NO_VGA (1u << 2)
#define FADT_NO_C2 0xFFFF /* latencies of states that are not there */
#define FADT_CENTURY 0x32 /* in CMOS */

#define RESET_PORT 0xCF9
#define RESET_VALUE 6

#define SPACE_IO 1
#define ACCESS_BYTE 1
#define ACCESS_WORD 2
#define ACCESS_DWORD 3

/* Registers of acpi_pm.h, from its first port */
#define PM_EVENTS 0
#define PM_CONTROL 4
#define PM_TIMER 8
#define PM_SLEEP_OFF 5

/* MADT (5.2.12) */
#define MADT_PICS (1u << 0)
#define MADT_ENABLED 1
#define MADT_LEVEL_HIGH 0xD

/* What is written, one thing behind the other. */
struct writer {
    uint8_t *at;
    size_t size;
};

static void
put(struct writer *w, uint64_t value, size_t nbytes)
{
    assert(w->size + nbytes <= ACPI_SIZE);
    for (size_t i = 0; i < nbytes; i++)
        w->at[w->size++] = (uint8_t)(value >> 8 * i);
}

static void
put_text(struct writer *w, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        put(w, (uint8_t)text[i], 1);
}

static void
align(struct writer *w, size_t to)
{
    while (w->size % to != 0)
        put(w, 0, 1);
}

/* The value that makes the sum of the bytes 0. */
static uint8_t
checksum(const uint8_t *bytes, size_t size)
{
    uint8_t sum = 0;

    while (size-- != 0)
        sum = (uint8_t)(sum + *bytes++);
    return (uint8_t)-sum;
}

/* The header all tables but the FACS and the RSDP begin with (5.2.6).  Returns where it is. */
static size_t
begin_table(struct writer *w, const char *signature, uint8_t revision)
{
    align(w, 16);
    size_t start = w->size;

    put_text(w, signature, 4);
    put(w, 0, 4); /* length */
    put(w, revision, 1);
    put(w, 0, 1); /* checksum */
    put_text(w, "VKVM  VKVMPC  ", 14);
    put(w, 1, 4);
    put_text(w, "VKVM", 4);
    put(w, 1, 4);
    return start;
}

static uint64_t
end_table(struct writer *w, size_t start)
{
    uint8_t *table = w->at + start;
    uint32_t size = (uint32_t)(w->size - start);

    memcpy(table + 4, &size, sizeof(size));
    table[CHECKSUM_AT] = checksum(table, size);
    return ACPI_RSDP_GPA + start;
}

/* --- tables ------------------------------------------------------------------ */

/* Firmware's part of waking up (5.2.10): there is none to wake up from. */
static uint64_t
put_facs(struct writer *w)
{
    size_t start;

    align(w, 64);
    start = w->size;
    put_text(w, "FACS", 4);
    put(w, 64, 4);
    for (int i = 0; i < 3; i++)
        put(w, 0, 8);
    put(w, 2, 1); /* version */
    while (w->size < start + 64)
        put(w, 0, 1);
    return ACPI_RSDP_GPA + start;
}

/* A generic address (5.2.3.2); nbits 0 = there is no such register. */
static void
put_address(struct writer *w, unsigned nbits, unsigned access, uint64_t port)
{
    put(w, nbits == 0 ? 0 : SPACE_IO, 1);
    put(w, nbits, 1);
    put(w, 0, 1);
    put(w, nbits == 0 ? 0 : access, 1);
    put(w, nbits == 0 ? 0 : port, 8);
}

/* Ports as ACPI 1.0 knows them, and their lengths. */
static void
put_ports(struct writer *w, uint16_t pm_port)
{
    put(w, pm_port + PM_EVENTS, 4);
    put(w, 0, 4);
    put(w, pm_port + PM_CONTROL, 4);
    put(w, 0, 4);
    put(w, 0, 4); /* PM2 */
    put(w, pm_port + PM_TIMER, 4);
    put(w, 0, 8); /* general purpose events */
    put(w, 4, 1);
    put(w, 2, 1);
    put(w, 0, 1);
    put(w, 4, 1);
    put(w, 0, 4); /* general purpose events; C state control */
}

/* The same ports as generic addresses. */
static void
put_addresses(struct writer *w, uint16_t pm_port)
{
    put_address(w, 32, ACCESS_WORD, pm_port + PM_EVENTS);
    put_address(w, 0, 0, 0);
    put_address(w, 16, ACCESS_WORD, pm_port + PM_CONTROL);
    put_address(w, 0, 0, 0);
    put_address(w, 0, 0, 0);
    put_address(w, 32, ACCESS_DWORD, pm_port + PM_TIMER);
    for (int i = 0; i < 4; i++) /* general purpose events, sleep control and status */
        put_address(w, 0, 0, 0);
    put(w, 0, 8); /* hypervisor */
}

static uint64_t
put_fadt(struct writer *w, const struct acpi_config *config, uint64_t facs, uint64_t dsdt)
{
    size_t start = begin_table(w, "FACP", 6);

    put(w, facs, 4);
    put(w, dsdt, 4);
    put(w, 0, 2); /* reserved; no power profile */
    put(w, config->sci_line, 2);
    put(w, 0, 8); /* no SMI */
    put_ports(w, config->pm_port);
    put(w, FADT_NO_C2, 2);
    put(w, FADT_NO_C2, 2);
    put(w, 0, 8); /* no cache to flush line by line, no duty cycle, no alarms */
    put(w, FADT_CENTURY, 1);
    put(w, FADT_LEGACY_DEVICES | FADT_NO_VGA, 2);
    put(w, 0, 1);
    put(w,
        FADT_WBINVD | FADT_C1 | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON | FADT_NO_RTC_WAKE |
            FADT_RESET_REGISTER,
        4);
    put_address(w, 8, ACCESS_BYTE, RESET_PORT);
    put(w, RESET_VALUE, 1);
    put(w, 0, 2); /* ARM */
    put(w, 4, 1); /* minor version */
    put(w, 0, 8); /* the 32-bit address says where the FACS is */
    put(w, dsdt, 8);
    put_addresses(w, config->pm_port);
    assert(w->size - start == FADT_SIZE);
    return end_table(w, start);
}

/* KVM's I/O APIC has ISA interrupt 0 at its input 0, as all others at their own. */
static uint64_t
put_madt(struct writer *w, const struct acpi_config *config)
{
    size_t start = begin_table(w, "APIC", 5);

    put(w, LOCAL_APIC_GPA, 4);
    put(w, MADT_PICS, 4);
    for (unsigned i = 0; i < config->ncpus; i++) {
        put(w, 0 | 8 << 8, 2); /* processor local APIC */
        put(w, i, 1);
        put(w, i, 1);
        put(w, MADT_ENABLED, 4);
    }
    put(w, 1 | 12 << 8, 2); /* I/O APIC, whose id the processors do not have */
    put(w, config->ncpus, 2);
    put(w, IO_APIC_GPA, 4);
    put(w, 0, 4);
    put(w, 2 | 10 << 8, 2); /* interrupt source override, of the ISA bus */
    put(w, 0, 1);
    put(w, config->sci_line, 1);
    put(w, config->sci_line, 4);
    put(w, MADT_LEVEL_HIGH, 2);
    put(w, 4 | 6 << 8, 2); /* NMI at LINT1 of all processors */
    put(w, 0xFF, 1);
    put(w, 0, 2);
    put(w, 1, 1);
    return end_table(w, start);
}

static uint64_t
put_dsdt(struct writer *w, const struct acpi_config *config)
{
    size_t start = begin_table(w, "DSDT", 2);
    struct aml aml;

    aml_init(&aml, w->at + w->size, ACPI_SIZE - w->size);
    aml_sleep_state(&aml, "_S5_", PM_SLEEP_OFF);
    for (unsigned i = 0; i < config->ndevices; i++)
        aml_memory_device(&aml, "LNRO0005", i, (uint32_t)config->devices[i].start,
                          (uint32_t)config->devices[i].size, config->devices[i].line);
    w->size += aml.size;
    return end_table(w, start);
}

static uint64_t
put_xsdt(struct writer *w, const uint64_t *tables, unsigned ntables)
{
    size_t start = begin_table(w, "XSDT", 1);

    for (unsigned i = 0; i < ntables; i++)
        put(w, tables[i], 8);
    return end_table(w, start);
}

/* Where everything else is found (5.2.5.3); at the start of all. */
static void
fill_rsdp(uint8_t rsdp[HEADER_SIZE], uint64_t xsdt)
{
    struct writer w = { .at = rsdp };

    put_text(&w, "RSD PTR ", 8);
    put(&w, 0, 1);
    put_text(&w, "VKVM  ", 6);
    put(&w, 2, 1);
    put(&w, 0, 4); /* no RSDT */
    put(&w, HEADER_SIZE, 4);
    put(&w, xsdt, 8);
    put(&w, 0, 4);
    rsdp[8] = checksum(rsdp, 20);
    rsdp[32] = checksum(rsdp, HEADER_SIZE);
}

size_t
acpi_build(const struct acpi_config *config, uint8_t tables[ACPI_SIZE])
{
    struct writer w = { .at = tables, .size = HEADER_SIZE };
    uint64_t listed[2];

    assert(config->ncpus <= ACPI_MAX_CPUS && config->ndevices <= ACPI_MAX_DEVICES);
    memset(tables, 0, ACPI_SIZE);
    uint64_t facs = put_facs(&w);
    uint64_t dsdt = put_dsdt(&w, config);
    listed[0] = put_fadt(&w, config, facs, dsdt);
    listed[1] = put_madt(&w, config);
    fill_rsdp(tables, put_xsdt(&w, listed, 2));
    return w.size;
}
