/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptions spoilt by generators: each is refused with its place and cause, or makes a machine
 * that can be, which is the same when it is written and read again.
 */
#include "tests/unit/description_rig.h"

/* Whatever is read can be, and is stable from the first writing on. */
static bool
try_tree(const struct vm_fdt *fdt)
{
    struct failure failure = { .message = "" };
    struct description read, again;
    struct vm_fdt canonical;

    if (fdt_check_full(fdt->data, fdt->size) != 0)
        return false; /* vm_fdt_load refuses it */
    if (read_tree(fdt, &read, &failure) != 0) {
        cr_expect(strstr(failure.message, "device tree 'tree': ") != NULL, "%s", failure.message);
        cr_expect(strstr(failure.message + strlen("device tree 'tree': "), ": ") != NULL,
                  "no cause: %s", failure.message);
        return false;
    }
    cr_assert(eq(int, machine_check(&read.machine, MACHINE_PHYSICAL_BITS_MAX, &failure), 0), "%s",
              failure.message);
    canonical = written(&read);
    cr_assert(eq(int, read_tree(&canonical, &again, &failure), 0), "%s", failure.message);
    expect_same(&read, &again);
    expect_stable(&canonical, &again);
    vm_fdt_fini(&canonical);
    return true;
}

/* The ways in which a value can be wrong; what comes out is at most one byte longer. */
static size_t
spoil(unsigned way, uint8_t *value, size_t size)
{
    switch (way) {
    case 0:
        return 0;
    case 1:
        return size == 0 ? 0 : size - 1;
    case 2:
        value[size] = 0;
        return size + 1;
    case 3:
        memset(value, 0xff, size);
        return size;
    case 4:
        memset(value, 0, size);
        return size;
    case 5:
        memset(value, 'x', size);
        return size;
    case 6: /* up to where a number wraps around */
        if (size >= 8) {
            memset(value + size - 8, 0xff, 8);
            value[size - 1] = 0;
            value[size - 2] = 0xf0;
        }
        return size;
    default:
        return size & ~(size_t)3;
    }
}
#define SPOIL_WAYS 8

/* Spoil property number `which` of the whole tree; false when there are not so many. */
static bool
spoil_property(struct draft *draft, unsigned which, unsigned way)
{
    int node, property, depth = 0;

    for (node = 0; node >= 0; node = fdt_next_node(draft->fdt.data, node, &depth)) {
        fdt_for_each_property_offset (property, draft->fdt.data, node) {
            uint8_t value[256];
            const char *name;
            int size;
            const void *old = fdt_getprop_by_offset(draft->fdt.data, property, &name, &size);

            if (which-- != 0)
                continue;
            cr_assert(lt(sz, (size_t)size, sizeof(value)));
            memcpy(value, old, (size_t)size);
            cr_assert(eq(int,
                         fdt_setprop(draft->fdt.data, node, name, value,
                                     (int)spoil(way, value, (size_t)size)),
                         0));
            return true;
        }
    }
    return false;
}

static void
spoil_each(const struct description *description, unsigned *refused, unsigned *read)
{
    bool more = true;

    for (unsigned which = 0; more; which++) {
        for (unsigned way = 0; way < SPOIL_WAYS && more; way++) {
            struct draft draft = draft_of(description);

            more = spoil_property(&draft, which, way);
            if (more)
                ++*(try_tree(&draft.fdt) ? read : refused);
            vm_fdt_fini(&draft.fdt);
        }
    }
}

Test(description_damage,
     every_property_spoilt_in_every_way_is_refused_or_makes_a_machine_that_can_be)
{
    struct description full = full_description(), pc = pc_description();
    unsigned refused = 0, read = 0;

    spoil_each(&full, &refused, &read);
    spoil_each(&pc, &refused, &read);
    cr_expect(gt(uint, refused, 400), "%u refused, %u read: the test is blind", refused, read);
    cr_expect(gt(uint, read, 50), "%u refused, %u read: the test is blind", refused, read);
}

Test(description_damage, random_damage_is_refused_or_makes_a_machine_that_can_be)
{
    struct description full = full_description();
    struct vm_fdt good = written(&full);
    unsigned read = 0, sound = 0;
    uint8_t *bad = malloc(good.size);

    cr_assert(bad != NULL);
    environment_seed("description-damage");
    for (int round = 0; round < 20000; round++) {
        struct vm_fdt fdt = { .data = bad, .size = good.size };

        memcpy(bad, good.data, good.size);
        for (int n = rand() % 3; n >= 0; n--)
            bad[(size_t)rand() % good.size] = (uint8_t)rand();
        if (rand() % 16 == 0)
            fdt.size = (size_t)rand() % good.size;
        sound += fdt_check_full(bad, fdt.size) == 0;
        read += try_tree(&fdt);
    }
    cr_expect(gt(uint, sound, 5000), "%u sound, %u read: the test is blind", sound, read);
    cr_expect(gt(uint, read, 100), "%u sound, %u read: the test is blind", sound, read);
    free(bad);
    vm_fdt_fini(&good);
}
