/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 300 corrupt images: every format, every field of its headers at its borders, truncated,
 * overlapping, wrapped around.  Each is refused with one line, or opened, placed and loaded with all
 * that it is told, inside memory and clear of each other.
 */
#include "tests/unit/pc_image_rig.h"
#include "vmm/boot/pc_start.h"

#define NIMAGES 300

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define EHDR32(field)                                                 \
    {                                                                 \
        offsetof(Elf32_Ehdr, field), sizeof(((Elf32_Ehdr *)0)->field) \
    }
#define PHDR32(field)                                                                      \
    {                                                                                      \
        sizeof(Elf32_Ehdr) + offsetof(Elf32_Phdr, field), sizeof(((Elf32_Phdr *)0)->field) \
    }
#define EHDR64(field)                                                 \
    {                                                                 \
        offsetof(Elf64_Ehdr, field), sizeof(((Elf64_Ehdr *)0)->field) \
    }
#define PHDR64(n, field)                                                             \
    {                                                                                \
        sizeof(Elf64_Ehdr) + (n) * sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, field), \
            sizeof(((Elf64_Phdr *)0)->field)                                         \
    }

static const struct pc_field elf32_fields[] = {
    EHDR32(e_type),  EHDR32(e_machine), EHDR32(e_entry),  EHDR32(e_phoff),  EHDR32(e_phentsize),
    EHDR32(e_phnum), EHDR32(e_shoff),   EHDR32(e_shnum),  PHDR32(p_type),   PHDR32(p_offset),
    PHDR32(p_vaddr), PHDR32(p_paddr),   PHDR32(p_filesz), PHDR32(p_memsz),  { EI_CLASS, 1 },
    { EI_DATA, 1 },  { MB_AT, 4 },      { MB_AT + 4, 4 }, { MB_AT + 8, 4 },
};
static const struct pc_field raw_fields[] = {
    { MB_AT, 4 },      { MB_AT + 4, 4 },  { MB_AT + 8, 4 },  { MB_AT + 12, 4 },
    { MB_AT + 16, 4 }, { MB_AT + 20, 4 }, { MB_AT + 24, 4 }, { MB_AT + 28, 4 },
};
static const struct pc_field pvh_fields[] = {
    EHDR64(e_entry),     EHDR64(e_phoff),        EHDR64(e_phentsize),    EHDR64(e_phnum),
    EHDR64(e_shoff),     PHDR64(0, p_type),      PHDR64(0, p_offset),    PHDR64(0, p_paddr),
    PHDR64(0, p_filesz), PHDR64(0, p_memsz),     PHDR64(1, p_type),      PHDR64(1, p_offset),
    PHDR64(1, p_filesz), PHDR64(1, p_align),     PHDR64(1, p_memsz),     PHDR64(1, p_paddr),
    { PVH_NOTE_AT, 4 },  { PVH_NOTE_AT + 4, 4 }, { PVH_NOTE_AT + 8, 4 }, { PVH_NOTE_AT + 16, 4 },
};
static const struct pc_field bz_fields[] = {
    { 0x1f1, 1 }, { 0x1f4, 4 }, { 0x1fe, 2 }, { 0x201, 1 }, { 0x206, 2 }, { 0x211, 1 },
    { 0x214, 4 }, { 0x22c, 4 }, { 0x230, 4 }, { 0x234, 1 }, { 0x236, 2 }, { 0x238, 4 },
    { 0x248, 4 }, { 0x24c, 4 }, { 0x258, 8 }, { 0x260, 4 },
};

static const struct pc_format formats[] = {
    { "multiboot ELF", make_multiboot_elf, elf32_fields, COUNT(elf32_fields), false },
    { "multiboot", make_multiboot_raw, raw_fields, COUNT(raw_fields), false },
    { "PVH", make_pvh, pvh_fields, COUNT(pvh_fields), false },
    { "bzImage", make_bzimage, bz_fields, COUNT(bz_fields), false },
#ifdef HAVE_ZLIB
    { "compressed bzImage", make_compressed, bz_fields, COUNT(bz_fields), false },
#endif
    { "flat", start_file, raw_fields, COUNT(raw_fields), true },
};

/* What fields are set to, each also one less and one more. */
static const uint64_t borders[] = {
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fffffff,
    0xffffffff,
    0x7fffffffffffffff,
    UINT64_MAX,
    PC_LOAD,
    PC_ENTRY,
    PC_FILE_SIZE,
    TEXT_SIZE,
    MEMORY_SIZE,
    MEMORY_MAX,
    0xA0000,
    0x9f000,
    BZ_KERNEL_SIZE,
    BZ_PAYLOAD,
    MB_AT,
};

static uint64_t
random_border(void)
{
    return borders[(size_t)rand() % COUNT(borders)] + (uint64_t)(rand() % 3) - 1;
}

/* Image `i`: the fields of its format one after the other, then several at once. */
static void
corrupt(const struct pc_format *format, unsigned i, struct pc_file *file)
{
    unsigned nfields = i / COUNT(formats) % 3;

    format->make(file);
    for (unsigned n = 0; n <= nfields; n++) {
        const struct pc_field *field = &format->fields[n == 0 ? i / COUNT(formats) % format->nfields
                                                              : (unsigned)rand() % format->nfields];

        set_field(file, field->at, field->width, random_border());
    }
    if (i % 11 == 10)
        file->size = (size_t)rand() % PC_FILE_SIZE;
}

/* Guest memory, and which bytes of it were written. */
struct witness {
    uint8_t *written;
};

static enum vm_result
write_once(void *context, gpa_t gpa, const void *from, size_t size, struct vm_fault_info *info)
{
    struct witness *witness = context;

    (void)from;
    (void)info;
    cr_assert(size <= MEMORY_SIZE && gpa.value <= MEMORY_SIZE - size);
    cr_assert(gpa.value >= IMAGE_FIRMWARE_END || gpa.value + size <= IMAGE_FIRMWARE_START);
    for (size_t i = 0; i < size; i++)
        cr_assert(not(witness->written[gpa.value + i]), "%#llx is written twice",
                  (unsigned long long)(gpa.value + i));
    memset(witness->written + gpa.value, 1, size);
    return VM_OK;
}

static void
check_tables(const struct arch_start *start, const struct witness *witness)
{
    uint64_t size = arch_start_tables_size(start->protocol);

    cr_assert(start->tables.value + size <= IMAGE_FIRMWARE_START);
    for (uint64_t i = 0; i < size; i++)
        cr_assert(not(witness->written[start->tables.value + i]));
}

/* Start what was opened, in a machine of MEMORY_SIZE. */
static void
start_opened(struct opened *o, struct witness *witness)
{
    const struct guest_memory memory = { .write = write_once, .context = witness };
    bool is_flat = o->image.protocol >= ARCH_PROTOCOL_FLAT16;
    struct machine machine;
    struct pc_start pc;

    machine_init(&machine);
    machine_set_memory(&machine, MEMORY_SIZE);
    machine_make_pc(&machine);
    const struct pc_start_config config = { .machine = &machine,
                                            .image = &o->image,
                                            .path = "an image",
                                            .append = is_flat ? "" : "console=ttyS0" };
    cr_assert(image_overlaps(&o->image, o->image.entry, 1));
    if (pc_start_open(&config, &pc, &o->failure) != 0)
        return;
    memset(witness->written, 0, MEMORY_SIZE);
    cr_assert(eq(int, image_load(&o->image, &memory, &o->failure), 0), "%s", o->failure.message);
    cr_assert(eq(int, pc_start_load(&pc, &memory, &o->failure), 0), "%s", o->failure.message);
    check_tables(&pc.start, witness);
    pc_start_close(&pc);
}

static void
expect_one_line(const struct failure *failure)
{
    cr_assert(strlen(failure->message) > 10 && strchr(failure->message, '\n') == NULL);
    cr_assert(strstr(failure->message, ": ") != NULL, "'%s' has no remedy", failure->message);
}

Test(image_corrupt, three_hundred_corrupt_images_are_refused_in_one_line_or_started_soundly)
{
    struct witness witness = { calloc(1, MEMORY_SIZE) };
    unsigned opened = 0;

    environment_seed("image_corrupt");
    for (unsigned i = 0; i < NIMAGES; i++) {
        const struct pc_format *format = &formats[i % COUNT(formats)];
        struct image_request wanted = request;
        struct pc_file file;
        struct opened o;

        corrupt(format, i, &file);
        wanted.flat = (struct image_flat){ format->flat, random_border(), random_border(),
                                           ARCH_PROTOCOL_FLAT16 + (unsigned)rand() % 3 };
        open_wanted(&o, &wanted, file.bytes, file.size);
        if (o.status != 0) {
            expect_one_line(&o.failure);
        } else if (image_wants_pc(&o.image)) {
            start_opened(&o, &witness);
            opened++;
        }
        close_opened(&o);
    }
    cr_expect(opened > 20 && opened < NIMAGES, "%u opened: the test is blind", opened);
    free(witness.written);
}
