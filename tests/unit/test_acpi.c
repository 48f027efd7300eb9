/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI tables: they are found, they add up, and the reference compiler, which takes them apart and
 * puts them together again, makes the same of them.
 */
#include "vmm/x86_64/acpi.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint8_t tables[ACPI_SIZE];

static const struct acpi_device devices[] = {
    { 0xD0000000, 0x200, 16 },
    { 0xD0001000, 0x200, 17 },
};

static const struct acpi_config config = {
    .ncpus = 3, .pm_port = 0x600, .sci_line = 9, .devices = devices, .ndevices = 2
};

static uint64_t
number_at(const uint8_t *bytes, size_t nbytes)
{
    uint64_t value = 0;

    memcpy(&value, bytes, nbytes);
    return value;
}

/* A table by its guest-physical address. */
static const uint8_t *
table_at(uint64_t gpa)
{
    cr_assert(gpa >= ACPI_RSDP_GPA && gpa < ACPI_RSDP_GPA + ACPI_SIZE);
    return tables + (gpa - ACPI_RSDP_GPA);
}

static uint8_t
sum(const uint8_t *bytes, size_t size)
{
    uint8_t total = 0;

    while (size-- != 0)
        total = (uint8_t)(total + *bytes++);
    return total;
}

/* The table with that signature that the XSDT lists. */
static const uint8_t *
find(const char *signature)
{
    const uint8_t *xsdt = table_at(number_at(tables + 24, 8));

    for (size_t at = 36; at < number_at(xsdt + 4, 4); at += 8) {
        const uint8_t *table = table_at(number_at(xsdt + at, 8));

        if (memcmp(table, signature, 4) == 0)
            return table;
    }
    cr_fatal("no %s", signature);
}

static const uint8_t *
find_dsdt(void)
{
    return table_at(number_at(find("FACP") + 140, 8));
}

Test(acpi, every_table_is_found_from_the_rsdp_and_its_bytes_add_up_to_0)
{
    size_t size = acpi_build(&config, tables);
    const uint8_t *checked[] = { table_at(number_at(tables + 24, 8)), find("FACP"), find("APIC"),
                                 find_dsdt() };

    cr_expect(size <= ACPI_SIZE);
    cr_expect(memcmp(tables, "RSD PTR ", 8) == 0);
    cr_expect(eq(u8, sum(tables, 20), 0));
    cr_expect(eq(u8, sum(tables, 36), 0));
    for (size_t i = 0; i < sizeof(checked) / sizeof(checked[0]); i++)
        cr_expect(eq(u8, sum(checked[i], number_at(checked[i] + 4, 4)), 0), "%.4s",
                  (const char *)checked[i]);
    cr_expect(memcmp(find_dsdt(), "DSDT", 4) == 0);
    cr_expect(memcmp(table_at(number_at(find("FACP") + 36, 4)), "FACS", 4) == 0);
    cr_expect(eq(u64, number_at(find("FACP") + 36, 4) % 64, 0));
}

Test(acpi, the_fadt_says_that_there_is_no_keyboard_controller_and_how_to_reset)
{
    acpi_build(&config, tables);
    cr_expect(eq(u64, number_at(find("FACP") + 46, 2), 9));
    cr_expect(eq(u64, number_at(find("FACP") + 56, 4), 0x600));
    cr_expect(eq(u64, number_at(find("FACP") + 64, 4), 0x604));
    cr_expect(eq(u64, number_at(find("FACP") + 76, 4), 0x608));
    cr_expect(eq(u64, number_at(find("FACP") + 109, 2) & 2, 0)); /* IAPC_BOOT_ARCH: 8042 */
    cr_expect(eq(u64, number_at(find("FACP") + 120, 8), 0xCF9));
    cr_expect(eq(u64, number_at(find("FACP") + 112, 4) >> 10 & 1, 1));
}

Test(acpi, the_madt_has_every_processor_once_and_the_io_apic_another_id)
{
    const uint8_t *madt;
    unsigned ncpus = 0;

    acpi_build(&config, tables);
    madt = find("APIC");
    for (size_t at = 44; at < number_at(madt + 4, 4); at += madt[at + 1]) {
        cr_assert(madt[at + 1] != 0);
        if (madt[at] == 0)
            cr_expect(eq(u8, madt[at + 3], (uint8_t)ncpus++));
        if (madt[at] == 1)
            cr_expect(eq(u8, madt[at + 2], 3));
    }
    cr_expect(eq(uint, ncpus, 3));
}

Test(acpi, the_largest_machine_has_room)
{
    struct acpi_device many[ACPI_MAX_DEVICES];
    struct acpi_config large = { .ncpus = ACPI_MAX_CPUS,
                                 .pm_port = 0x600,
                                 .sci_line = 9,
                                 .devices = many,
                                 .ndevices = ACPI_MAX_DEVICES };

    for (unsigned i = 0; i < ACPI_MAX_DEVICES; i++)
        many[i] = devices[0];
    cr_expect(acpi_build(&large, tables) <= ACPI_SIZE);
}

/* --- the reference compiler --------------------------------------------------- */

static char directory[] = "/tmp/vkvm-acpi-XXXXXX";

static void
write_table(const char *name, const uint8_t *table)
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s.dat", directory, name);
    file = fopen(path, "we");
    cr_assert(file != NULL);
    cr_assert(fwrite(table, number_at(table + 4, 4), 1, file) == 1);
    fclose(file);
}

/* Take the table apart and put it together: returns the size of what comes out. */
static size_t
compile_again(const char *name, uint8_t *again, size_t room)
{
    char command[512], path[64];
    size_t size;
    FILE *file;

    snprintf(command, sizeof(command),
             "cd %s && iasl -d %s.dat >%s.log 2>&1 && iasl -p again-%s %s.dsl >>%s.log 2>&1 && "
             "! grep -E 'Warning|Error' %s.log | grep -v ' 0 '",
             directory, name, name, name, name, name, name);
    cr_assert(system(command) == 0, "iasl complains about the %s in %s", name, directory);
    snprintf(path, sizeof(path), "%s/again-%s.aml", directory, name);
    file = fopen(path, "re");
    cr_assert(file != NULL);
    size = fread(again, 1, room, file);
    fclose(file);
    return size;
}

/* But for the checksum and who made it, that is. */
static void
check_again(const char *name, const uint8_t *table)
{
    uint8_t again[ACPI_SIZE];
    size_t size = number_at(table + 4, 4);

    write_table(name, table);
    cr_assert(eq(sz, compile_again(name, again, sizeof(again)), size), "%s", name);
    cr_expect(memcmp(again, table, 9) == 0 && memcmp(again + 10, table + 10, 18) == 0 &&
                  memcmp(again + 36, table + 36, size - 36) == 0,
              "%s: it makes something else of it", name);
}

Test(acpi, iasl_takes_the_tables_apart_and_puts_the_same_together)
{
    char command[64];

    if (system("iasl -v >/dev/null 2>&1") != 0)
        cr_skip_test("no iasl here: install acpica-tools");
    cr_assert(mkdtemp(directory) != NULL);
    acpi_build(&config, tables);
    check_again("dsdt", find_dsdt());
    check_again("facp", find("FACP"));
    check_again("apic", find("APIC"));
    check_again("xsdt", table_at(number_at(tables + 24, 8)));
    snprintf(command, sizeof(command), "rm -r %s", directory);
    cr_expect(system(command) == 0);
}
