/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ELF loader.
 *
 * libelf decodes the headers from the file descriptor; every number it gives
 * comes from the image and is checked here.  The file is read with pread, never
 * mapped, so that a file that shrinks meanwhile is an error and not a signal.
 *
 * Source: System V ABI, generic part (gABI), chapters 4 and 5.
 */
#include "vmm/boot/image.h"

#include "vmm/base/file.h"
#include "vmm/base/size_text.h"
#include "vmm/x86_64/arch.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_SIZE ((size_t)256 << 10)

/* An image while it is checked. */
struct image_check {
    const char *path;
    const struct image_limits *limits;
    uint64_t file_size;
    Elf *elf;
    struct image *image;
    struct failure *failure;
};

/* "'path' CAUSE: REMEDY" with one number in the cause. */
#define REFUSE(check, format, ...) \
    failure_set((check)->failure, -ENOEXEC, FAILURE_NAME " " format, (check)->path, __VA_ARGS__)
#define REFUSE_PLAIN(check, text) REFUSE(check, "%s", text)

typedef unsigned long long ull;

static int
check_identity(const struct image_check *check)
{
    const char *ident = elf_getident(check->elf, NULL);

    if (elf_kind(check->elf) != ELF_K_ELF || ident == NULL)
        return REFUSE_PLAIN(check, "is not an ELF file: give a static x86-64 ELF executable");
    if (gelf_getclass(check->elf) != ELFCLASS64)
        return REFUSE_PLAIN(check, "is a 32-bit ELF file: build it for x86-64 (-m64)");
    if (ident[EI_DATA] != ELFDATA2LSB)
        return REFUSE_PLAIN(check, "is a big-endian ELF file: build it for x86-64");
    return 0;
}

static int
check_type(const struct image_check *check, const Elf64_Ehdr *ehdr)
{
    if (ehdr->e_machine != EM_X86_64)
        return REFUSE(check, "is for ELF machine %u, not %u: build it for x86-64", ehdr->e_machine,
                      EM_X86_64);
    if (ehdr->e_type == ET_DYN)
        return REFUSE_PLAIN(check, "is position-independent: link it at a fixed address "
                                   "(-static -no-pie)");
    if (ehdr->e_type != ET_EXEC)
        return REFUSE(check, "is ELF type %u, not an executable: link it (-static -no-pie)",
                      ehdr->e_type);
    return 0;
}

/* A segment's place in the file. */
static int
check_file_range(const struct image_check *check, const Elf64_Phdr *phdr)
{
    if (phdr->p_filesz > phdr->p_memsz)
        return REFUSE(check,
                      "has a segment with 0x%llx bytes in the file but 0x%llx in memory: "
                      "link it again",
                      (ull)phdr->p_filesz, (ull)phdr->p_memsz);
    if (phdr->p_filesz == 0)
        return 0; /* whatever its offset: nothing is read */
    if (phdr->p_filesz > check->file_size || phdr->p_offset > check->file_size - phdr->p_filesz)
        return REFUSE(check,
                      "is truncated: a segment's 0x%llx bytes at 0x%llx lie beyond the "
                      "file's end at 0x%llx: copy or link it again",
                      (ull)phdr->p_filesz, (ull)phdr->p_offset, (ull)check->file_size);
    return 0;
}

/* The smallest power of two that holds [0, end) and, above it, a device tree. */
static uint64_t
enough_memory(uint64_t end, uint64_t max)
{
    uint64_t size = (uint64_t)4 << 20;

    while (size < end + ((uint64_t)1 << 20) && size < max)
        size *= 2;
    return size < max ? size : max;
}

/* A segment's place in memory. */
static int
check_memory_range(const struct image_check *check, const Elf64_Phdr *phdr)
{
    const struct image_limits *limits = check->limits;
    uint64_t start = phdr->p_paddr, size = phdr->p_memsz;
    char text[SIZE_TEXT_MAX];

    if (size > limits->memory_size_max || start > limits->memory_size_max - size)
        return REFUSE(check,
                      "has a segment of 0x%llx bytes at 0x%llx, beyond the largest "
                      "--memory of %s: link it lower",
                      (ull)size, (ull)start, size_text(limits->memory_size_max, text));
    if (start < gpa_to_u64(limits->low))
        return REFUSE(check,
                      "has a segment at 0x%llx, below 0x%llx where start-up data lies: "
                      "link it higher",
                      (ull)start, (ull)gpa_to_u64(limits->low));
    if (start + size > limits->memory_size)
        return REFUSE(check, "needs memory up to 0x%llx: give --memory %s", (ull)(start + size),
                      size_text(enough_memory(start + size, limits->memory_size_max), text));
    return 0;
}

/* Put a checked segment where the order by start wants it. */
static int
insert_segment(const struct image_check *check, const struct image_segment *segment)
{
    struct image *image = check->image;
    struct image_segment *segments = image->segments;
    uint64_t start = gpa_to_u64(segment->start);
    unsigned i = image->nsegments;

    if (image->nsegments == IMAGE_MAX_SEGMENTS)
        return REFUSE(check, "has more than %d segments: link it with fewer", IMAGE_MAX_SEGMENTS);
    if (image_overlaps(image, segment->start, segment->size))
        return REFUSE(check, "has overlapping segments at 0x%llx: link them apart", (ull)start);
    for (; i > 0 && gpa_to_u64(segments[i - 1].start) > start; i--)
        segments[i] = segments[i - 1];
    segments[i] = *segment;
    image->nsegments++;
    return 0;
}

/*
 * Do the notes say that it is a program for an operating system?  The C library's start files of
 * a program for Linux bring this one (Linux Standard Base, "Linux ABI note section"), and a kernel
 * has none of them.
 */
static bool
has_abi_note(const struct image_check *check, const Elf64_Phdr *phdr)
{
    Elf_Data *notes;
    GElf_Nhdr note;
    size_t at, next, name, description;

    if (phdr->p_filesz > check->file_size || phdr->p_offset > check->file_size - phdr->p_filesz)
        return false; /* nothing of it is loaded */
    notes = elf_getdata_rawchunk(check->elf, (int64_t)phdr->p_offset, phdr->p_filesz,
                                 phdr->p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
    if (notes == NULL)
        return false;
    for (at = 0; (next = gelf_getnote(notes, at, &note, &name, &description)) > 0; at = next) {
        if (note.n_type == NT_GNU_ABI_TAG && note.n_namesz == sizeof(ELF_NOTE_GNU) &&
            memcmp((const char *)notes->d_buf + name, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) == 0)
            return true;
    }
    return false;
}

static int
take_segment(const struct image_check *check, const Elf64_Phdr *phdr)
{
    struct image_segment segment = {
        .start = gpa_from_u64(phdr->p_paddr),
        .size = phdr->p_memsz,
        .file_size = phdr->p_filesz,
        .offset = phdr->p_offset,
    };
    int status;

    if (phdr->p_type == PT_INTERP || phdr->p_type == PT_DYNAMIC)
        return REFUSE_PLAIN(check, "is dynamically linked: link it with -static");
    if (phdr->p_type == PT_NOTE && has_abi_note(check, phdr))
        return REFUSE_PLAIN(check, "is a program for Linux, and no kernel is there to run it: give "
                                   "a kernel, or link it without the C library (-nostdlib)");
    if (phdr->p_type != PT_LOAD || (phdr->p_memsz == 0 && phdr->p_filesz == 0))
        return 0;
    status = check_file_range(check, phdr);
    if (status == 0)
        status = check_memory_range(check, phdr);
    if (status == 0)
        status = insert_segment(check, &segment);
    return status;
}

static int
take_segments(const struct image_check *check)
{
    const Elf64_Ehdr *ehdr = elf64_getehdr(check->elf);
    const Elf64_Phdr *phdrs = elf64_getphdr(check->elf);
    size_t count;
    int status;

    /* libelf does not look at e_phentsize. */
    if (phdrs == NULL || ehdr->e_phentsize != sizeof(*phdrs) ||
        elf_getphdrnum(check->elf, &count) != 0)
        return REFUSE_PLAIN(check, "has no program headers in the file: copy or link it again");
    for (size_t i = 0; i < count; i++) {
        status = take_segment(check, &phdrs[i]);
        if (status != 0)
            return status;
    }
    if (check->image->nsegments == 0)
        return REFUSE_PLAIN(check, "has nothing to load: link it with a PT_LOAD segment");
    return 0;
}

/* The guest starts with identity-mapped memory, so the entry point is a physical address. */
static int
take_entry(const struct image_check *check, uint64_t entry)
{
    if (!image_overlaps(check->image, gpa_from_u64(entry), 1))
        return REFUSE(check, "has its entry point 0x%llx outside every segment: link it again",
                      (ull)entry);
    if (entry >= ARCH_BOOT_MAP_END)
        return REFUSE(check,
                      "has its entry point at 0x%llx, above 4G where the start-up page "
                      "tables end: link it lower",
                      (ull)entry);
    check->image->entry = gpa_from_u64(entry);
    return 0;
}

static int
check_elf(const struct image_check *check)
{
    const Elf64_Ehdr *ehdr;
    int status = check_identity(check);

    if (status != 0)
        return status;
    ehdr = elf64_getehdr(check->elf);
    if (ehdr == NULL)
        return REFUSE_PLAIN(check, "has a damaged ELF header: copy or link it again");
    status = check_type(check, ehdr);
    if (status == 0)
        status = take_segments(check);
    if (status == 0)
        status = take_entry(check, ehdr->e_entry);
    return status;
}

int
image_open(const char *path, const struct image_limits *limits, struct image *image,
           struct failure *failure)
{
    struct image_check check = {
        .path = path,
        .limits = limits,
        .image = image,
        .failure = failure,
    };
    int status;

    *image = (struct image){ .fd = -1 };
    status = file_open(path, O_RDONLY, &image->fd, &check.file_size, failure);
    if (status != 0)
        return status == -ENOENT ? -ENOENT : -ENOEXEC;
    (void)elf_version(EV_CURRENT); /* required before elf_begin; cannot fail for EV_CURRENT */
    check.elf = elf_begin(image->fd, ELF_C_READ, NULL);
    if (check.elf == NULL)
        status = REFUSE(&check, "cannot be read as ELF: %s: copy or link it again", elf_errmsg(-1));
    else
        status = check_elf(&check);
    elf_end(check.elf);
    if (status != 0)
        image_close(image);
    return status;
}

static int
load_segment(const struct image *image, const struct image_segment *segment, void *buffer,
             const struct guest_memory *memory, struct failure *failure)
{
    uint64_t done = 0;

    while (done < segment->file_size) {
        uint64_t left = segment->file_size - done;
        size_t size = left < COPY_SIZE ? (size_t)left : COPY_SIZE;
        int result = file_read_at(image->fd, buffer, size, segment->offset + done);

        if (result != 0)
            return failure_set(failure, -ENOEXEC, "cannot read the image at 0x%llx: %s",
                               (ull)(segment->offset + done),
                               result == -ENODATA ? "it became shorter" : strerror(-result));
        result = guest_memory_write(memory, gpa_add(segment->start, done), buffer, size,
                                    "the image", failure);
        if (result != 0)
            return result;
        done += size;
    }
    return 0;
}

int
image_load(const struct image *image, const struct guest_memory *memory, struct failure *failure)
{
    void *buffer = malloc(COPY_SIZE);
    int status = 0;

    if (buffer == NULL)
        return failure_set(failure, -ENOMEM, "out of memory: no room to read the image");
    for (unsigned i = 0; i < image->nsegments && status == 0; i++)
        status = load_segment(image, &image->segments[i], buffer, memory, failure);
    free(buffer);
    return status;
}

void
image_close(struct image *image)
{
    if (image->fd >= 0)
        close(image->fd);
    image->fd = -1;
}

bool
image_overlaps(const struct image *image, gpa_t start, uint64_t size)
{
    uint64_t first = gpa_to_u64(start), other;

    for (unsigned i = 0; i < image->nsegments; i++) {
        const struct image_segment *segment = &image->segments[i];

        other = gpa_to_u64(segment->start);
        if (first < other ? other - first < size : first - other < segment->size)
            return true;
    }
    return false;
}
