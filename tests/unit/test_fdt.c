/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device tree: what is built is read back with libfdt, property by property;
 * files and overlays are applied or refused; the tree finds its place in memory.
 */
#include "guest/include/vkvm_abi.h"
#include "tests/unit/environment.h"
#include "vmm/boot/fdt.h"
#include "vmm/x86_64/arch.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_SIZE ((uint64_t)64 << 20)
#define RESERVED 0x9000u

static const struct machine_window windows[] = {
    { .start = { 0x1000000000 },
      .size = 0x200000,
      .format = &vpte64_format,
      .root = 0x123456789003,
      .protection = VM_PROT_ALL },
    { .start = { 0x1000400000 },
      .size = 0x1000,
      .format = &vpte32_format,
      .root = 0,
      .protection = VM_PROT_RW },
};

static struct machine
machine_of(void)
{
    struct machine machine;

    machine_init(&machine);
    machine_set_memory(&machine, MEMORY_SIZE);
    machine.nvcpus = 3;
    machine.nwindows = 2;
    memcpy(machine.windows, windows, sizeof(windows));
    return machine;
}

static struct vm_fdt
build_machine(const struct machine *machine, char *const *arguments, size_t narguments)
{
    const struct vm_fdt_config config = {
        .machine = machine,
        .reserved = RESERVED,
        .arguments = arguments,
        .narguments = narguments,
    };
    struct failure failure = { .message = "" };
    struct vm_fdt fdt;

    cr_assert(eq(int, vm_fdt_build(&config, &fdt, &failure), 0), "%s", failure.message);
    return fdt;
}

static struct vm_fdt
build(char *const *arguments, size_t narguments)
{
    const struct machine machine = machine_of();

    return build_machine(&machine, arguments, narguments);
}

static int
node_at(const struct vm_fdt *fdt, const char *path)
{
    int node = fdt_path_offset(fdt->data, path);

    cr_assert(ge(int, node, 0), "%s: %s", path, fdt_strerror(node));
    return node;
}

/* The property is exactly these bytes. */
static void
expect_bytes(const struct vm_fdt *fdt, const char *path, const char *name, const void *bytes,
             size_t size)
{
    int length = 0;
    const void *value = fdt_getprop(fdt->data, node_at(fdt, path), name, &length);

    cr_assert(value != NULL, "%s lacks %s", path, name);
    cr_expect(eq(int, length, (int)size), "%s %s", path, name);
    cr_expect(length == (int)size && memcmp(value, bytes, size) == 0, "%s %s", path, name);
}

#define EXPECT_STRING(fdt, path, name, text) expect_bytes(fdt, path, name, text, sizeof(text))

static void
expect_u32s(const struct vm_fdt *fdt, const char *path, const char *name, unsigned count,
            uint32_t a, uint32_t b)
{
    fdt32_t cells[2] = { cpu_to_fdt32(a), cpu_to_fdt32(b) };

    expect_bytes(fdt, path, name, cells, count * sizeof(cells[0]));
}

static void
expect_u64s(const struct vm_fdt *fdt, const char *path, const char *name, unsigned count,
            uint64_t a, uint64_t b)
{
    fdt64_t cells[2] = { cpu_to_fdt64(a), cpu_to_fdt64(b) };

    expect_bytes(fdt, path, name, cells, count * sizeof(cells[0]));
}

static void
expect_cells(const struct vm_fdt *fdt, const char *path, uint32_t address, uint32_t size)
{
    expect_u32s(fdt, path, "#address-cells", 1, address, 0);
    expect_u32s(fdt, path, "#size-cells", 1, size, 0);
}

static int
count_subnodes(const struct vm_fdt *fdt, const char *path)
{
    int node, count = 0;

    fdt_for_each_subnode (node, fdt->data, node_at(fdt, path))
        count++;
    return count;
}

/* A file of these bytes, by name. */
struct file {
    int fd;
    char path[40];
};

static struct file
file_of(const void *bytes, size_t size)
{
    struct file file = { .fd = memfd_create("tree", MFD_CLOEXEC) };

    cr_assert(file.fd >= 0);
    cr_assert(eq(i64, write(file.fd, bytes, size), (ssize_t)size));
    snprintf(file.path, sizeof(file.path), "/proc/self/fd/%d", file.fd);
    return file;
}

/* An overlay that gives `target` a property "new" = 42 and a node "added". */
static size_t
make_overlay(void *buffer, size_t size, const char *target)
{
    cr_assert(eq(int, fdt_create(buffer, (int)size), 0));
    cr_assert(eq(int, fdt_finish_reservemap(buffer), 0));
    fdt_begin_node(buffer, "");
    fdt_begin_node(buffer, "fragment@0");
    fdt_property_string(buffer, "target-path", target);
    fdt_begin_node(buffer, "__overlay__");
    fdt_property_u32(buffer, "new", 42);
    fdt_begin_node(buffer, "added");
    fdt_property_string(buffer, "status", "okay");
    fdt_end_node(buffer);
    fdt_end_node(buffer);
    fdt_end_node(buffer);
    fdt_end_node(buffer);
    cr_assert(eq(int, fdt_finish(buffer), 0));
    return fdt_totalsize(buffer);
}

Test(fdt, the_built_tree_is_sound_and_packed)
{
    struct vm_fdt fdt = build(NULL, 0);

    cr_expect(eq(int, fdt_check_full(fdt.data, fdt.size), 0));
    cr_expect(eq(sz, fdt.size, fdt_totalsize(fdt.data)));
    cr_expect(lt(sz, fdt.size, PAGE_SIZE));
    vm_fdt_fini(&fdt);
}

Test(fdt, the_root_says_what_machine_it_is)
{
    struct vm_fdt fdt = build(NULL, 0);

    EXPECT_STRING(&fdt, "/", "compatible", VKVM_FDT_COMPATIBLE);
    EXPECT_STRING(&fdt, "/", "model", "vkvm");
    expect_cells(&fdt, "/", 2, 2);
    cr_expect(eq(int, count_subnodes(&fdt, "/"), 5));
    vm_fdt_fini(&fdt);
}

Test(fdt, memory_and_what_of_it_the_start_uses_are_told)
{
    struct vm_fdt fdt = build(NULL, 0);
    uint64_t address = 1, size = 1;

    EXPECT_STRING(&fdt, "/memory@0", "device_type", "memory");
    expect_u64s(&fdt, "/memory@0", "reg", 2, 0, MEMORY_SIZE);
    cr_assert(eq(int, fdt_num_mem_rsv(fdt.data), 1));
    cr_assert(eq(int, fdt_get_mem_rsv(fdt.data, 0, &address, &size), 0));
    cr_expect(eq(u64, address, 0));
    cr_expect(eq(u64, size, RESERVED));
    vm_fdt_fini(&fdt);
}

Test(fdt, every_vcpu_has_a_node)
{
    struct vm_fdt fdt = build(NULL, 0);
    char path[32];

    expect_cells(&fdt, "/cpus", 1, 0);
    cr_expect(eq(int, count_subnodes(&fdt, "/cpus"), 3));
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "/cpus/cpu@%x", i);
        EXPECT_STRING(&fdt, path, "device_type", "cpu");
        EXPECT_STRING(&fdt, path, "compatible", "x86_64");
        expect_u32s(&fdt, path, "reg", 1, i, 0);
    }
    vm_fdt_fini(&fdt);
}

Test(fdt, the_largest_machine_fits)
{
    struct machine machine = machine_of();
    struct vm_fdt fdt;

    for (unsigned i = 0; i < MACHINE_MAX_WINDOWS; i++) {
        machine.windows[i] = windows[0];
        machine.windows[i].start = gpa_add(windows[0].start, i * windows[0].size);
    }
    machine.nvcpus = MACHINE_MAX_VCPUS;
    machine.nwindows = MACHINE_MAX_WINDOWS;
    fdt = build_machine(&machine, NULL, 0);
    cr_expect(eq(int, count_subnodes(&fdt, "/windows"), MACHINE_MAX_WINDOWS));
    cr_expect(eq(int, count_subnodes(&fdt, "/cpus"), MACHINE_MAX_VCPUS));
    EXPECT_STRING(&fdt, "/cpus/cpu@3f", "device_type", "cpu");
    vm_fdt_fini(&fdt);
}

Test(fdt, memory_of_several_ranges_is_one_node)
{
    const fdt64_t reg[4] = { 0, cpu_to_fdt64(VKVM_WINDOW_BASE), cpu_to_fdt64(VKVM_RAM_HIGH_BASE),
                             cpu_to_fdt64(((uint64_t)100 << 30) - VKVM_WINDOW_BASE) };
    struct machine machine = machine_of();
    struct vm_fdt fdt;

    machine_set_memory(&machine, (uint64_t)100 << 30);
    fdt = build_machine(&machine, NULL, 0);
    EXPECT_STRING(&fdt, "/memory@0", "device_type", "memory");
    expect_bytes(&fdt, "/memory@0", "reg", reg, sizeof(reg));
    vm_fdt_fini(&fdt);
}

Test(fdt, mapped_files_are_described)
{
    struct machine machine = machine_of();
    struct vm_fdt fdt;

    machine.files[0] =
        (struct machine_file){ .start = { 0x1001000000 }, .size = 0x3000, .shared = true };
    machine.files[1] =
        (struct machine_file){ .start = { 0x1002000000 }, .size = 0x1000, .read_only = true };
    machine.nfiles = 2;
    fdt = build_machine(&machine, NULL, 0);
    EXPECT_STRING(&fdt, "/files", "compatible", "vkvm,files-1");
    expect_cells(&fdt, "/files", 2, 2);
    cr_expect(eq(int, count_subnodes(&fdt, "/files"), 2));
    EXPECT_STRING(&fdt, "/files/file@1001000000", "compatible", "vkvm,file-1");
    expect_u64s(&fdt, "/files/file@1001000000", "reg", 2, 0x1001000000, 0x3000);
    EXPECT_STRING(&fdt, "/files/file@1001000000", "vkvm,sharing", "shared");
    EXPECT_STRING(&fdt, "/files/file@1001000000", "vkvm,protection", "rwx");
    EXPECT_STRING(&fdt, "/files/file@1002000000", "vkvm,sharing", "private");
    EXPECT_STRING(&fdt, "/files/file@1002000000", "vkvm,protection", "rx");
    vm_fdt_fini(&fdt);
}

Test(fdt, doorbell_and_console_have_their_ports)
{
    struct vm_fdt fdt = build(NULL, 0);

    EXPECT_STRING(&fdt, "/io", "compatible", "vkvm,io");
    expect_cells(&fdt, "/io", 1, 1);
    cr_expect(eq(int, count_subnodes(&fdt, "/io"), 2));
    EXPECT_STRING(&fdt, "/io/doorbell@510", "compatible", "vkvm,doorbell-1");
    expect_u32s(&fdt, "/io/doorbell@510", "reg", 2, VKVM_PORT_DOORBELL, 4);
    EXPECT_STRING(&fdt, "/io/console@e9", "compatible", "vkvm,console-1");
    expect_u32s(&fdt, "/io/console@e9", "reg", 2, VKVM_PORT_CONSOLE, 1);
    vm_fdt_fini(&fdt);
}

Test(fdt, standard_output_is_the_console)
{
    struct vm_fdt fdt = build(NULL, 0);
    const char *path = fdt_getprop(fdt.data, node_at(&fdt, "/chosen"), "stdout-path", NULL);

    cr_assert(path != NULL);
    cr_expect(eq(int, node_at(&fdt, path), node_at(&fdt, "/io/console@e9")));
    EXPECT_STRING(&fdt, "/chosen", "stdin-path", "/io/console@e9");
    vm_fdt_fini(&fdt);
}

Test(fdt, windows_are_described_with_format_root_and_protection)
{
    struct vm_fdt fdt = build(NULL, 0);

    EXPECT_STRING(&fdt, "/windows", "compatible", "vkvm,windows-1");
    expect_cells(&fdt, "/windows", 2, 2);
    expect_u64s(&fdt, "/windows", "reg", 2, VKVM_WINDOW_BASE, VKVM_WINDOW_END - VKVM_WINDOW_BASE);
    cr_expect(eq(int, count_subnodes(&fdt, "/windows"), 2));
    EXPECT_STRING(&fdt, "/windows/window@1000000000", "compatible", "vkvm,window-1");
    expect_u64s(&fdt, "/windows/window@1000000000", "reg", 2, 0x1000000000, 0x200000);
    EXPECT_STRING(&fdt, "/windows/window@1000000000", "vkvm,format", "vpte64");
    expect_u64s(&fdt, "/windows/window@1000000000", "vkvm,root", 1, 0x123456789003, 0);
    EXPECT_STRING(&fdt, "/windows/window@1000000000", "vkvm,protection", "rwx");
    expect_u64s(&fdt, "/windows/window@1000400000", "reg", 2, 0x1000400000, 0x1000);
    EXPECT_STRING(&fdt, "/windows/window@1000400000", "vkvm,format", "vpte32");
    expect_u64s(&fdt, "/windows/window@1000400000", "vkvm,root", 1, 0, 0);
    EXPECT_STRING(&fdt, "/windows/window@1000400000", "vkvm,protection", "rw");
    vm_fdt_fini(&fdt);
}

Test(fdt, without_arguments_there_are_no_bootargs)
{
    struct vm_fdt fdt = build(NULL, 0);

    cr_expect(fdt_getprop(fdt.data, node_at(&fdt, "/chosen"), "bootargs", NULL) == NULL);
    cr_expect(fdt_getprop(fdt.data, node_at(&fdt, "/chosen"), "vkvm,args", NULL) == NULL);
    vm_fdt_fini(&fdt);
}

Test(fdt, arguments_come_joined_and_each_by_itself)
{
    char one[] = "one", two[] = "two words", empty[] = "", three[] = "3";
    char *const arguments[] = { one, two, empty, three };
    struct vm_fdt fdt = build(arguments, 4);

    EXPECT_STRING(&fdt, "/chosen", "bootargs", "one two words  3");
    EXPECT_STRING(&fdt, "/chosen", "vkvm,args", "one\0two words\0\0003");
    cr_expect(eq(int, fdt_stringlist_count(fdt.data, node_at(&fdt, "/chosen"), "vkvm,args"), 4));
    cr_expect(lt(sz, fdt.size, PAGE_SIZE), "packed again");
    vm_fdt_fini(&fdt);
}

Test(fdt, long_arguments_make_the_tree_grow_up_to_its_limit)
{
    size_t size = VM_FDT_MAX_SIZE;
    char *text = malloc(size + 1), *const arguments[] = { text };
    const struct machine machine = machine_of();
    const struct vm_fdt_config config = {
        .machine = &machine, .reserved = RESERVED, .arguments = arguments, .narguments = 1
    };
    struct failure failure;
    struct vm_fdt fdt;

    memset(text, 'x', size);
    text[size / 4] = '\0';
    cr_assert(eq(int, vm_fdt_build(&config, &fdt, &failure), 0), "%s", failure.message);
    expect_bytes(&fdt, "/chosen", "bootargs", text, size / 4 + 1);
    vm_fdt_fini(&fdt);
    text[size / 4] = 'x';
    text[size / 2] = '\0';
    cr_expect(eq(int, vm_fdt_build(&config, &fdt, &failure), -ENOEXEC));
    cr_expect(strstr(failure.message, "larger than 4M") != NULL, "%s", failure.message);
    text[size / 2] = 'x';
    text[size] = '\0';
    cr_expect(eq(int, vm_fdt_build(&config, &fdt, &failure), -ENOEXEC));
    free(text);
}

Test(fdt, a_tree_from_a_file_is_taken_as_it_is)
{
    struct vm_fdt built = build(NULL, 0), loaded;
    struct file file = file_of(built.data, built.size);
    struct failure failure;

    cr_assert(eq(int, vm_fdt_load(file.path, &loaded, &failure), 0), "%s", failure.message);
    cr_assert(eq(sz, loaded.size, built.size));
    cr_expect(memcmp(loaded.data, built.data, built.size) == 0);
    vm_fdt_fini(&loaded);
    vm_fdt_fini(&built);
    close(file.fd);
}

Test(fdt, arguments_enter_a_loaded_tree_that_has_no_chosen_node)
{
    char buffer[512], argument[] = "word", *const arguments[] = { argument };
    struct failure failure;
    struct vm_fdt fdt;
    struct file file;

    cr_assert(eq(int, fdt_create_empty_tree(buffer, sizeof(buffer)), 0));
    file = file_of(buffer, sizeof(buffer));
    cr_assert(eq(int, vm_fdt_load(file.path, &fdt, &failure), 0), "%s", failure.message);
    cr_assert(eq(int, vm_fdt_set_arguments(&fdt, arguments, 1, &failure), 0));
    EXPECT_STRING(&fdt, "/chosen", "bootargs", "word");
    cr_expect(eq(int, fdt_check_full(fdt.data, fdt.size), 0));
    vm_fdt_fini(&fdt);
    close(file.fd);
}

Test(fdt, a_file_that_is_no_tree_is_refused)
{
    struct vm_fdt built = build(NULL, 0), loaded;
    struct failure failure;
    struct file file;
    size_t sizes[] = { 0, 1, 39, 40, built.size / 2, built.size - 1 };

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        file = file_of(built.data, sizes[i]);
        cr_expect(eq(int, vm_fdt_load(file.path, &loaded, &failure), -ENOEXEC));
        cr_expect(strstr(failure.message, "not a device tree blob") != NULL, "%s", failure.message);
        cr_expect(loaded.data == NULL);
        close(file.fd);
    }
    vm_fdt_fini(&built);
}

Test(fdt, a_file_that_is_missing_or_too_large_cannot_be_loaded)
{
    struct failure failure;
    struct vm_fdt fdt;
    struct file file = file_of("", 0);

    cr_expect(eq(int, vm_fdt_load("/nonexistent/tree", &fdt, &failure), -ENOEXEC));
    cr_expect(strstr(failure.message, "no such file") != NULL);
    cr_expect(eq(int, vm_fdt_load("/", &fdt, &failure), -ENOEXEC));
    cr_assert(eq(int, ftruncate(file.fd, (off_t)VM_FDT_MAX_SIZE + 1), 0));
    cr_expect(eq(int, vm_fdt_load(file.path, &fdt, &failure), -ENOEXEC));
    cr_expect(strstr(failure.message, "larger than 4M") != NULL);
    close(file.fd);
}

Test(fdt, an_overlay_changes_its_target_and_nothing_else)
{
    char buffer[1024];
    struct file file = file_of(buffer, make_overlay(buffer, sizeof(buffer), "/io/console@e9"));
    struct vm_fdt fdt = build(NULL, 0);
    struct failure failure;

    cr_assert(eq(int, vm_fdt_apply_overlay(&fdt, file.path, &failure), 0), "%s", failure.message);
    cr_expect(eq(int, fdt_check_full(fdt.data, fdt.size), 0));
    expect_u32s(&fdt, "/io/console@e9", "new", 1, 42, 0);
    EXPECT_STRING(&fdt, "/io/console@e9/added", "status", "okay");
    expect_u32s(&fdt, "/io/console@e9", "reg", 2, VKVM_PORT_CONSOLE, 1);
    expect_u64s(&fdt, "/memory@0", "reg", 2, 0, MEMORY_SIZE);
    vm_fdt_fini(&fdt);
    close(file.fd);
}

Test(fdt, an_overlay_without_its_target_is_refused_and_the_tree_unchanged)
{
    char buffer[1024];
    struct file file = file_of(buffer, make_overlay(buffer, sizeof(buffer), "/nowhere"));
    struct vm_fdt fdt = build(NULL, 0), same = build(NULL, 0);
    struct failure failure;

    cr_expect(eq(int, vm_fdt_apply_overlay(&fdt, file.path, &failure), -ENOEXEC));
    cr_expect(strstr(failure.message, "does not fit the device tree") != NULL, "%s",
              failure.message);
    cr_assert(eq(sz, fdt.size, same.size));
    cr_expect(memcmp(fdt.data, same.data, same.size) == 0);
    cr_expect(eq(int, vm_fdt_apply_overlay(&fdt, "/nonexistent/o", &failure), -ENOEXEC));
    vm_fdt_fini(&fdt);
    vm_fdt_fini(&same);
    close(file.fd);
}

/* Place a tree of size bytes; returns its GPA, 0 for no room. */
static uint64_t
place(size_t size, uint64_t memory_size, const struct image *image)
{
    const struct vm_fdt fdt = { .size = size };
    struct failure failure = { .message = "" };
    gpa_t gpa = { 0 };

    if (vm_fdt_place(&fdt, gpa_from_u64(RESERVED), memory_size, image, &gpa, &failure) == 0)
        return gpa.value;
    cr_expect(strstr(failure.message, "no room for the device tree") != NULL);
    return 0;
}

Test(fdt, the_tree_lies_page_aligned_at_the_top_of_memory)
{
    const struct image image = { .nsegments = 0 };

    cr_expect(eq(u64, place(1, MEMORY_SIZE, &image), MEMORY_SIZE - 0x1000));
    cr_expect(eq(u64, place(0x1000, MEMORY_SIZE, &image), MEMORY_SIZE - 0x1000));
    cr_expect(eq(u64, place(0x1001, MEMORY_SIZE, &image), MEMORY_SIZE - 0x2000));
}

Test(fdt, the_tree_lies_where_the_boot_page_tables_reach)
{
    const struct image image = { .nsegments = 0 };

    cr_expect(eq(u64, place(1, (uint64_t)60 << 30, &image), ARCH_BOOT_MAP_END - 0x1000));
}

Test(fdt, the_tree_goes_below_segments_in_its_way)
{
    const struct image image = {
        .nsegments = 3,
        .segments = {
            { .start = { 0x100000 }, .size = 0x1000 },
            { .start = { 0x3f00800 }, .size = 0x1000 },
            { .start = { MEMORY_SIZE - 0x800 }, .size = 0x800 },
        },
    };

    cr_expect(eq(u64, place(1, MEMORY_SIZE, &image), MEMORY_SIZE - 0x2000));
    cr_expect(eq(u64, place(0x180000, MEMORY_SIZE, &image), 0x3f00000 - 0x180000));
    cr_expect(eq(u64, place(1, 0x3f02000, &image), 0x3eff000),
              "a segment beyond the top is passed over");
}

Test(fdt, no_room_for_the_tree_is_refused)
{
    const struct image image = {
        .nsegments = 1,
        .segments = { { .start = { RESERVED + 0x1000 }, .size = MEMORY_SIZE - RESERVED - 0x1000 } },
    };

    cr_expect(eq(u64, place(0x1000, MEMORY_SIZE, &image), RESERVED));
    cr_expect(eq(u64, place(0x1001, MEMORY_SIZE, &image), 0));
    cr_expect(eq(u64, place(MEMORY_SIZE, MEMORY_SIZE, &image), 0));
    cr_expect(eq(u64, place(2 * MEMORY_SIZE, MEMORY_SIZE, &image), 0));
}

/* Apply a damaged overlay or load a damaged tree: any answer but a crash or an unsound tree. */
static void
try_damaged(const uint8_t *bytes, size_t size, unsigned *accepted)
{
    struct vm_fdt fdt = build(NULL, 0);
    struct file file = file_of(bytes, size);
    struct failure failure;

    if (vm_fdt_apply_overlay(&fdt, file.path, &failure) == 0)
        (*accepted)++;
    cr_assert(eq(int, fdt_check_full(fdt.data, fdt.size), 0));
    vm_fdt_fini(&fdt);
    close(file.fd);
}

Test(fdt, random_damage_to_an_overlay_is_refused_or_harmless)
{
    uint8_t good[1024] = { 0 }, bad[1024];
    size_t size = make_overlay(good, sizeof(good), "/chosen");
    unsigned accepted = 0;

    environment_seed("fdt");
    for (int round = 0; round < 10000; round++) {
        memcpy(bad, good, size);
        for (int n = rand() % 3; n >= 0; n--)
            bad[(size_t)rand() % size] = (uint8_t)rand();
        try_damaged(bad, rand() % 8 == 0 ? (size_t)rand() % size : size, &accepted);
    }
    cr_expect(accepted > 100, "only %u accepted: the test is blind", accepted);
}
