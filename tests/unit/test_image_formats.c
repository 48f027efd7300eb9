/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Images of the other formats than vkvm's own: how each is recognised and started, what it is
 * refused for, and three hundred damaged ones.
 */
#include "tests/unit/image_rig.h"

#define BZ_SIZE 0x2000u
#define BZ_KERNEL 0x400u /* one sector of set-up code behind the boot sector */
#define ELF_SIZE 0x2000u

/* A file of any format, as bytes. */
struct file {
    uint8_t bytes[ELF_SIZE];
    size_t size;
};

static void
put16(struct file *f, size_t at, uint16_t value)
{
    memcpy(f->bytes + at, &value, sizeof(value));
}

static void
put32(struct file *f, size_t at, uint32_t value)
{
    memcpy(f->bytes + at, &value, sizeof(value));
}

static void
put64(struct file *f, size_t at, uint64_t value)
{
    memcpy(f->bytes + at, &value, sizeof(value));
}

/* Linux's boot header, protocol 2.15, with a 64-bit entry and nothing to unpack. */
static void
make_bzimage(struct file *f)
{
    *f = (struct file){ .size = BZ_SIZE };
    f->bytes[0x1f1] = 1; /* setup_sects */
    put32(f, 0x1f4, (BZ_SIZE - BZ_KERNEL) / 16);
    put16(f, 0x1fe, 0xAA55);
    f->bytes[0x201] = 0x66;
    memcpy(f->bytes + 0x202, "HdrS", 4);
    put16(f, 0x206, 0x020f);
    f->bytes[0x211] = 1; /* LOADED_HIGH */
    put32(f, 0x214, 0x100000);
    put32(f, 0x22c, 0x7fffffff);
    put32(f, 0x230, 0x200000);
    f->bytes[0x234] = 1;
    put16(f, 0x236, 1);
    put32(f, 0x238, 2047);
    put64(f, 0x258, 0x400000);
    put32(f, 0x260, 0x10000);
}

/* One segment at 1 MiB, entry 8 bytes into it; the header of multiboot 1 in its first bytes. */
static void
make_multiboot(struct file *f)
{
    const Elf32_Ehdr ehdr = {
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_EXEC,
        .e_machine = EM_386,
        .e_version = EV_CURRENT,
        .e_entry = 0x100020,
        .e_phoff = sizeof(Elf32_Ehdr),
        .e_ehsize = sizeof(Elf32_Ehdr),
        .e_phentsize = sizeof(Elf32_Phdr),
        .e_phnum = 1,
    };
    const Elf32_Phdr phdr = {
        .p_type = PT_LOAD,
        .p_offset = 0x1000,
        .p_vaddr = 0x100000,
        .p_paddr = 0x100000,
        .p_filesz = 0x800,
        .p_memsz = 0x1800,
        .p_flags = PF_R | PF_X,
    };

    *f = (struct file){ .size = ELF_SIZE };
    memcpy(f->bytes, &ehdr, sizeof(ehdr));
    memcpy(f->bytes + sizeof(ehdr), &phdr, sizeof(phdr));
    put32(f, 0x1000, 0x1BADB002);
    put32(f, 0x1004, 3);
    put32(f, 0x1008, (uint32_t) - (0x1BADB002 + 3));
}

/* Two headers: a segment at 1 MiB with virtual address 0, and the Xen note with the entry. */
static void
make_pvh(struct file *f)
{
    const Elf64_Ehdr ehdr = {
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = 0x100000,
        .e_phoff = sizeof(Elf64_Ehdr),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 2,
    };
    const Elf64_Phdr phdrs[] = {
        { .p_type = PT_LOAD,
          .p_offset = 0x1000,
          .p_paddr = 0x100000,
          .p_filesz = 0x800,
          .p_memsz = 0x1800,
          .p_flags = PF_R | PF_X },
        { .p_type = PT_NOTE, .p_offset = 0x200, .p_filesz = 20, .p_align = 4 },
    };

    *f = (struct file){ .size = ELF_SIZE };
    memcpy(f->bytes, &ehdr, sizeof(ehdr));
    memcpy(f->bytes + sizeof(ehdr), phdrs, sizeof(phdrs));
    put32(f, 0x200, 4);  /* size of the name */
    put32(f, 0x204, 4);  /* ... and of the entry */
    put32(f, 0x208, 18); /* XEN_ELFNOTE_PHYS32_ENTRY */
    memcpy(f->bytes + 0x20c, "Xen", 4);
    put32(f, 0x210, 0x100040);
}

/* --- How each is started ------------------------------------------------- */

static void
expect_start(const struct file *f, enum arch_protocol protocol, uint64_t entry)
{
    struct opened o;

    open_bytes(&o, f->bytes, f->size);
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(eq(int, (int)o.image.protocol, (int)protocol));
    cr_expect(eq(u64, gpa_to_u64(o.image.entry), entry));
    cr_expect(image_wants_pc(&o.image));
    close_opened(&o);
}

Test(image_formats, a_bzimage_is_started_by_its_64_bit_entry)
{
    struct file f;

    make_bzimage(&f);
    expect_start(&f, ARCH_PROTOCOL_LINUX64, 0x400200);
}

Test(image_formats, a_bzimage_without_one_is_started_by_its_32_bit_entry)
{
    struct file f;

    make_bzimage(&f);
    put16(&f, 0x236, 0);
    expect_start(&f, ARCH_PROTOCOL_LINUX32, 0x400000);
}

Test(image_formats, a_32_bit_elf_file_with_a_multiboot_header_is_started_by_that)
{
    struct file f;

    make_multiboot(&f);
    expect_start(&f, ARCH_PROTOCOL_MULTIBOOT, 0x100020);
}

Test(image_formats, a_multiboot_header_with_addresses_needs_no_elf)
{
    struct file f = { .size = 0x1000 };

    put32(&f, 0x10, 0x1BADB002);
    put32(&f, 0x14, 0x10000);
    put32(&f, 0x18, (uint32_t) - (0x1BADB002 + 0x10000));
    put32(&f, 0x1c, 0x100010); /* header_addr */
    put32(&f, 0x20, 0x100000); /* load_addr */
    put32(&f, 0x2c, 0x100080); /* entry_addr */
    expect_start(&f, ARCH_PROTOCOL_MULTIBOOT, 0x100080);
}

Test(image_formats, an_elf_file_with_the_xen_note_is_started_by_pvh)
{
    struct file f;

    make_pvh(&f);
    expect_start(&f, ARCH_PROTOCOL_PVH, 0x100040);
}

Test(image_formats, a_file_without_headers_lies_and_starts_where_the_user_says)
{
    struct file f = { .size = 0x200 };
    struct image_request r;
    struct image image;
    struct failure failure;
    char path[40];
    int fd = memfd_create("image", MFD_CLOEXEC);

    cr_assert(eq(i64, write(fd, f.bytes, f.size), (ssize_t)f.size));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    r = request(path);
    r.flat = (struct image_flat){ true, 0x7c00, 0x7c00, ARCH_PROTOCOL_FLAT16 };
    cr_assert(eq(int, image_open(&r, &image, &failure), 0), "%s", failure.message);
    cr_expect(eq(int, (int)image.protocol, (int)ARCH_PROTOCOL_FLAT16));
    cr_expect(eq(u64, gpa_to_u64(image.segments[0].start), 0x7c00));
    image_close(&image);
    r.flat.entry = 0x100000;
    cr_expect(eq(int, image_open(&r, &image, &failure), -ENOEXEC));
    cr_expect(strstr(failure.message, "in real mode") != NULL, "%s", failure.message);
    close(fd);
}

/* --- What is refused ----------------------------------------------------- */

static void
expect_file_refused(const struct file *f, const char *cause)
{
    expect_bytes_refused(f->bytes, f->size, cause);
}

Test(image_formats, a_bzimages_header_is_checked)
{
    struct file f;

    make_bzimage(&f);
    f.bytes[0x211] = 0;
    expect_file_refused(&f, "is a zImage");
    make_bzimage(&f);
    put32(&f, 0x214, 0);
    expect_file_refused(&f, "starts in 16-bit mode only");
    make_bzimage(&f);
    put16(&f, 0x1fe, 0);
    expect_file_refused(&f, "damaged Linux boot header");
    make_bzimage(&f);
    f.bytes[0x1f1] = 65;
    expect_file_refused(&f, "setup_sects 65");
    make_bzimage(&f);
    put32(&f, 0x1f4, 0x10000);
    expect_file_refused(&f, "is truncated");
    make_bzimage(&f);
    put32(&f, 0x230, 0x300000);
    expect_file_refused(&f, "do not go together");
    make_bzimage(&f);
    put64(&f, 0x258, MEMORY_SIZE);
    put32(&f, 0x230, 0x1000);
    expect_file_refused(&f, "memory");
    make_bzimage(&f);
    f.size = 0x280;
    expect_file_refused(&f, "ends within its Linux boot header");
}

Test(image_formats, a_multiboot_header_is_checked)
{
    struct file f;

    make_multiboot(&f);
    put32(&f, 0x1004, 4);
    put32(&f, 0x1008, (uint32_t) - (0x1BADB002 + 4));
    expect_file_refused(&f, "wants a video mode");
    put32(&f, 0x1004, 8);
    put32(&f, 0x1008, (uint32_t) - (0x1BADB002 + 8));
    expect_file_refused(&f, "wants more of its multiboot loader");
}

Test(image_formats, what_cannot_be_started_is_named)
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

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct file f = { .size = 0x1000 };
        memcpy(f.bytes + cases[i].at, cases[i].bytes, cases[i].size);
        expect_file_refused(&f, cases[i].is);
    }
}

/* --- Damage -------------------------------------------------------------- */

static void (*const makers[])(struct file *f) = { make_bzimage, make_multiboot, make_pvh };
#define MAKERS (sizeof(makers) / sizeof(makers[0]))
#define HEADERS 0x280u /* all that a format reads lies before this, multiboot's header apart */
#define DAMAGED 300u

static uint64_t
below(uint64_t n)
{
    return (uint64_t)rand() % n;
}

/* A number of 1 to 8 bytes becomes one of those that programs get wrong, or anything; or an end. */
static void
damage(struct file *f)
{
    static const uint64_t borders[] = { 0,         1,          0x7f,      0xff,
                                        0x7fff,    0xffff,     INT32_MAX, UINT32_MAX,
                                        INT64_MAX, UINT64_MAX, 0x100000,  0xfffffffffffff000 };
    uint64_t value = below(4) == 0 ? (uint64_t)rand() << 32 | (uint64_t)rand()
                                   : borders[below(sizeof(borders) / sizeof(borders[0]))];
    size_t size = (size_t)1 << below(4);
    size_t at = below(8) == 0 ? 0x1000 + below(0x30) : below(HEADERS);

    if (below(8) == 0)
        f->size = below(f->size);
    else
        memcpy(f->bytes + at, &value, size);
}

/* What was opened can be loaded: in memory, in the file, in order. */
static void
expect_sound(const struct image *image)
{
    uint64_t end = 0;

    cr_assert(image->nsegments != 0 && image->nsegments <= IMAGE_MAX_SEGMENTS);
    for (unsigned i = 0; i < image->nsegments; i++) {
        const struct image_segment *s = &image->segments[i];
        uint64_t start = gpa_to_u64(s->start);
        cr_assert(s->size != 0 && s->file_size <= s->size);
        cr_assert(start >= end && start < MEMORY_SIZE && s->size <= MEMORY_SIZE - start);
        end = start + s->size;
    }
    cr_assert(gpa_to_u64(image->entry) < ARCH_BOOT_MAP_END);
}

Test(image_formats, three_hundred_damaged_images_are_refused_in_one_line_or_sound)
{
    unsigned refused = 0;

    environment_seed("image_formats");
    for (unsigned i = 0; i < DAMAGED; i++) {
        struct file f;
        struct opened o;
        makers[i % MAKERS](&f);
        for (uint64_t n = 1 + below(4); n > 0; n--)
            damage(&f);
        open_bytes(&o, f.bytes, f.size);
        if (o.status == 0) {
            expect_sound(&o.image);
        } else {
            refused++;
            cr_assert(eq(int, o.status, -ENOEXEC));
            cr_assert(strchr(o.failure.message, '\n') == NULL);
            cr_assert(strstr(o.failure.message, ": ") != NULL, "'%s'", o.failure.message);
        }
        close_opened(&o);
    }
    cr_expect(refused > DAMAGED / 4, "%u", refused);
}
