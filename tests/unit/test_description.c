/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The description of a machine as a device tree: what is written is read back as it was and written
 * again byte by byte; and what is wrong is refused with its place.
 */
#include "tests/unit/description_rig.h"

static void
expect_round_trip(const struct description *description)
{
    struct vm_fdt fdt = written(description);
    struct failure failure = { .message = "" };
    struct description read;

    cr_assert(eq(int, read_tree(&fdt, &read, &failure), 0), "%s", failure.message);
    expect_same(description, &read);
    expect_stable(&fdt, &read);
    vm_fdt_fini(&fdt);
}

Test(description, a_machine_is_read_as_it_was_written_and_written_again_byte_by_byte)
{
    struct description full = full_description(), pc = pc_description();
    struct description least = { .ram_budget = 0 };

    expect_round_trip(&full);
    expect_round_trip(&pc);
    machine_init(&least.machine);
    machine_set_memory(&least.machine, MACHINE_MEMORY_MIN);
    expect_round_trip(&least);
    least.machine.ndevices = 0;
    expect_round_trip(&least);
}

Test(description, the_largest_machine_fits)
{
    struct description d = full_description();

    d.machine.nvcpus = MACHINE_MAX_VCPUS;
    d.machine.nwindows = MACHINE_MAX_WINDOWS;
    d.machine.nfiles = MACHINE_MAX_FILES;
    for (unsigned i = 0; i < MACHINE_MAX_WINDOWS; i++) {
        d.machine.windows[i] = d.machine.windows[0];
        d.machine.windows[i].start = gpa_from_u64(VKVM_WINDOW_BASE + i * (uint64_t)0x200000);
    }
    for (unsigned i = 0; i < MACHINE_MAX_FILES; i++) {
        d.machine.files[i] = d.machine.files[0];
        d.machine.files[i].start = gpa_from_u64(VKVM_WINDOW_BASE + (i + 64) * (uint64_t)0x200000);
    }
    expect_round_trip(&d);
}

/* A machine that can be, otherwise anything. */
static struct description
random_description(void)
{
    static const char *const features[] = { "pku=on", "smep=off", "nx=on", "lm=off" };
    struct description d = { .ram_budget = (uint64_t)(rand() % 3) << 20 };
    unsigned places = (unsigned)rand() % 16;

    machine_init(&d.machine);
    machine_set_memory(&d.machine, MACHINE_MEMORY_MIN + (((uint64_t)rand() % (1 << 26)) << 12));
    if (rand() % 2 == 0)
        machine_make_pc(&d.machine);
    d.machine.nvcpus = 1 + (unsigned)rand() % MACHINE_MAX_VCPUS;
    while (d.machine.ndevices > 0 && rand() % 3 == 0)
        d.machine.ndevices--;
    for (unsigned i = 0; i < places; i++) {
        gpa_t start = gpa_from_u64(VKVM_WINDOW_BASE + i * (uint64_t)0x100000);
        uint64_t size = (1 + (uint64_t)rand() % 0x100) << PAGE_SHIFT;

        if (rand() % 2 == 0)
            d.machine.windows[d.machine.nwindows++] = (struct machine_window){
                .start = start,
                .size = size,
                .format = rand() % 2 == 0 ? &vpte32_format : &vpte64_format,
                .root = (uint64_t)rand(),
                .protection = (vm_prot_t)(1 + rand() % 7),
            };
        else
            d.machine.files[d.machine.nfiles++] =
                (struct machine_file){ .start = start,
                                       .size = size,
                                       .offset = (uint64_t)(rand() % 4) << 12,
                                       .path = "name",
                                       .path_size = 1 + (size_t)rand() % 4,
                                       .shared = rand() % 2 == 0,
                                       .read_only = rand() % 2 == 0 };
    }
    if (rand() % 3 == 0)
        d.machine.ram_file =
            (struct machine_file){ .path = "ram", .path_size = 3, .shared = rand() % 2 == 0 };
    if (rand() % 2 == 0)
        d.swap = "swap";
    for (unsigned i = 0; i < COUNT(features); i++) {
        if (rand() % 2 == 0)
            cr_assert(eq(int, cpu_features_add(&d.features, features[i]), 0));
    }
    return d;
}

Test(description, any_machine_is_read_as_it_was_written)
{
    environment_seed("description");
    for (int round = 0; round < 500; round++) {
        struct description d = random_description();

        expect_round_trip(&d);
    }
}

/* --- what is wrong ----------------------------------------------------------- */

static int
node_of(const struct draft *draft, const char *path)
{
    int node = fdt_path_offset(draft->fdt.data, path);

    cr_assert(ge(int, node, 0), "%s: %s", path, fdt_strerror(node));
    return node;
}

static void
set(struct draft *draft, const char *path, const char *name, const void *value, size_t size)
{
    cr_assert(
        eq(int, fdt_setprop(draft->fdt.data, node_of(draft, path), name, value, (int)size), 0));
}

/* The draft is refused with all of these words, in one line, and is freed. */
static void
expect_refused(struct draft *draft, const char *const *words)
{
    struct failure failure = { .message = "" };
    struct description read;

    cr_assert(eq(int, fdt_check_full(draft->fdt.data, TREE_SIZE), 0));
    cr_expect(eq(int, read_tree(&draft->fdt, &read, &failure), -ENOEXEC), "%s", words[0]);
    cr_expect(eq(int, failure.code, -ENOEXEC));
    for (unsigned i = 0; words[i] != NULL; i++)
        cr_expect(strstr(failure.message, words[i]) != NULL, "no '%s' in: %s", words[i],
                  failure.message);
    cr_expect(strchr(failure.message, '\n') == NULL);
    vm_fdt_fini(&draft->fdt);
}

#define WORDS(...) ((const char *const[]){ "device tree 'tree': ", __VA_ARGS__, NULL })

/* Set a property to these bytes (a literal, whose NUL counts), and see it refused. */
#define MISTAKE_IN(make, path, name, value, ...)          \
    do {                                                  \
        struct description whole = make();                \
        struct draft draft = draft_of(&whole);            \
                                                          \
        set(&draft, path, name, value, sizeof(value));    \
        expect_refused(&draft, WORDS(path, __VA_ARGS__)); \
    } while (0)
#define REFUSED_IN(make, path, name, value, ...) \
    MISTAKE_IN(make, path, name, value, name, __VA_ARGS__)
#define REFUSED(path, name, value, ...) REFUSED_IN(full_description, path, name, value, __VA_ARGS__)

/* Cells of a property. */
#define CELLS(...) ((const uint8_t[]){ __VA_ARGS__ })
#define W(x) (uint8_t)((x) >> 24), (uint8_t)((x) >> 16), (uint8_t)((x) >> 8), (uint8_t)(x)

Test(description, what_a_node_says_must_be_known_and_possible)
{
    REFUSED("/", "compatible", "acme,box", "vkvm,vm-1", "vkvm,pc-1");
    REFUSED("/", "colour", "red", "is unknown here: leave it out");
    REFUSED("/", "#address-cells", CELLS(W(3)), "is 3: give 1 or 2");
    REFUSED("/windows", "#size-cells", CELLS(W(0), W(0)), "8 bytes", "number of 1 cell");
    REFUSED("/windows/window@1000000000", "reg", CELLS(W(0x10), W(0), W(0)), "12 bytes",
            "2 cells of address and 2 of size");
    REFUSED("/windows/window@1000000000", "reg",
            CELLS(W(0x10), W(0), W(0), W(0x1000), W(0x11), W(0), W(0), W(0x1000)), "2 ranges",
            "at most 1");
    REFUSED("/windows/window@1000000000", "vkvm,format", "vpte48", "'vpte48' is unknown", "vpte64");
    REFUSED("/windows/window@1000000000", "vkvm,protection", "rwz", "letters of rwx");
    REFUSED("/windows/window@1000000000", "vkvm,protection", "", "letters of rwx");
    REFUSED("/windows/window@1000000000", "vkvm,root", CELLS(W(1)), "4 bytes", "2 cells");
    REFUSED("/windows/window@1000000000", "vkvm,colour", "red", "is unknown here");
    REFUSED("/windows/window@1000000000", "status", "maybe", "okay", "disabled");
    REFUSED("/windows/window@1000000000", "compatible", "acme,window", "vkvm,window-1");
    REFUSED("/files/file@1001000000", "vkvm,path", "", "is empty", "give the file's name");
    REFUSED("/files/file@1001000000", "vkvm,path", "a\0b", "more than one string");
    REFUSED("/files/file@1001000000", "vkvm,path", CELLS('a', 'b'), "does not end in a NUL");
    REFUSED("/files/file@1001000000", "vkvm,sharing", "some", "\"private\" or \"shared\"");
    REFUSED("/files/file@1001000000", "vkvm,protection", "w", "\"rwx\" or \"rx\"");
    REFUSED("/cpus", "vkvm,features", "pku", "says neither on nor off");
    REFUSED("/cpus", "vkvm,features", "warp=on", "'warp=on' is unknown");
    REFUSED("/cpus", "vkvm,exact-faults", "yes", "has a value");
    REFUSED("/cpus/cpu@1", "reg", CELLS(W(64)), "is 0x40: the last is 63");
    REFUSED("/cpus/cpu@1", "reg", CELLS(W(0)), "number them from 0");
    REFUSED("/cpus/cpu@1", "compatible", "riscv", "x86_64");
    REFUSED("/io/console@e9", "compatible", "acme,console", "is no device that there is");
    REFUSED("/io/console@e9", "compatible", "ns16550a", "no device of this kind of machine");
    REFUSED("/io/console@e9", "compatible", "vkvm,doorbell-1", "a second time");
    REFUSED("/io/console@e9", "reg", CELLS(W(0xe9), W(2)), "a size of 0x2", "0x1");
    REFUSED("/io/console@e9", "reg", CELLS(W(0x10000), W(1)), "the last is 0xffff");
    REFUSED("/io/console@e9", "vkvm,line", CELLS(W(3)), "is unknown here");
    REFUSED("/chosen", "bootargs", "x", "is unknown here");
    REFUSED("/chosen", "vkvm,args", CELLS('x'), "does not end in a NUL");
}

Test(description, memory_must_have_one_pager_that_goes_with_what_is_said_of_it)
{
    REFUSED("/memory@0", "device_type", "disk", "is not \"memory\"");
    REFUSED("/memory@0", "vkvm,pager", "tape", "'tape' is unknown", "swap");
    MISTAKE_IN(full_description, "/memory@0", "vkvm,pager", "anonymous", "vkvm,swap",
               "does not go with");
    MISTAKE_IN(full_description, "/memory@0", "vkvm,pager", "file", "vkvm,path", "is missing");
    REFUSED("/memory@0", "vkvm,offset", CELLS(W(0), W(0)), "does not go with");
    REFUSED("/memory@0", "vkvm,swap", "", "give a file or block device");
    REFUSED("/memory@0", "vkvm,budget", CELLS(W(0), W(4096)), "1M to 1T");
    REFUSED("/memory@0", "vkvm,budget", CELLS(W(0), W(0x100001)), "whole pages");
    REFUSED_IN(pc_description, "/memory@0", "vkvm,offset", CELLS(W(0), W(1)), "whole pages");
    MISTAKE_IN(pc_description, "/memory@0", "vkvm,offset", CELLS(W(0x7fffffff), W(0xfffff000)),
               "give another");
    REFUSED_IN(pc_description, "/memory@0", "vkvm,sharing", "", "\"private\" or \"shared\"");
    REFUSED_IN(pc_description, "/chosen", "vkvm,args", "x", "is unknown here");
}

/* What machine_check finds, with the node that brought it. */
#define IMPOSSIBLE_IN(make, path, value, ...) MISTAKE_IN(make, path, "reg", value, __VA_ARGS__)
#define IMPOSSIBLE(path, value, ...) IMPOSSIBLE_IN(full_description, path, value, __VA_ARGS__)

Test(description, what_cannot_be_is_refused_as_for_options_and_the_node_is_named)
{
    IMPOSSIBLE("/memory@0", CELLS(W(0), W(0), W(0), W(0x1000800)), "whole pages");
    IMPOSSIBLE("/memory@0", CELLS(W(0), W(0), W(0x10), W(0x1000)), "must end below");
    IMPOSSIBLE("/memory@0",
               CELLS(W(0), W(0), W(0), W(0x1000000), W(0x41), W(0), W(0x00200000), W(0)),
               "52 bits");
    IMPOSSIBLE("/memory@0", CELLS(W(0), W(0x1000), W(0xffffffff), W(0xfffff000)), "wrap around");
    IMPOSSIBLE("/memory@0",
               CELLS(W(0), W(0), W(0), W(0x1000000), W(0), W(0xfff000), W(0), W(0x1000)),
               "overlap");
    IMPOSSIBLE("/memory", CELLS(W(0), W(0x1000), W(0), W(0x1000000)),
               "less than 4M from address 0");
    IMPOSSIBLE("/memory", CELLS(W(0), W(0), W(0), W(0x3ff000)), "less than 4M");
    IMPOSSIBLE("/memory", CELLS(W(0), W(0), W(0), W(0x1000000), W(0x41), W(0), W(0x100), W(0)),
               "more than 1T");
    IMPOSSIBLE("/windows/window@1000400000", CELLS(W(0x10), W(0x1ff000), W(0), W(0x1000)),
               "overlap at 0x10001ff000");
    IMPOSSIBLE("/windows/window@1000400000", CELLS(W(0x0f), W(0), W(0), W(0x1000)), "must lie in");
    IMPOSSIBLE("/windows/window@1000400000", CELLS(W(0x10), W(0x400000), W(2), W(0)),
               "larger than vpte32");
    IMPOSSIBLE("/files/file@1002000000", CELLS(W(0x10), W(0x1002000), W(0), W(0x1000)), "overlap");
    IMPOSSIBLE("/files/file@1002000000", CELLS(W(0x3f), W(0xfffff000), W(0), W(0x2000)),
               "must lie in");
    IMPOSSIBLE("/io/console@e9", CELLS(W(0x513), W(1)), "share ports");
    IMPOSSIBLE_IN(pc_description, "/memory@0", CELLS(W(0), W(0), W(0), W(0xc0001000)), "PC's hole");
    IMPOSSIBLE_IN(pc_description, "/test-memory@ff000000",
                  CELLS(W(0), W(0xbfff8000), W(0), W(0x10000)), "overlap");
}

Test(description, lines_must_be_there_and_each_have_one_device)
{
    MISTAKE_IN(pc_description, "/io/acpi-pm@600", "vkvm,line", CELLS(W(4)), "share line 4");
    MISTAKE_IN(pc_description, "/io/acpi-pm@600", "vkvm,line", CELLS(W(24)), "the last is 23");
    REFUSED_IN(pc_description, "/io/acpi-pm@600", "vkvm,line", CELLS(W(4), W(0)), "8 bytes");
}

/* Without this property, or this node. */
static void
expect_needed(const char *path, const char *property, const char *words)
{
    struct description whole = full_description();
    struct draft draft = draft_of(&whole);

    if (property != NULL)
        cr_assert(eq(int, fdt_delprop(draft.fdt.data, node_of(&draft, path), property), 0));
    else
        cr_assert(eq(int, fdt_del_node(draft.fdt.data, node_of(&draft, path)), 0));
    expect_refused(&draft, WORDS(property == NULL ? "/" : path, words));
}

Test(description, what_is_missing_is_named_with_what_to_give)
{
    expect_needed("/", "compatible", "give \"vkvm,vm-1\"");
    expect_needed("/memory@0", NULL, "/memory: is missing");
    expect_needed("/memory@0", "reg", "reg: is missing");
    expect_needed("/memory@0", "device_type", "device_type: is missing");
    expect_needed("/memory@0", "vkvm,swap", "vkvm,swap: is missing");
    expect_needed("/cpus", NULL, "/cpus is missing: give cpu@0");
    expect_needed("/cpus/cpu@0", NULL, "/cpus: lacks cpu@0");
    expect_needed("/cpus/cpu@1", NULL, "/cpus: lacks cpu@1");
    expect_needed("/cpus/cpu@1", "reg", "reg: is missing");
    expect_needed("/io", NULL, "/io is missing");
    expect_needed("/io", "compatible", "vkvm,io");
    expect_needed("/io/console@e9", "compatible", "no device");
    expect_needed("/windows", "compatible", "vkvm,windows-1");
    expect_needed("/windows/window@1000000000", "reg", "reg: is missing");
    expect_needed("/files", "compatible", "vkvm,files-1");
    expect_needed("/files/file@1001000000", "vkvm,path", "vkvm,path: is missing");
    expect_needed("/files/file@1001000000", "vkvm,sharing", "vkvm,sharing: is missing");
}

Test(description, what_may_be_left_out_is_as_without_the_option)
{
    static const char *const properties[] = { "vkvm,format", "vkvm,root", "vkvm,protection" };
    struct description whole = full_description(), read;
    struct draft draft = draft_of(&whole);
    struct failure failure = { .message = "" };

    for (unsigned i = 0; i < COUNT(properties); i++)
        cr_assert(eq(int,
                     fdt_delprop(draft.fdt.data, node_of(&draft, "/windows/window@1000400000"),
                                 properties[i]),
                     0));
    cr_assert(eq(int, read_tree(&draft.fdt, &read, &failure), 0), "%s", failure.message);
    cr_expect(read.machine.windows[1].format == &vpte64_format);
    cr_expect(eq(u64, read.machine.windows[1].root, 0));
    cr_expect(eq(int, (int)read.machine.windows[1].protection, (int)VM_PROT_ALL));
    vm_fdt_fini(&draft.fdt);
}

Test(description, a_disabled_node_is_not_there)
{
    struct description whole = full_description(), read;
    struct draft draft = draft_of(&whole);
    struct failure failure = { .message = "" };

    set(&draft, "/io/console@e9", "status", "disabled", sizeof("disabled"));
    set(&draft, "/cpus/cpu@2", "status", "disabled", sizeof("disabled"));
    set(&draft, "/files", "status", "disabled", sizeof("disabled"));
    set(&draft, "/windows", "status", "okay", sizeof("okay"));
    cr_assert(eq(int, read_tree(&draft.fdt, &read, &failure), 0), "%s", failure.message);
    cr_expect(machine_find_device(&read.machine, MACHINE_CONSOLE) == NULL);
    cr_expect(eq(uint, read.machine.nvcpus, 2));
    cr_expect(eq(uint, read.machine.nfiles, 0));
    cr_expect(eq(uint, read.machine.nwindows, 2));
    vm_fdt_fini(&draft.fdt);
}

/* Add a node with these properties' bytes to a parent. */
static int
add_node(struct draft *draft, const char *parent, const char *name)
{
    int node = fdt_add_subnode(draft->fdt.data, node_of(draft, parent), name);

    cr_assert(ge(int, node, 0), "%s: %s", name, fdt_strerror(node));
    return node;
}

static void
expect_node_refused(const char *parent, const char *name, const char *words)
{
    struct description whole = full_description();
    struct draft draft = draft_of(&whole);

    add_node(&draft, parent, name);
    expect_refused(&draft, WORDS(name, words));
}

Test(description, nodes_that_nobody_knows_are_refused)
{
    expect_node_refused("/", "disco@0", "is no device that there is");
    expect_node_refused("/memory@0", "bank", "is unknown here");
    expect_node_refused("/cpus/cpu@0", "cache", "is unknown here");
    expect_node_refused("/io", "printer@378", "is no device that there is");
    expect_node_refused("/io/console@e9", "keys", "is unknown here");
    expect_node_refused("/windows/window@1000000000", "pane", "is unknown here");
    expect_node_refused("/files/file@1001000000", "page", "is unknown here");
    expect_node_refused("/chosen", "ones", "is unknown here");
}

Test(description, a_property_that_is_there_twice_is_refused)
{
    struct draft draft = { .fdt = { .data = calloc(1, TREE_SIZE), .size = TREE_SIZE } };
    void *tree = draft.fdt.data;

    cr_assert(tree != NULL);
    cr_assert(eq(int, fdt_create(tree, (int)TREE_SIZE), 0));
    cr_assert(eq(int, fdt_finish_reservemap(tree), 0));
    fdt_begin_node(tree, "");
    fdt_property_string(tree, "compatible", "vkvm,vm-1");
    fdt_property_string(tree, "compatible", "vkvm,pc-1");
    fdt_end_node(tree);
    cr_assert(eq(int, fdt_finish(tree), 0));
    expect_refused(&draft, WORDS("/ compatible", "is there twice: leave one out"));
}

Test(description, what_can_be_there_once_is_refused_twice)
{
    struct description whole = full_description();
    struct draft draft = draft_of(&whole);

    add_node(&draft, "/", "chosen@1");
    expect_refused(&draft, WORDS("/chosen: ", "is there twice"));
}

Test(description, memory_may_stand_in_several_nodes_and_one_says_what_is_behind_it)
{
    struct description whole = pc_description(), read;
    struct draft draft = draft_of(&whole);
    struct failure failure = { .message = "" };

    /* Cut in two, and the upper half first. */
    add_node(&draft, "/", "memory@800000");
    set(&draft, "/memory@800000", "device_type", "memory", sizeof("memory"));
    set(&draft, "/memory@800000", "reg", CELLS(W(0), W(0x800000), W(0), W(0x800000)), 16);
    set(&draft, "/memory@0", "reg", CELLS(W(0), W(0), W(0), W(0x800000)), 16);
    cr_assert(eq(int, read_tree(&draft.fdt, &read, &failure), 0), "%s", failure.message);
    cr_assert(eq(uint, read.machine.nram, 2));
    cr_expect(eq(u64, gpa_to_u64(read.machine.ram[0].start), 0));
    cr_expect(eq(u64, gpa_to_u64(read.machine.ram[1].start), 0x800000));
    cr_expect(eq(sz, read.machine.ram_file.path_size, 3));
    set(&draft, "/memory@800000", "vkvm,pager", "anonymous", sizeof("anonymous"));
    expect_refused(&draft, WORDS("vkvm,pager", "another memory node"));
}

Test(description, a_device_stands_with_those_of_its_kind)
{
    struct description whole = pc_description();
    struct draft draft = draft_of(&whole);

    add_node(&draft, "/", "rtc@170");
    set(&draft, "/rtc@170", "compatible", "motorola,mc146818", sizeof("motorola,mc146818"));
    expect_refused(&draft, WORDS("/rtc@170", "put it into /io"));
    draft = draft_of(&whole);
    add_node(&draft, "/io", "test-memory@1");
    set(&draft, "/io/test-memory@1", "compatible", "vkvm,test-memory-1",
        sizeof("vkvm,test-memory-1"));
    expect_refused(&draft, WORDS("/io/test-memory@1", "put it into the root"));
}

Test(description, a_disk_is_of_something_and_has_a_line)
{
    struct description whole = pc_description();
    struct draft draft = draft_of(&whole);

    fdt_delprop(draft.fdt.data, node_of(&draft, "/disk@d0000000"), "vkvm,path");
    expect_refused(&draft, WORDS("/disk@d0000000", "vkvm,path", "give a file"));
    draft = draft_of(&whole);
    fdt_delprop(draft.fdt.data, node_of(&draft, "/disk@d0000000"), "vkvm,line");
    expect_refused(&draft, WORDS("/disk@d0000000", "needs an interrupt line"));
    draft = draft_of(&whole);
    set(&draft, "/disk@d0001000", "vkvm,discard", "", 0);
    expect_refused(&draft, WORDS("/disk@d0001000", "vkvm,discard", "leave one out"));
    draft = draft_of(&whole);
    set(&draft, "/disk@d0001000", "vkvm,speed", "", 0);
    expect_refused(&draft, WORDS("/disk@d0001000", "vkvm,speed", "unknown"));
}

Test(description, too_many_are_refused)
{
    struct description whole = full_description();
    struct draft draft = draft_of(&whole);
    fdt64_t reg[2 * (MACHINE_MAX_RAM + 1)];
    char name[48];

    for (unsigned i = 0; i <= MACHINE_MAX_RAM; i++) {
        reg[2 * i] = cpu_to_fdt64(i * (uint64_t)0x1000000);
        reg[2 * i + 1] = cpu_to_fdt64(0x800000);
    }
    set(&draft, "/memory@0", "reg", reg, sizeof(reg));
    expect_refused(&draft, WORDS("/memory@0", "17 ranges", "at most 16"));
    draft = draft_of(&whole);
    for (unsigned i = 2; i <= MACHINE_MAX_WINDOWS; i++) {
        uint64_t start = 0x1800000000 + (MACHINE_MAX_WINDOWS - i) * (uint64_t)0x1000;
        const fdt64_t place[2] = { cpu_to_fdt64(start), cpu_to_fdt64(0x1000) };

        snprintf(name, sizeof(name), "/windows/window@%llx", (unsigned long long)start);
        add_node(&draft, "/windows", name + strlen("/windows/"));
        set(&draft, name, "compatible", "vkvm,window-1", sizeof("vkvm,window-1"));
        set(&draft, name, "reg", place, sizeof(place));
    }
    expect_refused(&draft, WORDS("too many windows", "at most 64"));
}

Test(description, memory_reservations_are_refused)
{
    struct description whole = full_description();
    struct draft draft = draft_of(&whole);

    cr_assert(eq(int, fdt_add_mem_rsv(draft.fdt.data, 0, 0x1000), 0));
    expect_refused(&draft, WORDS("memory reservations", "leave /memreserve/ out"));
}

Test(description, the_tree_of_a_guest_is_no_description)
{
    struct description whole = full_description(), read;
    const struct vm_fdt_config config = { .machine = &whole.machine, .reserved = 0x1000 };
    struct failure failure = { .message = "" };
    struct vm_fdt fdt;

    cr_assert(eq(int, vm_fdt_build(&config, &fdt, &failure), 0));
    cr_expect(memmem(fdt.data, fdt.size, "a,b", 4) == NULL, "a guest sees a host's file");
    cr_expect(memmem(fdt.data, fdt.size, "swap", 4) == NULL, "a guest sees the swap file");
    cr_expect(eq(int, read_tree(&fdt, &read, &failure), -ENOEXEC));
    vm_fdt_fini(&fdt);
}
