/* SPDX-License-Identifier: BSD-2-Clause */
/* Images for the loader's tests, made in memory. */
#ifndef IMAGE_RIG_H
#define IMAGE_RIG_H

#include "tests/unit/environment.h"
#include "vmm/boot/image.h"
#include "vmm/x86_64/arch.h"
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOW 0x10000u
#define MEMORY_SIZE ((uint64_t)8 << 20)
#define MEMORY_MAX ((uint64_t)60 << 30)
#define SEGMENTS 80
#define TEXT_OFFSET 0x2000u
#define FILE_SIZE 0x4000u

static const struct image_request request = {
    .vkernel = { .memory = "--memory",
                 .low = { LOW },
                 .memory_size = MEMORY_SIZE,
                 .memory_size_max = MEMORY_MAX },
    .pc = { .memory = "memory", .memory_size = MEMORY_SIZE, .memory_size_max = MEMORY_MAX },
};

/* An image before it is written. */
struct model {
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdrs[SEGMENTS];
    uint8_t padding[TEXT_OFFSET - sizeof(Elf64_Ehdr) - SEGMENTS * sizeof(Elf64_Phdr)];
    uint8_t bytes[FILE_SIZE - TEXT_OFFSET];
};
_Static_assert(sizeof(struct model) == FILE_SIZE, "the model is the file");

struct opened {
    struct image image;
    struct failure failure;
    int fd; /* the memfd */
    int status;
};

/* Two segments: 0x1800 bytes at 1 MiB, then 0x800 bytes and 0x2000 of zeros at 2 MiB. */
static inline void
model_init(struct model *model)
{
    *model = (struct model){
        .ehdr = {
            .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
            .e_type = ET_EXEC,
            .e_machine = EM_X86_64,
            .e_version = EV_CURRENT,
            .e_entry = 0x100010,
            .e_phoff = offsetof(struct model, phdrs),
            .e_ehsize = sizeof(Elf64_Ehdr),
            .e_phentsize = sizeof(Elf64_Phdr),
            .e_phnum = 2,
            .e_shentsize = sizeof(Elf64_Shdr),
        },
        .phdrs = {
            { .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = TEXT_OFFSET,
              .p_vaddr = 0x100000, .p_paddr = 0x100000, .p_filesz = 0x1800, .p_memsz = 0x1800 },
            { .p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_offset = TEXT_OFFSET + 0x1800,
              .p_vaddr = 0x200000, .p_paddr = 0x200000, .p_filesz = 0x800, .p_memsz = 0x2800 },
        },
    };
    for (size_t i = 0; i < sizeof(model->bytes); i++)
        model->bytes[i] = (uint8_t)(i * 7 + (i >> 8) + 1);
}

/* Open them as `wanted` says, but for the path. */
static inline void
open_wanted(struct opened *o, const struct image_request *wanted, const void *bytes, size_t size)
{
    struct image_request made = *wanted;
    char path[40];

    o->fd = memfd_create("image", MFD_CLOEXEC);
    cr_assert(o->fd >= 0);
    cr_assert(eq(i64, write(o->fd, bytes, size), (ssize_t)size));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", o->fd);
    o->failure.message[0] = '\0';
    made.path = path;
    o->status = image_open(&made, &o->image, &o->failure);
}

static inline void
open_bytes(struct opened *o, const void *bytes, size_t size)
{
    open_wanted(o, &request, bytes, size);
}

static inline void
close_opened(struct opened *o)
{
    if (o->status == 0)
        image_close(&o->image);
    close(o->fd);
}

static inline void
expect_bytes_refused(const void *bytes, size_t size, const char *cause)
{
    struct opened o;

    open_bytes(&o, bytes, size);
    cr_expect(eq(int, o.status, -ENOEXEC), "%s", cause);
    cr_expect(strstr(o.failure.message, cause) != NULL, "'%s' lacks '%s'", o.failure.message,
              cause);
    cr_expect(strstr(o.failure.message, ": ") != NULL, "'%s' has no remedy", o.failure.message);
    close_opened(&o);
}

/* Open what a path names. */
static inline int
open_path(const char *path, struct image *image, struct failure *failure)
{
    struct image_request made = request;

    made.path = path;
    return image_open(&made, image, failure);
}

static inline void
expect_refused(const struct model *model, const char *cause)
{
    expect_bytes_refused(model, sizeof(*model), cause);
}

/* Guest memory as an array; writes outside it fail the test. */
static inline enum vm_result
write_array(void *context, gpa_t gpa, const void *from, size_t size, struct vm_fault_info *info)
{
    (void)info;
    cr_assert(size <= MEMORY_SIZE && gpa.value <= MEMORY_SIZE - size);
    memcpy((uint8_t *)context + gpa.value, from, size);
    return VM_OK;
}

static inline int
load(struct opened *o, uint8_t *memory)
{
    const struct guest_memory target = { .write = write_array, .context = memory };

    return image_load(&o->image, &target, &o->failure);
}

#endif
