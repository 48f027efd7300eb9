/* SPDX-License-Identifier: BSD-2-Clause */
/* Formats of images other than vkvm's own: how each is recognised, started, or refused by name. */
#include "tests/unit/pc_image_rig.h"

/* Opened as that, entered there. */
static void
expect_opened(const struct pc_file *file, enum arch_protocol protocol, uint64_t entry)
{
    struct opened o;

    open_file(&o, file);
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(eq(int, (int)o.image.protocol, (int)protocol));
    cr_expect(eq(u64, o.image.entry.value, entry));
    cr_expect(eq(u64, o.image.segments[0].start.value, PC_LOAD));
    close_opened(&o);
}

/* --- Multiboot --------------------------------------------------------------- */

Test(image_multiboot, an_elf_file_of_32_bits_with_a_header_is_started_by_multiboot)
{
    struct pc_file file;

    make_multiboot_elf(&file);
    expect_opened(&file, ARCH_PROTOCOL_MULTIBOOT, PC_ENTRY);
}

Test(image_multiboot, an_entry_that_is_a_linked_address_is_found_in_memory)
{
    struct pc_file file;

    make_multiboot_elf(&file);
    set_field(&file, offsetof(Elf32_Ehdr, e_entry), 4, 0xC0000080);
    set_field(&file, sizeof(Elf32_Ehdr) + offsetof(Elf32_Phdr, p_vaddr), 4, 0xC0000000);
    expect_opened(&file, ARCH_PROTOCOL_MULTIBOOT, PC_ENTRY);
}

Test(image_multiboot, an_elf_file_of_32_bits_without_header_or_note_is_refused)
{
    struct pc_file file;

    make_elf32(&file);
    expect_file_refused(&file, "32-bit ELF file without a multiboot header or a PVH note");
}

Test(image_multiboot, the_headers_addresses_say_what_is_loaded_where)
{
    struct pc_file file;
    struct opened o;

    make_multiboot_raw(&file);
    open_file(&o, &file);
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(eq(u64, o.image.segments[0].file_size, 0x4000));
    cr_expect(eq(u64, o.image.segments[0].size, 0x6000));
    cr_expect(eq(u64, o.image.segments[0].offset, 0));
    cr_expect(eq(u64, o.image.entry.value, PC_ENTRY));
    close_opened(&o);
}

Test(image_multiboot, without_end_addresses_the_whole_file_is_loaded)
{
    struct pc_file file;
    struct opened o;

    make_multiboot_raw(&file);
    set_field(&file, MB_AT + 20, 4, 0);
    set_field(&file, MB_AT + 24, 4, 0);
    open_file(&o, &file);
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(eq(u64, o.image.segments[0].file_size, PC_FILE_SIZE));
    cr_expect(eq(u64, o.image.segments[0].size, PC_FILE_SIZE));
    close_opened(&o);
}

Test(image_multiboot, addresses_that_contradict_each_other_are_refused)
{
    struct pc_file file;

    make_multiboot_raw(&file);
    set_field(&file, MB_AT + 16, 4, PC_LOAD + MB_AT + 1); /* loaded from behind the header */
    expect_file_refused(&file, "loaded from");
    set_field(&file, MB_AT + 16, 4, PC_LOAD - 4); /* from before the file */
    expect_file_refused(&file, "loaded from");
    make_multiboot_raw(&file);
    set_field(&file, MB_AT + 20, 4, PC_LOAD);
    expect_file_refused(&file, "out of order");
    make_multiboot_raw(&file);
    set_field(&file, MB_AT + 24, 4, PC_LOAD + 0x3fff);
    expect_file_refused(&file, "out of order");
}

Test(image_multiboot, what_the_loader_does_not_know_it_refuses)
{
    struct pc_file file;

    make_multiboot_elf(&file);
    put_multiboot(&file, 4);
    expect_file_refused(&file, "video mode");
    put_multiboot(&file, 8);
    expect_file_refused(&file, "flags 0x8");
    put_multiboot(&file, 0x20000);
    expect_opened(&file, ARCH_PROTOCOL_MULTIBOOT, PC_ENTRY);
}

/* --- PVH --------------------------------------------------------------------- */

Test(image_pvh, the_note_says_the_entry_and_segments_go_by_physical_address)
{
    struct pc_file file;

    make_pvh(&file);
    expect_opened(&file, ARCH_PROTOCOL_PVH, PC_ENTRY);
}

Test(image_pvh, a_kernel_without_the_entry_starts_by_its_64_bit_one)
{
    struct pc_file file;

    make_pvh(&file);
    set_field(&file, PVH_NOTE_AT, 4, 6);
    set_field(&file, PVH_NOTE_AT + 4, 4, 0);
    memcpy(file.bytes + PVH_NOTE_AT + 12, "Linux", 6);
    expect_opened(&file, ARCH_PROTOCOL_LINUX64, PC_LOAD);
}

Test(image_pvh, an_entry_outside_memory_is_refused)
{
    struct pc_file file;

    make_pvh(&file);
    set_field(&file, PVH_NOTE_AT + 16, 4, PC_LOAD - 1);
    expect_file_refused(&file, "outside every segment");
}

Test(image_pvh, no_segment_lies_where_firmware_does)
{
    struct pc_file file;

    make_pvh(&file);
    set_field(&file, sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_paddr), 8, 0x9f000);
    expect_file_refused(&file, "firmware");
    set_field(&file, sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_paddr), 8, 0xfffff);
    expect_file_refused(&file, "firmware");
}

/* --- Linux ------------------------------------------------------------------- */

Test(image_bzimage, the_64_bit_entry_is_taken_where_there_is_one)
{
    struct pc_file file;
    struct opened o;

    make_bzimage(&file);
    expect_opened(&file, ARCH_PROTOCOL_LINUX64, PC_LOAD + 0x200);
    open_file(&o, &file);
    cr_expect(eq(u64, o.image.segments[0].size, 0x20000), "init_size");
    cr_expect(eq(u64, o.image.segments[0].offset, BZ_KERNEL));
    cr_expect(eq(u64, o.image.command_line_max, 2047));
    cr_expect(not(o.image.linux_kernel), "without a payload it may be memtest86+");
    close_opened(&o);
    set_field(&file, 0x236, 2, 0);
    expect_opened(&file, ARCH_PROTOCOL_LINUX32, PC_LOAD);
    set_field(&file, 0x236, 2, 1);
    set_field(&file, 0x206, 2, 0x020b); /* before there was the field */
    expect_opened(&file, ARCH_PROTOCOL_LINUX32, PC_LOAD);
}

Test(image_bzimage, one_that_needs_a_bios_is_refused_as_that)
{
    struct pc_file file;

    make_bzimage(&file);
    set_field(&file, 0x214, 4, 0); /* as iPXE */
    expect_file_refused(&file, "starts in 16-bit mode only and needs a BIOS");
    make_bzimage(&file);
    set_field(&file, 0x206, 2, 0x0203); /* as memdisk */
    expect_file_refused(&file, "boot protocol 2.03");
    make_bzimage(&file);
    set_field(&file, 0x211, 1, 0);
    expect_file_refused(&file, "zImage");
}

Test(image_bzimage, a_header_that_contradicts_the_file_is_refused)
{
    struct pc_file file;

    make_bzimage(&file);
    file.size = 0x28f;
    expect_file_refused(&file, "ends within its Linux boot header");
    make_bzimage(&file);
    set_field(&file, 0x1f1, 1, 65);
    expect_file_refused(&file, "setup_sects 65");
    make_bzimage(&file);
    file.size = BZ_KERNEL;
    expect_file_refused(&file, "setup_sects");
    make_bzimage(&file);
    file.size -= 16;
    expect_file_refused(&file, "truncated");
    make_bzimage(&file);
    set_field(&file, 0x1fe, 2, 0);
    expect_file_refused(&file, "damaged");
    make_bzimage(&file);
    set_field(&file, 0x230, 4, 0x300000);
    expect_file_refused(&file, "kernel_alignment");
    make_bzimage(&file);
    set_field(&file, 0x260, 4, 0x800000);
    expect_file_refused(&file, "needs memory up to 0x900000: give --memory 16M");
}

Test(image_bzimage, a_payload_outside_the_file_is_none)
{
    struct pc_file file;
    struct opened o;

    make_bzimage(&file);
    set_field(&file, 0x248, 4, BZ_KERNEL_SIZE - 99);
    set_field(&file, 0x24c, 4, 100);
    open_file(&o, &file);
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(not(o.image.linux_kernel));
    cr_expect(eq(u64, strlen(o.image.remark), 0), "'%s'", o.image.remark);
    close_opened(&o);
}

/* --- Unpacking --------------------------------------------------------------- */

#ifdef HAVE_ZLIB
Test(image_unpack, a_payload_is_unpacked_and_started_by_its_pvh_entry)
{
    uint8_t *memory = calloc(1, MEMORY_SIZE);
    struct pc_file file, kernel;
    struct opened o;

    make_compressed(&file);
    make_pvh(&kernel);
    open_file(&o, &file);
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(eq(int, (int)o.image.protocol, ARCH_PROTOCOL_PVH));
    cr_expect(eq(u64, o.image.entry.value, PC_ENTRY));
    cr_expect(o.image.linux_kernel);
    cr_expect(eq(u64, strlen(o.image.remark), 0));
    cr_expect(eq(u64, o.image.command_line_max, 2047));
    cr_assert(eq(int, load(&o, memory), 0));
    cr_expect(memcmp(memory + PC_LOAD, kernel.bytes + TEXT_AT, TEXT_SIZE) == 0);
    close_opened(&o);
    free(memory);
}

Test(image_unpack, no_unpack_leaves_it_to_the_kernel)
{
    struct image_request wanted = request;
    struct pc_file file;
    struct opened o;

    make_compressed(&file);
    wanted.no_unpack = true;
    open_wanted(&o, &wanted, file.bytes, file.size);
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(eq(int, (int)o.image.protocol, ARCH_PROTOCOL_LINUX64));
    cr_expect(eq(u64, strlen(o.image.remark), 0));
    cr_expect(o.image.linux_kernel);
    close_opened(&o);
}

/* The kernel unpacks itself then, and the remark says why. */
static void
expect_fallback(const struct pc_file *file, const char *why)
{
    struct opened o;

    open_file(&o, file);
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(eq(int, (int)o.image.protocol, ARCH_PROTOCOL_LINUX64));
    cr_expect(strstr(o.image.remark, why) != NULL, "'%s' lacks '%s'", o.image.remark, why);
    cr_expect(eq(uint, o.image.nsegments, 1));
    close_opened(&o);
}

Test(image_unpack, what_cannot_be_unpacked_is_started_the_other_way_with_the_reason)
{
    struct pc_file file;
    uint32_t size;

    make_compressed(&file);
    file.bytes[BZ_KERNEL + BZ_PAYLOAD + 100] ^= 0xff;
    expect_fallback(&file, "gzip data is damaged");
    make_compressed(&file);
    memcpy(&size, file.bytes + 0x24c, sizeof(size));
    set_field(&file, BZ_KERNEL + BZ_PAYLOAD + size - 4, 4, 0xffffffff);
    expect_fallback(&file, "4294967295 bytes");
    set_field(&file, BZ_KERNEL + BZ_PAYLOAD + size - 4, 4, PC_FILE_SIZE - 1);
    expect_fallback(&file, "damaged");
    make_compressed(&file);
    memcpy(file.bytes + BZ_KERNEL + BZ_PAYLOAD, "BZh91AY&", 8);
    expect_fallback(&file, "compressed with bzip2");
    memset(file.bytes + BZ_KERNEL + BZ_PAYLOAD, 0x11, 8);
    expect_fallback(&file, "not compressed in a way");
    set_field(&file, 0x24c, 4, 3);
    expect_fallback(&file, "3 compressed bytes");
}

Test(image_unpack, an_image_that_is_compressed_as_a_whole_is_opened_as_what_it_is)
{
    static struct pc_file file;
    uint32_t size;
    uint8_t *packed;
    struct opened o;

    make_compressed(&file);
    memcpy(&size, file.bytes + 0x24c, sizeof(size));
    packed = file.bytes + BZ_KERNEL + BZ_PAYLOAD;
    open_bytes(&o, packed, size);
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(eq(int, (int)o.image.protocol, ARCH_PROTOCOL_PVH));
    close_opened(&o);
    expect_bytes_refused(packed, size - 1, "cannot be unpacked");
}
#endif

Test(image_unpack, other_methods_for_a_whole_image_are_refused_by_name)
{
    expect_bytes_refused("\xfd"
                         "7zXZ\0 and so on",
                         15, "is compressed with XZ");
}

/* --- Flat -------------------------------------------------------------------- */

Test(image_flat, a_file_without_headers_goes_where_the_user_says)
{
    static const uint8_t code[] = { 0xf4, 0xeb, 0xfd };
    struct image_request wanted = request;
    struct opened o;

    wanted.flat = (struct image_flat){ true, 0x7c00, 0x7c01, ARCH_PROTOCOL_FLAT16 };
    open_wanted(&o, &wanted, code, sizeof(code));
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(eq(u64, o.image.segments[0].start.value, 0x7c00));
    cr_expect(eq(u64, o.image.segments[0].size, sizeof(code)));
    cr_expect(eq(u64, o.image.entry.value, 0x7c01));
    close_opened(&o);
    wanted.flat.entry = 0x7c03;
    open_wanted(&o, &wanted, code, sizeof(code));
    cr_expect(strstr(o.failure.message, "outside every segment") != NULL);
    close_opened(&o);
    wanted.flat.load = wanted.flat.entry = 0x100000;
    open_wanted(&o, &wanted, code, sizeof(code));
    cr_expect(strstr(o.failure.message, "cannot start in real mode") != NULL);
    close_opened(&o);
    open_wanted(&o, &wanted, code, 0);
    cr_expect(strstr(o.failure.message, "is empty") != NULL);
    close_opened(&o);
}

/* --- What cannot be started --------------------------------------------------- */

Test(image_foreign, things_are_named_for_what_they_are)
{
    static const struct {
        size_t at;
        const char *bytes;
        size_t size;
        const char *is;
    } cases[] = {
        { 0x38, "ARM\x64", 4, "64-bit ARM" },    { 0, "QFI\xfb", 4, "qcow2" },
        { 0, "070701", 6, "cpio archive" },      { 0, "MZ", 2, "program for UEFI" },
        { 0, "\x55\xaa", 2, "option ROM" },      { 0, "\xd0\x0d\xfe\xed", 4, "device tree" },
        { 0x1fe, "\x55\xaa", 2, "boot sector" },
    };
    static struct pc_file file;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start_file(&file);
        memcpy(file.bytes + cases[i].at, cases[i].bytes, cases[i].size);
        expect_file_refused(&file, cases[i].is);
    }
    start_file(&file);
    set_field(&file, 0, 4, 0xE85250D6);
    set_field(&file, 12, 4, (uint32_t)(0 - 0xE85250D6u));
    expect_file_refused(&file, "multiboot 2");
}

Test(image_foreign, a_bios_is_known_by_its_last_jump)
{
    uint8_t *rom = calloc(1, 0x20000);

    rom[0x20000 - 16] = 0xEA;
    expect_bytes_refused(rom, 0x20000, "is a BIOS");
    expect_bytes_refused(rom, 0x1ffff, "is not an ELF file");
    free(rom);
}
