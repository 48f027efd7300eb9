/* SPDX-License-Identifier: BSD-2-Clause */
/* What a PC image is told, and where that lies: around the image, whatever its place. */
#include "tests/unit/pc_image_rig.h"
#include "vmm/boot/pc_start.h"
#include "vmm/x86_64/start.h"

struct started {
    struct machine machine;
    struct image image;
    struct pc_start pc;
    struct failure failure;
    uint8_t *memory;
    int status;
};

static void
open_start(struct started *s, enum arch_protocol protocol, uint64_t place, uint64_t size,
           struct pc_start_config config)
{
    machine_init(&s->machine);
    machine_set_memory(&s->machine, MEMORY_SIZE);
    machine_make_pc(&s->machine);
    s->image = (struct image){ .fd = -1,
                               .protocol = protocol,
                               .entry = gpa_from_u64(place),
                               .nsegments = 1,
                               .segments = { { .start = gpa_from_u64(place), .size = size } } };
    config.machine = &s->machine;
    config.image = &s->image;
    if (config.path == NULL)
        config.path = "dir/an image";
    if (config.append == NULL)
        config.append = "one two";
    config.rsdp = 0xE0000;
    s->status = pc_start_open(&config, &s->pc, &s->failure);
    s->memory = calloc(1, MEMORY_SIZE);
    if (s->status == 0) {
        const struct guest_memory memory = { .write = write_array, .context = s->memory };

        cr_assert(eq(int, pc_start_load(&s->pc, &memory, &s->failure), 0));
    }
}

static void
close_start(struct started *s)
{
    if (s->status == 0)
        pc_start_close(&s->pc);
    free(s->memory);
}

static uint64_t
peek(const struct started *s, uint64_t at, size_t size)
{
    uint64_t value = 0;

    cr_assert(at <= MEMORY_SIZE - size);
    memcpy(&value, s->memory + at, size);
    return value;
}

static void
expect_text(const struct started *s, uint64_t at, const char *text)
{
    cr_assert(at < MEMORY_SIZE);
    cr_expect(strcmp((const char *)s->memory + at, text) == 0, "'%s'", s->memory + at);
}

/* A file with `size` bytes; its name is in `path`. */
static int
make_module(char path[40], size_t size)
{
    int fd = memfd_create("module", MFD_CLOEXEC);

    cr_assert(eq(int, ftruncate(fd, (off_t)size), 0));
    cr_assert(eq(i64, pwrite(fd, "first", 5, 0), 5));
    snprintf(path, 40, "/proc/self/fd/%d", fd);
    return fd;
}

Test(pc_start, multiboot_is_told_its_name_memory_and_modules)
{
    char path[40];
    int fd = make_module(path, 5000);
    const struct pc_module module = { path, strlen(path), "NR_CPUS=2" };
    struct started s;
    uint64_t info, mods, map;

    open_start(&s, ARCH_PROTOCOL_MULTIBOOT, 0x400000, 0x1234,
               (struct pc_start_config){ .nmodules = 1, .modules = &module });
    cr_assert(eq(int, s.status, 0), "%s", s.failure.message);
    info = s.pc.start.info.value;
    cr_expect(eq(u64, peek(&s, info, 4), 0x24d));
    cr_expect(eq(u64, peek(&s, info + 4, 4), 640));
    cr_expect(eq(u64, peek(&s, info + 8, 4), (MEMORY_SIZE >> 10) - 1024));
    expect_text(&s, peek(&s, info + 16, 4), "an_image one two");
    cr_expect(eq(u64, peek(&s, info + 20, 4), 1));
    mods = peek(&s, info + 24, 4);
    cr_expect(eq(u64, peek(&s, mods, 4), 0x402000), "behind the image");
    cr_expect(eq(u64, peek(&s, mods + 4, 4), 0x402000 + 5000));
    expect_text(&s, peek(&s, mods + 8, 4), "NR_CPUS=2");
    cr_expect(memcmp(s.memory + 0x402000, "first", 5) == 0);
    cr_expect(eq(u64, peek(&s, info + 44, 4), 3 * 24));
    map = peek(&s, info + 48, 4);
    cr_expect(eq(u64, peek(&s, map, 4), 20));
    cr_expect(eq(u64, peek(&s, map + 12, 8), 0xA0000));
    cr_expect(eq(u64, peek(&s, map + 24 + 20, 4), E820_RESERVED));
    close_start(&s);
    close(fd);
}

/* Xen subtracts from it, and loads what starts processors there. */
Test(pc_start, multiboot_finds_the_size_of_base_memory_where_a_bios_says_it)
{
    struct started s;

    open_start(&s, ARCH_PROTOCOL_MULTIBOOT, 0x400000, 0x1000, (struct pc_start_config){ 0 });
    cr_assert(eq(int, s.status, 0), "%s", s.failure.message);
    cr_expect(eq(u64, peek(&s, 0x413, 2), 640));
    close_start(&s);
    open_start(&s, ARCH_PROTOCOL_MULTIBOOT, 0x400, 0x14, (struct pc_start_config){ 0 });
    cr_assert(eq(int, s.status, 0), "%s", s.failure.message);
    cr_expect(eq(u64, peek(&s, 0x413, 2), 0), "the image lies there");
    close_start(&s);
}

Test(pc_start, pvh_is_told_everything_in_its_structure)
{
    char path[40];
    int fd = make_module(path, 5000);
    struct started s;
    uint64_t info;

    open_start(&s, ARCH_PROTOCOL_PVH, 0x100000, 0x1234, (struct pc_start_config){ .initrd = path });
    cr_assert(eq(int, s.status, 0), "%s", s.failure.message);
    info = s.pc.start.info.value;
    cr_expect(eq(u64, peek(&s, info, 4), 0x336ec578));
    cr_expect(eq(u64, peek(&s, info + 4, 4), 1));
    cr_expect(eq(u64, peek(&s, info + 12, 4), 1));
    cr_expect(eq(u64, peek(&s, peek(&s, info + 16, 8), 8), MEMORY_SIZE - 0x2000), "high");
    cr_expect(eq(u64, peek(&s, peek(&s, info + 16, 8) + 8, 8), 5000));
    expect_text(&s, peek(&s, info + 24, 8), "one two");
    cr_expect(eq(u64, peek(&s, info + 32, 8), 0xE0000));
    cr_expect(eq(u64, peek(&s, info + 48, 4), 3));
    cr_expect(eq(u64, peek(&s, peek(&s, info + 40, 8) + 8, 8), 0xA0000));
    close_start(&s);
    close(fd);
}

Test(pc_start, linux_gets_boot_params)
{
    char path[40];
    int fd = make_module(path, 5000);
    struct started s;
    uint64_t info;

    open_start(&s, ARCH_PROTOCOL_LINUX64, 0x100000, 0x1234,
               (struct pc_start_config){ .initrd = path });
    cr_assert(eq(int, s.status, 0), "%s", s.failure.message);
    info = s.pc.start.info.value;
    cr_expect(eq(u64, peek(&s, info + 0x70, 8), 0xE0000));
    cr_expect(eq(u64, peek(&s, info + 0x1e8, 1), 3));
    cr_expect(memcmp(s.memory + info + 0x202, "HdrS", 4) == 0);
    cr_expect(eq(u64, peek(&s, info + 0x210, 1), 0xff));
    cr_expect(eq(u64, peek(&s, info + 0x218, 4), MEMORY_SIZE - 0x2000));
    cr_expect(eq(u64, peek(&s, info + 0x21c, 4), 5000));
    expect_text(&s, peek(&s, info + 0x228, 4), "one two");
    cr_expect(eq(u64, peek(&s, info + 0x2d0 + 20 + 16, 4), E820_RESERVED));
    cr_expect(eq(u64, s.pc.start.tables.value % PAGE_SIZE, 0));
    close_start(&s);
    close(fd);
}

/* kvm-unit-tests' realmode loads at 0x8000. */
Test(pc_start, information_lies_around_an_image_wherever_that_is)
{
    static const uint64_t places[] = { 0, 0x1000, 0x1800, 0x2000, 0x8000, 0x9e000 };
    struct started s;

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        open_start(&s, ARCH_PROTOCOL_LINUX64, places[i], 0x2000, (struct pc_start_config){ 0 });
        cr_assert(eq(int, s.status, 0), "%s", s.failure.message);
        cr_expect(not(image_overlaps(&s.image, s.pc.start.info, s.pc.info_size)));
        cr_expect(not(image_overlaps(&s.image, s.pc.start.tables,
                                     arch_start_tables_size(ARCH_PROTOCOL_LINUX64))));
        cr_expect(eq(int, s.pc.start.vectors, places[i] != 0), "vectors unless the image is there");
        close_start(&s);
    }
}

static void
expect_start_refused(enum arch_protocol protocol, struct pc_start_config config, uint64_t size,
                     const char *cause)
{
    struct started s;

    open_start(&s, protocol, 0x1000, size, config);
    cr_expect(eq(int, s.status, -ENOEXEC));
    cr_expect(strstr(s.failure.message, cause) != NULL, "%s", s.failure.message);
    cr_expect(strstr(s.failure.message, ": ") != NULL, "%s", s.failure.message);
    close_start(&s);
}

Test(pc_start, what_there_is_no_room_or_no_word_for_is_refused)
{
    char path[40], empty[40], *word = strdup("word");
    int fd = make_module(path, MEMORY_SIZE), other = memfd_create("empty", MFD_CLOEXEC);
    const struct pc_module module = { path, strlen(path), "" };

    snprintf(empty, sizeof(empty), "/proc/self/fd/%d", other);
    expect_start_refused(ARCH_PROTOCOL_PVH, (struct pc_start_config){ .initrd = path }, 0x1000,
                         "no room for an initial RAM disk");
    expect_start_refused(ARCH_PROTOCOL_PVH, (struct pc_start_config){ .initrd = empty }, 0x1000,
                         "is empty");
    expect_start_refused(ARCH_PROTOCOL_PVH, (struct pc_start_config){ 0 }, 0x9f000,
                         "no room below 640K");
    expect_start_refused(ARCH_PROTOCOL_LINUX64,
                         (struct pc_start_config){ .nmodules = 1, .modules = &module }, 0x1000,
                         "takes no --module");
    expect_start_refused(ARCH_PROTOCOL_FLAT16,
                         (struct pc_start_config){
                             .append = "", .narguments = 1, .arguments = &word },
                         0x1000, "takes no arguments");
    free(word);
    close(fd);
    close(other);
}

Test(pc_start, a_command_line_longer_than_the_kernels_is_refused)
{
    struct started s;
    char word[] = "three", *words[] = { word };
    struct pc_start_config config = { .append = "one", .arguments = words, .narguments = 1 };

    open_start(&s, ARCH_PROTOCOL_LINUX64, 0x100000, 0x1000, config);
    cr_assert(eq(int, s.status, 0));
    cr_expect(strcmp(s.pc.command_line, "one three") == 0);
    s.image.command_line_max = 9;
    config.machine = &s.machine;
    config.image = &s.image;
    config.path = "image";
    pc_start_close(&s.pc);
    cr_expect(eq(int, pc_start_open(&config, &s.pc, &s.failure), 0));
    pc_start_close(&s.pc);
    s.image.command_line_max = 8;
    s.status = pc_start_open(&config, &s.pc, &s.failure);
    cr_expect(eq(int, s.status, -ENOEXEC));
    cr_expect(strstr(s.failure.message, "9 bytes") != NULL, "%s", s.failure.message);
    close_start(&s);
}

/* --- Registers --------------------------------------------------------------- */

Test(start, each_protocol_finds_its_information_in_its_register)
{
    struct arch_start start = { .entry = { 0x12345 }, .info = { 0x5000 }, .tables = { 0x1000 } };
    struct kvm_regs regs;

    start.protocol = ARCH_PROTOCOL_MULTIBOOT;
    start_regs(&start, 0, &regs);
    cr_expect(eq(u64, regs.rax, 0x2BADB002));
    cr_expect(eq(u64, regs.rbx, 0x5000));
    start.protocol = ARCH_PROTOCOL_PVH;
    start_regs(&start, 0, &regs);
    cr_expect(eq(u64, regs.rbx, 0x5000));
    start.protocol = ARCH_PROTOCOL_LINUX32;
    start_regs(&start, 0, &regs);
    cr_expect(eq(u64, regs.rsi, 0x5000));
    cr_expect(eq(u64, regs.rbx | regs.rdi | regs.rbp, 0), "as boot.rst wants");
    cr_expect(eq(u64, regs.rip, 0x12345));
    start.protocol = ARCH_PROTOCOL_FLAT16;
    start_regs(&start, 0, &regs);
    cr_expect(eq(u64, regs.rip, 5));
    cr_expect(not(start_has(&start, 1)));
}

Test(start, each_mode_has_its_segments_and_control_registers)
{
    struct arch_start start = { .entry = { 0x12345 }, .tables = { 0x3000 } };
    struct kvm_sregs sregs = { 0 };

    start.protocol = ARCH_PROTOCOL_LINUX64;
    start_sregs(&start, &sregs);
    cr_expect(eq(u64, sregs.cr3, 0x4000));
    cr_expect(eq(u64, sregs.efer, 0x500));
    cr_expect(eq(uint, sregs.cs.selector, 0x10));
    cr_expect(eq(uint, sregs.cs.l, 1));
    cr_expect(eq(uint, sregs.ds.selector, 0x18));
    start.protocol = ARCH_PROTOCOL_PVH;
    start_sregs(&start, &sregs);
    cr_expect(eq(u64, sregs.cr0, 0x11), "paging is off");
    cr_expect(eq(u64, sregs.cr4 | sregs.efer, 0));
    cr_expect(eq(uint, sregs.cs.db, 1));
    start.protocol = ARCH_PROTOCOL_FLAT16;
    start_sregs(&start, &sregs);
    cr_expect(eq(u64, sregs.cs.base, 0x12340));
    cr_expect(eq(u64, sregs.ss.base, 0x3000));
}

/* --- The memory map ----------------------------------------------------------- */

Test(e820, what_is_added_replaces_what_was_there)
{
    struct e820 map;

    e820_init(&map);
    cr_assert(e820_add(&map, 0, 0x1000, E820_RAM));
    cr_assert(e820_add(&map, 0x1000, 0x1000, E820_RAM));
    cr_expect(eq(uint, map.count, 1), "neighbours are one");
    cr_assert(e820_add(&map, 0x800, 0x1000, E820_RESERVED));
    cr_assert(eq(uint, map.count, 3));
    cr_expect(eq(u64, map.ranges[0].size, 0x800));
    cr_expect(eq(u64, map.ranges[2].start, 0x1800));
    cr_expect(eq(u64, map.ranges[2].size, 0x800));
    cr_expect(eq(u64, e820_ram_end(&map, 0x7ff), 0x800));
    cr_expect(eq(u64, e820_ram_end(&map, 0x800), 0x800));
    cr_assert(e820_add(&map, 0x800, 0, E820_RAM));
    cr_expect(eq(uint, map.count, 3));
    cr_assert(e820_add(&map, 0, 0x2000, E820_RAM));
    cr_expect(eq(uint, map.count, 1));
}

Test(e820, a_full_map_stays_as_it_is)
{
    struct e820 map;

    e820_init(&map);
    for (unsigned i = 0; i < E820_MAX; i++)
        cr_assert(e820_add(&map, i * 0x2000ull, 0x1000, E820_RAM));
    cr_expect(not(e820_add(&map, 0x800000, 0x1000, E820_RAM)));
    cr_expect(eq(uint, map.count, E820_MAX));
    cr_assert(e820_add(&map, 0x1000, 0x1000, E820_RAM));
    cr_expect(eq(uint, map.count, E820_MAX - 1));
}
