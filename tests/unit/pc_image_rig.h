/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Images of every format that a PC starts, made in memory: small, sound, and made of fields that
 * tests may spoil.
 */
#ifndef PC_IMAGE_RIG_H
#define PC_IMAGE_RIG_H

#include "tests/unit/image_rig.h"

#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

#define PC_FILE_SIZE 0x8000u
#define PC_LOAD 0x100000u
#define PC_ENTRY 0x100080u

/* The 32-bit ELF file: headers, a multiboot header, then its segment. */
#define MB_AT 0x100u
#define TEXT_AT 0x1000u
#define TEXT_SIZE 0x3000u

/* bzImage: two sectors of setup besides the boot sector. */
#define BZ_SETUP 2u
#define BZ_KERNEL ((BZ_SETUP + 1) * 512u)
#define BZ_KERNEL_SIZE (PC_FILE_SIZE - BZ_KERNEL)
#define BZ_PAYLOAD 0x400u /* in the kernel */

struct pc_file {
    size_t size;
    uint8_t bytes[PC_FILE_SIZE];
};

/* A field of a header. */
struct pc_field {
    size_t at;
    unsigned width;
};

struct pc_format {
    const char *name;
    void (*make)(struct pc_file *file);
    const struct pc_field *fields;
    unsigned nfields;
    bool flat; /* opened as one */
};

static inline void
set_field(struct pc_file *file, size_t at, unsigned width, uint64_t value)
{
    for (unsigned i = 0; i < width && at + i < PC_FILE_SIZE; i++)
        file->bytes[at + i] = (uint8_t)(value >> 8 * i);
}

static inline void
start_file(struct pc_file *file)
{
    memset(file, 0, sizeof(*file));
    file->size = PC_FILE_SIZE;
    for (size_t i = TEXT_AT; i < PC_FILE_SIZE; i++)
        file->bytes[i] = (uint8_t)(i * 7 + (i >> 8) + 1);
}

static inline void
put_multiboot(struct pc_file *file, uint32_t flags)
{
    set_field(file, MB_AT, 4, 0x1BADB002);
    set_field(file, MB_AT + 4, 4, flags);
    set_field(file, MB_AT + 8, 4, (uint32_t)(0 - 0x1BADB002u - flags));
}

static inline void
make_elf32(struct pc_file *file)
{
    const Elf32_Ehdr ehdr = {
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_EXEC,
        .e_machine = EM_386,
        .e_version = EV_CURRENT,
        .e_entry = PC_ENTRY,
        .e_phoff = sizeof(ehdr),
        .e_ehsize = sizeof(ehdr),
        .e_phentsize = sizeof(Elf32_Phdr),
        .e_phnum = 1,
    };
    const Elf32_Phdr phdr = { .p_type = PT_LOAD,
                              .p_offset = TEXT_AT,
                              .p_vaddr = PC_LOAD,
                              .p_paddr = PC_LOAD,
                              .p_filesz = TEXT_SIZE,
                              .p_memsz = TEXT_SIZE + 0x1000 };

    start_file(file);
    memcpy(file->bytes, &ehdr, sizeof(ehdr));
    memcpy(file->bytes + sizeof(ehdr), &phdr, sizeof(phdr));
}

static inline void
make_multiboot_elf(struct pc_file *file)
{
    make_elf32(file);
    put_multiboot(file, 3);
}

/* No ELF: the header says what is loaded where. */
static inline void
make_multiboot_raw(struct pc_file *file)
{
    start_file(file);
    put_multiboot(file, 0x10003);
    set_field(file, MB_AT + 12, 4, PC_LOAD + MB_AT);  /* header_addr */
    set_field(file, MB_AT + 16, 4, PC_LOAD);          /* load_addr */
    set_field(file, MB_AT + 20, 4, PC_LOAD + 0x4000); /* load_end_addr */
    set_field(file, MB_AT + 24, 4, PC_LOAD + 0x6000); /* bss_end_addr */
    set_field(file, MB_AT + 28, 4, PC_ENTRY);
}

/* A 64-bit ELF file with a PVH note, which stands behind the headers. */
#define PVH_NOTE_AT 0x200u

static inline void
make_pvh(struct pc_file *file)
{
    const Elf64_Ehdr ehdr = {
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = PC_LOAD,
        .e_phoff = sizeof(ehdr),
        .e_ehsize = sizeof(ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 2,
    };
    const Elf64_Phdr phdrs[] = {
        { .p_type = PT_LOAD,
          .p_offset = TEXT_AT,
          .p_paddr = PC_LOAD,
          .p_filesz = TEXT_SIZE,
          .p_memsz = TEXT_SIZE + 0x1000 }, /* at virtual address 0, as a Linux kernel's */
        { .p_type = PT_NOTE, .p_offset = PVH_NOTE_AT, .p_filesz = 20, .p_align = 4 },
    };

    start_file(file);
    memcpy(file->bytes, &ehdr, sizeof(ehdr));
    memcpy(file->bytes + sizeof(ehdr), phdrs, sizeof(phdrs));
    set_field(file, PVH_NOTE_AT, 4, 4);
    set_field(file, PVH_NOTE_AT + 4, 4, 4);
    set_field(file, PVH_NOTE_AT + 8, 4, 18);
    memcpy(file->bytes + PVH_NOTE_AT + 12, "Xen", 4);
    set_field(file, PVH_NOTE_AT + 16, 4, PC_ENTRY);
}

/* Boot protocol 2.15, 64-bit entry, as Debian's; the payload is not compressed at all. */
static inline void
make_bzimage(struct pc_file *file)
{
    start_file(file);
    set_field(file, 0x1f1, 1, BZ_SETUP);
    set_field(file, 0x1f4, 4, BZ_KERNEL_SIZE / 16);
    set_field(file, 0x1fe, 2, 0xAA55);
    set_field(file, 0x201, 1, 0x6a);
    memcpy(file->bytes + 0x202, "HdrS", 4);
    set_field(file, 0x206, 2, 0x020f);
    set_field(file, 0x211, 1, 1);
    set_field(file, 0x214, 4, 0x100000);
    set_field(file, 0x22c, 4, 0x7fffffff);
    set_field(file, 0x230, 4, 0x100000);
    set_field(file, 0x234, 1, 1);
    set_field(file, 0x236, 2, 1);
    set_field(file, 0x238, 4, 2047);
    set_field(file, 0x258, 8, PC_LOAD);
    set_field(file, 0x260, 4, 0x20000);
}

#ifdef HAVE_ZLIB
/* A bzImage whose payload is the PVH image, by gzip. */
static inline void
make_compressed(struct pc_file *file)
{
    static struct pc_file kernel;
    z_stream stream = { 0 };

    make_pvh(&kernel);
    make_bzimage(file);
    stream.next_in = kernel.bytes;
    stream.avail_in = PC_FILE_SIZE;
    stream.next_out = file->bytes + BZ_KERNEL + BZ_PAYLOAD;
    stream.avail_out = PC_FILE_SIZE - BZ_KERNEL - BZ_PAYLOAD;
    cr_assert(
        eq(int, deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK));
    cr_assert(eq(int, deflate(&stream, Z_FINISH), Z_STREAM_END));
    set_field(file, 0x248, 4, BZ_PAYLOAD);
    set_field(file, 0x24c, 4, stream.total_out);
    deflateEnd(&stream);
}
#endif

static inline void
open_file(struct opened *o, const struct pc_file *file)
{
    open_bytes(o, file->bytes, file->size);
}

static inline void
expect_file_refused(const struct pc_file *file, const char *cause)
{
    expect_bytes_refused(file->bytes, file->size, cause);
}

#endif
