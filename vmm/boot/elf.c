/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ELF images: vkvm's own start, PVH, multiboot, and a Linux kernel that is not compressed.
 *
 * libelf decodes the headers from the file descriptor, and gelf hides whether they are of 32 or 64
 * bits; every number it gives comes from the image and is checked here.  Segments are placed by
 * their physical address alone: a Linux kernel has one with virtual address 0.
 *
 * How it is started is the first of these that it has: a multiboot header; a PVH entry in its
 * notes; the notes of a Linux kernel, for the 64-bit entry; else it is vkvm's own (vkvm_abi.h).
 *
 * Sources: System V ABI, generic part (gABI), chapters 4 and 5; Xen public/elfnote.h.
 */
#include "vmm/boot/image_format.h"

#include <gelf.h>
#include <libelf.h>

/* The note of the PVH entry (Xen public/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY). */
#define NOTE_XEN "Xen"
#define NOTE_XEN_PHYS32_ENTRY 18u

/* Notes that every Linux kernel has, of whatever type. */
#define NOTE_LINUX "Linux"

/* A program of the Go linker, which needs no C library, has this one. */
#define NOTE_GO "Go\0"

/* What is found out before segments are taken. */
struct elf_image {
    struct image_check *check;
    Elf *elf;
    GElf_Ehdr ehdr;
    bool is_32bit;
    size_t nphdrs;
    bool has_multiboot;
    size_t multiboot;
    bool has_pvh;
    uint64_t pvh_entry;
    bool is_linux;   /* the notes of a kernel */
    bool is_program; /* ... of a program for one */
    bool is_dynamic;
};

static const struct {
    unsigned number;
    const char *name;
} machines[] = {
    { EM_AARCH64, "64-bit ARM" }, { EM_ARM, "ARM" },       { EM_RISCV, "RISC-V" },
    { EM_PPC64, "PowerPC" },      { EM_PPC, "PowerPC" },   { EM_S390, "IBM Z" },
    { EM_MIPS, "MIPS" },          { EM_SPARCV9, "SPARC" },
};

static const char *
machine_name(unsigned number)
{
    for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
        if (machines[i].number == number)
            return machines[i].name;
    }
    return "another processor";
}

static int
check_identity(const struct elf_image *elf)
{
    const char *ident = elf_getident(elf->elf, NULL);
    int class = gelf_getclass(elf->elf);

    if (elf_kind(elf->elf) != ELF_K_ELF || ident == NULL ||
        (class != ELFCLASS32 && class != ELFCLASS64))
        return IMAGE_REFUSE_PLAIN(elf->check, "is not an ELF file, though it starts like one: copy "
                                              "or link it again");
    if (ident[EI_DATA] != ELFDATA2LSB)
        return IMAGE_REFUSE_PLAIN(elf->check, "is a big-endian ELF file: build it for x86-64");
    return 0;
}

static int
check_header(struct elf_image *elf)
{
    const GElf_Ehdr *ehdr = gelf_getehdr(elf->elf, &elf->ehdr);

    if (ehdr == NULL)
        return IMAGE_REFUSE_PLAIN(elf->check, "has a damaged ELF header: copy or link it again");
    if (ehdr->e_machine != EM_X86_64 && ehdr->e_machine != EM_386)
        return IMAGE_REFUSE(elf->check, "is for %s (ELF machine %u): build it for x86-64",
                            machine_name(ehdr->e_machine), ehdr->e_machine);
    if (ehdr->e_type == ET_DYN)
        return IMAGE_REFUSE_PLAIN(elf->check, "is position-independent: link it at a fixed address "
                                              "(-static -no-pie)");
    if (ehdr->e_type != ET_EXEC)
        return IMAGE_REFUSE(elf->check,
                            "is ELF type %u, not an executable: link it (-static -no-pie)",
                            ehdr->e_type);
    elf->is_32bit = gelf_getclass(elf->elf) == ELFCLASS32;
    return 0;
}

static bool
is_note(const GElf_Nhdr *note, const char *name, const char *wanted, size_t size)
{
    return note->n_namesz == size && memcmp(name, wanted, size) == 0;
}

/* The address in a note's description: 4 or 8 bytes, else there is none. */
static void
take_pvh(struct elf_image *elf, const char *description, size_t size)
{
    uint32_t narrow;

    if (size == sizeof(narrow)) {
        memcpy(&narrow, description, sizeof(narrow));
        elf->pvh_entry = narrow;
    } else if (size == sizeof(elf->pvh_entry)) {
        memcpy(&elf->pvh_entry, description, sizeof(elf->pvh_entry));
    } else {
        return;
    }
    elf->has_pvh = true;
}

/* One that is longer is cut. */
static void
take_build_id(struct image *image, const char *description, size_t size)
{
    image->build_id_size = size < IMAGE_BUILD_ID_MAX ? size : IMAGE_BUILD_ID_MAX;
    memcpy(image->build_id, description, image->build_id_size);
}

/*
 * The C library's start files of a program for Linux bring NT_GNU_ABI_TAG (Linux Standard Base,
 * "Linux ABI note section"), and no kernel has it.
 */
static void
take_note(struct elf_image *elf, const GElf_Nhdr *note, const char *name, const char *description)
{
    if (is_note(note, name, NOTE_XEN, sizeof(NOTE_XEN)) && note->n_type == NOTE_XEN_PHYS32_ENTRY)
        take_pvh(elf, description, note->n_descsz);
    else if (is_note(note, name, NOTE_LINUX, sizeof(NOTE_LINUX)))
        elf->is_linux = true;
    else if (is_note(note, name, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) &&
             note->n_type == NT_GNU_BUILD_ID)
        take_build_id(elf->check->image, description, note->n_descsz);
    else if (is_note(note, name, NOTE_GO, sizeof(NOTE_GO)) ||
             (is_note(note, name, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) &&
              note->n_type == NT_GNU_ABI_TAG))
        elf->is_program = true;
}

static void
take_notes(struct elf_image *elf, const GElf_Phdr *phdr)
{
    uint64_t file_size = elf->check->file_size;
    Elf_Data *notes;
    GElf_Nhdr note;
    size_t at, next, name, description;

    if (phdr->p_filesz > file_size || phdr->p_offset > file_size - phdr->p_filesz)
        return; /* nothing of it is loaded */
    notes = elf_getdata_rawchunk(elf->elf, (int64_t)phdr->p_offset, phdr->p_filesz,
                                 phdr->p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
    if (notes == NULL)
        return;
    for (at = 0; (next = gelf_getnote(notes, at, &note, &name, &description)) > 0; at = next)
        take_note(elf, &note, (const char *)notes->d_buf + name,
                  (const char *)notes->d_buf + description);
}

/* What the program headers say of the image as a whole.  Returns false when there are none. */
static bool
survey(struct elf_image *elf)
{
    size_t entry_size = gelf_fsize(elf->elf, ELF_T_PHDR, 1, EV_CURRENT);
    GElf_Phdr phdr;

    /* libelf does not look at e_phentsize. */
    if (elf->ehdr.e_phentsize != entry_size || elf_getphdrnum(elf->elf, &elf->nphdrs) != 0 ||
        elf->nphdrs == 0)
        return false;
    for (size_t i = 0; i < elf->nphdrs; i++) {
        if (gelf_getphdr(elf->elf, (int)i, &phdr) == NULL)
            return false;
        if (phdr.p_type == PT_NOTE)
            take_notes(elf, &phdr);
        elf->is_dynamic |= phdr.p_type == PT_INTERP || phdr.p_type == PT_DYNAMIC;
    }
    return true;
}

/* How is it started? */
static int
choose_protocol(struct elf_image *elf)
{
    struct image *image = elf->check->image;

    if (elf->is_dynamic)
        return IMAGE_REFUSE_PLAIN(elf->check, "is dynamically linked: link it with -static");
    if (elf->is_program)
        return IMAGE_REFUSE_PLAIN(elf->check,
                                  "is a program for Linux, and no kernel is there to run it: give "
                                  "a kernel, or link it without the C library (-nostdlib)");
    image->linux_kernel = elf->is_linux;
    if (elf->has_multiboot)
        image->protocol = ARCH_PROTOCOL_MULTIBOOT;
    else if (elf->has_pvh)
        image->protocol = ARCH_PROTOCOL_PVH;
    else if (elf->is_32bit)
        return IMAGE_REFUSE_PLAIN(elf->check, "is a 32-bit ELF file without a multiboot header or "
                                              "a PVH note: build it for x86-64 (-m64), or with one "
                                              "of these");
    else
        image->protocol = elf->is_linux ? ARCH_PROTOCOL_LINUX64 : ARCH_PROTOCOL_VKVM;
    return 0;
}

static int
take_segments(const struct elf_image *elf)
{
    GElf_Phdr phdr;
    int error = 0;

    for (size_t i = 0; i < elf->nphdrs && error == 0; i++) {
        if (gelf_getphdr(elf->elf, (int)i, &phdr) == NULL)
            return IMAGE_REFUSE_PLAIN(elf->check, "has no program headers in the file: copy or "
                                                  "link it again");
        if (phdr.p_type != PT_LOAD || (phdr.p_memsz == 0 && phdr.p_filesz == 0))
            continue;
        error = image_add_segment(elf->check, &(struct image_segment){
                                                  .start = gpa_from_u64(phdr.p_paddr),
                                                  .size = phdr.p_memsz,
                                                  .file_size = phdr.p_filesz,
                                                  .offset = phdr.p_offset,
                                              });
    }
    if (error == 0 && elf->check->image->nsegments == 0)
        return IMAGE_REFUSE_PLAIN(elf->check,
                                  "has nothing to load: link it with a PT_LOAD segment");
    return error;
}

/*
 * Where the entry point is in memory.  It is physical, but for multiboot, whose images may give it
 * as the address they are linked for.
 */
static uint64_t
find_entry(const struct elf_image *elf)
{
    uint64_t entry = elf->ehdr.e_entry;
    GElf_Phdr phdr;

    if (elf->check->image->protocol == ARCH_PROTOCOL_PVH)
        return elf->pvh_entry;
    if (elf->check->image->protocol != ARCH_PROTOCOL_MULTIBOOT ||
        image_overlaps(elf->check->image, gpa_from_u64(entry), 1))
        return entry;
    for (size_t i = 0; i < elf->nphdrs; i++) {
        if (gelf_getphdr(elf->elf, (int)i, &phdr) != NULL && phdr.p_type == PT_LOAD &&
            entry >= phdr.p_vaddr && entry - phdr.p_vaddr < phdr.p_memsz)
            return entry - phdr.p_vaddr + phdr.p_paddr;
    }
    return entry;
}

static int
take_elf(struct elf_image *elf)
{
    bool has_addresses = false, has_phdrs;
    int error = 0;

    elf->has_multiboot = multiboot_find(elf->check, &elf->multiboot);
    has_phdrs = survey(elf);
    if (elf->has_multiboot)
        error = multiboot_check(elf->check, elf->multiboot, &has_addresses);
    if (error == 0 && !has_phdrs && !has_addresses)
        return IMAGE_REFUSE(elf->check,
                            "%shas no program headers in the file: copy or link it again",
                            elf->is_32bit ? "is a 32-bit ELF file and " : "");
    if (error == 0)
        error = choose_protocol(elf);
    if (error == 0 && has_addresses)
        return multiboot_take_addresses(elf->check, elf->multiboot);
    if (error == 0)
        error = take_segments(elf);
    if (error == 0)
        error = image_set_entry(elf->check, find_entry(elf));
    return error;
}

static bool
probe(const struct image_check *check)
{
    return image_head_is(check, 0, ELFMAG, SELFMAG);
}

static Elf *
open_libelf(const struct image *image)
{
    if (image->unpacked.bytes != NULL)
        return elf_memory((char *)image->unpacked.bytes, image->unpacked.size);
    return elf_begin(image->fd, ELF_C_READ, NULL);
}

static int
open_elf(struct image_check *check)
{
    struct elf_image elf = { .check = check };
    int error;

    (void)elf_version(EV_CURRENT); /* required before elf_begin; cannot fail for EV_CURRENT */
    elf.elf = open_libelf(check->image);
    if (elf.elf == NULL)
        return IMAGE_REFUSE(check, "cannot be read as ELF: %s: copy or link it again",
                            elf_errmsg(-1));
    error = check_identity(&elf);
    if (error == 0)
        error = check_header(&elf);
    if (error == 0)
        error = take_elf(&elf);
    elf_end(elf.elf);
    return error;
}

const struct image_format elf_format = {
    .name = "ELF",
    .probe = probe,
    .open = open_elf,
};
