/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ELF loader: good images land where they belong, every bad one is refused
 * with its cause, and random damage to a good one does no harm.
 *
 * Images are made in memory and opened by the name /proc gives their memfd.
 */
#include "tests/unit/image_rig.h"

Test(image, a_good_image_is_described)
{
    struct model model;
    struct opened o;

    model_init(&model);
    open_bytes(&o, &model, sizeof(model));
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(eq(u64, o.image.entry.value, 0x100010));
    cr_assert(eq(uint, o.image.nsegments, 2));
    cr_expect(eq(u64, o.image.segments[0].start.value, 0x100000));
    cr_expect(eq(u64, o.image.segments[0].size, 0x1800));
    cr_expect(eq(u64, o.image.segments[1].size, 0x2800));
    cr_expect(eq(u64, o.image.segments[1].file_size, 0x800));
    close_opened(&o);
}

Test(image, segments_are_written_and_what_the_file_lacks_is_left_alone)
{
    uint8_t *memory = calloc(1, MEMORY_SIZE);
    struct model model;
    struct opened o;
    uint64_t touched = 0;

    model_init(&model);
    open_bytes(&o, &model, sizeof(model));
    cr_assert(eq(int, o.status, 0));
    memset(memory + 0x200800, 0xee, 0x2000);
    cr_assert(eq(int, load(&o, memory), 0));
    cr_expect(memcmp(memory + 0x100000, model.bytes, 0x1800) == 0);
    cr_expect(memcmp(memory + 0x200000, model.bytes + 0x1800, 0x800) == 0);
    for (uint64_t i = 0; i < 0x2000; i++)
        touched += memory[0x200800 + i] != 0xee;
    cr_expect(eq(u64, touched, 0), "zero pages need no write");
    memset(memory + 0x200800, 0, 0x2000);
    for (uint64_t i = 0; i < MEMORY_SIZE; i++)
        touched += memory[i] != 0;
    cr_expect(le(u64, touched, 0x2000), "nothing else was written");
    close_opened(&o);
    free(memory);
}

Test(image, a_segment_larger_than_the_copy_buffer_arrives_whole)
{
    size_t size = TEXT_OFFSET + ((size_t)1 << 20) + 123;
    uint8_t *file = calloc(1, size), *memory = calloc(1, MEMORY_SIZE);
    struct model model;
    struct opened o;

    model_init(&model);
    model.ehdr.e_phnum = 1;
    model.phdrs[0].p_filesz = model.phdrs[0].p_memsz = size - TEXT_OFFSET;
    memcpy(file, &model, TEXT_OFFSET);
    for (size_t i = TEXT_OFFSET; i < size; i++)
        file[i] = (uint8_t)(i * 31 + (i >> 12));
    open_bytes(&o, file, size);
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_assert(eq(int, load(&o, memory), 0));
    cr_expect(memcmp(memory + 0x100000, file + TEXT_OFFSET, size - TEXT_OFFSET) == 0);
    close_opened(&o);
    free(file);
    free(memory);
}

Test(image, segments_are_placed_by_their_physical_address)
{
    struct model model;
    struct opened o;

    model_init(&model);
    model.phdrs[0].p_vaddr = 0xffffffff80000000;
    open_bytes(&o, &model, sizeof(model));
    cr_assert(eq(int, o.status, 0));
    cr_expect(eq(u64, o.image.segments[0].start.value, 0x100000));
    close_opened(&o);
}

Test(image, segments_out_of_order_are_sorted)
{
    struct model model;
    struct opened o;
    Elf64_Phdr first;

    model_init(&model);
    first = model.phdrs[0];
    model.phdrs[0] = model.phdrs[1];
    model.phdrs[1] = first;
    open_bytes(&o, &model, sizeof(model));
    cr_assert(eq(int, o.status, 0));
    cr_expect(eq(u64, o.image.segments[0].start.value, 0x100000));
    cr_expect(eq(u64, o.image.segments[1].start.value, 0x200000));
    close_opened(&o);
}

Test(image, segments_without_bytes_and_other_types_are_skipped)
{
    struct model model;
    struct opened o;

    model_init(&model);
    model.ehdr.e_phnum = 4;
    model.phdrs[2] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = ~(uint64_t)0 };
    model.phdrs[3] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = ~(uint64_t)0, .p_filesz = 9 };
    open_bytes(&o, &model, sizeof(model));
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(eq(uint, o.image.nsegments, 2));
    close_opened(&o);
}

Test(image, segments_may_touch_each_other_and_both_limits)
{
    struct model model;
    struct opened o;

    model_init(&model);
    model.phdrs[0].p_paddr = LOW;
    model.ehdr.e_entry = LOW + 0x17ff;
    model.phdrs[1].p_paddr = MEMORY_SIZE - 0x2800;
    model.ehdr.e_phnum = 3;
    model.phdrs[2] = model.phdrs[0];
    model.phdrs[2].p_paddr = LOW + 0x1800;
    open_bytes(&o, &model, sizeof(model));
    cr_expect(eq(int, o.status, 0), "%s", o.failure.message);
    close_opened(&o);
}

Test(image, a_missing_file_is_not_found)
{
    struct image image;
    struct failure failure;

    cr_expect(eq(int, open_path("/nonexistent/image", &image, &failure), -ENOENT));
    cr_expect(strstr(failure.message, "no such file") != NULL);
    cr_expect(eq(int, open_path("/dev/null/image", &image, &failure), -ENOENT));
}

Test(image, a_directory_and_a_device_are_refused)
{
    struct image image;
    struct failure failure;

    cr_expect(eq(int, open_path("/", &image, &failure), -ENOEXEC));
    cr_expect(strstr(failure.message, "is a directory") != NULL);
    cr_expect(eq(int, open_path("/dev/zero", &image, &failure), -ENOEXEC));
    cr_expect(strstr(failure.message, "not a regular file") != NULL);
}

Test(image, a_fifo_is_refused_without_waiting_for_a_writer)
{
    char name[] = "/tmp/vkvm-test-XXXXXX", path[64];
    struct image image;
    struct failure failure;

    cr_assert(mkdtemp(name) != NULL);
    snprintf(path, sizeof(path), "%s/fifo", name);
    cr_assert(eq(int, mkfifo(path, 0600), 0));
    cr_expect(eq(int, open_path(path, &image, &failure), -ENOEXEC));
    cr_expect(strstr(failure.message, "not a regular file") != NULL);
    unlink(path);
    rmdir(name);
}

Test(image, what_is_no_image_is_named_and_refused)
{
    static const char archive[] = "!<arch>\n";
    struct model model;

    expect_bytes_refused("", 0, "not an ELF file");
    expect_bytes_refused("\177ELF", 4, "not an ELF file");
    expect_bytes_refused("#!/bin/sh\nexit 0\n", 17, "is a script");
    expect_bytes_refused(archive, sizeof(archive) - 1, "is an archive");
    expect_bytes_refused("words", 5, "not an ELF file");
    model_init(&model);
    model.ehdr.e_ident[EI_CLASS] = 9;
    expect_refused(&model, "not an ELF file");
}

Test(image, a_file_that_ends_in_its_headers_is_refused)
{
    struct model model;
    struct opened o;

    model_init(&model);
    for (size_t size = 0; size < offsetof(struct model, phdrs) + 2 * sizeof(Elf64_Phdr); size++) {
        open_bytes(&o, &model, size);
        cr_expect(eq(int, o.status, -ENOEXEC), "%zu bytes", size);
        close_opened(&o);
    }
}

Test(image, elf_files_of_another_kind_are_refused)
{
    struct model model;

    model_init(&model);
    model.ehdr.e_ident[EI_CLASS] = ELFCLASS32;
    expect_refused(&model, "32-bit");
    model_init(&model);
    model.ehdr.e_ident[EI_DATA] = ELFDATA2MSB;
    expect_refused(&model, "big-endian");
    model_init(&model);
    model.ehdr.e_machine = EM_AARCH64;
    expect_refused(&model, "ELF machine 183");
    model_init(&model);
    model.ehdr.e_type = ET_DYN;
    expect_refused(&model, "position-independent");
    model_init(&model);
    model.ehdr.e_type = ET_REL;
    expect_refused(&model, "ELF type 1");
    model_init(&model);
    model.ehdr.e_phnum = 3;
    model.phdrs[2].p_type = PT_INTERP;
    expect_refused(&model, "dynamically linked");
    model.phdrs[2].p_type = PT_DYNAMIC;
    expect_refused(&model, "dynamically linked");
}

Test(image, bad_program_headers_are_refused)
{
    struct model model;

    model_init(&model);
    model.ehdr.e_phoff = FILE_SIZE;
    expect_refused(&model, "no program headers");
    model.ehdr.e_phoff = ~(uint64_t)0 - 8;
    expect_refused(&model, "no program headers");
    model_init(&model);
    model.ehdr.e_phentsize = 1;
    expect_refused(&model, "no program headers");
    model_init(&model);
    model.ehdr.e_phnum = 0;
    expect_refused(&model, ": ");
    model_init(&model);
    model.ehdr.e_phnum = 1;
    model.phdrs[0].p_type = PT_NOTE;
    expect_refused(&model, "nothing to load");
}

/* With e_shnum 0 the first section's sh_size counts the sections, e_phnum PN_XNUM makes its
 * sh_info count the segments. */
Test(image, absurd_counts_in_the_first_section_are_refused_or_harmless)
{
    static const uint64_t counts[] = { 0, 2, 0xffff, 0xfffffff, 0xffffffff, ~(uint64_t)0 };
    struct model model;
    struct opened o;
    Elf64_Shdr section;

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        model_init(&model);
        section = (Elf64_Shdr){ .sh_size = counts[i], .sh_info = (uint32_t)counts[i] };
        memcpy(model.padding, &section, sizeof(section));
        model.ehdr.e_shoff = offsetof(struct model, padding);
        open_bytes(&o, &model, sizeof(model));
        close_opened(&o);
        model.ehdr.e_phnum = PN_XNUM;
        open_bytes(&o, &model, sizeof(model));
        cr_expect(eq(int, o.status, counts[i] == 2 ? 0 : -ENOEXEC), "%#llx: %s",
                  (unsigned long long)counts[i], o.failure.message);
        close_opened(&o);
    }
}

Test(image, too_many_segments_are_refused)
{
    struct model model;
    struct opened o;

    model_init(&model);
    for (unsigned i = 0; i < SEGMENTS; i++) {
        model.phdrs[i] = model.phdrs[0];
        model.phdrs[i].p_paddr = 0x100000 + i * 0x2000;
    }
    model.ehdr.e_phnum = IMAGE_MAX_SEGMENTS;
    open_bytes(&o, &model, sizeof(model));
    cr_expect(eq(int, o.status, 0), "%s", o.failure.message);
    close_opened(&o);
    model.ehdr.e_phnum = IMAGE_MAX_SEGMENTS + 1;
    expect_refused(&model, "more than 64 segments");
}

Test(image, a_segment_whose_bytes_are_not_in_the_file_is_truncated)
{
    struct model model;

    model_init(&model);
    model.phdrs[1].p_offset = FILE_SIZE - 0x7ff;
    expect_refused(&model, "truncated");
    model_init(&model);
    model.phdrs[1].p_offset = ~(uint64_t)0 - 0x7fe;
    expect_refused(&model, "truncated");
    model_init(&model);
    model.phdrs[1].p_filesz = model.phdrs[1].p_memsz = ~(uint64_t)0;
    expect_refused(&model, "truncated");
    model_init(&model);
    expect_bytes_refused(&model, sizeof(model) - 1, "truncated");
}

Test(image, a_segment_of_zeros_may_have_any_offset)
{
    struct model model;
    struct opened o;

    model_init(&model);
    model.phdrs[1].p_filesz = 0;
    model.phdrs[1].p_offset = ~(uint64_t)0;
    open_bytes(&o, &model, sizeof(model));
    cr_assert(eq(int, o.status, 0), "%s", o.failure.message);
    cr_expect(eq(uint, o.image.nsegments, 2));
    cr_expect(eq(u64, o.image.segments[1].file_size, 0));
    cr_expect(eq(u64, o.image.segments[1].size, 0x2800));
    close_opened(&o);
}

/* A note for segment 2 in the model's bytes, behind one of another type. */
static void
add_note(struct model *model, const char *name, uint32_t type)
{
    struct {
        Elf64_Nhdr other;
        char other_name[4];
        Elf64_Nhdr note;
        char name[4];
        uint32_t description[4];
    } notes = {
        .other = { .n_namesz = 4, .n_type = NT_GNU_BUILD_ID },
        .other_name = "GNU",
        .note = { .n_namesz = 4, .n_descsz = 16, .n_type = type },
    };

    memcpy(notes.name, name, sizeof(notes.name));
    memcpy(model->bytes, &notes, sizeof(notes));
    model->ehdr.e_phnum = 3;
    model->phdrs[2] = (Elf64_Phdr){
        .p_type = PT_NOTE, .p_offset = TEXT_OFFSET, .p_filesz = sizeof(notes), .p_align = 4
    };
}

Test(image, a_program_for_linux_is_refused_by_its_abi_note)
{
    struct model model;
    struct opened o;

    model_init(&model);
    add_note(&model, "GNU", NT_GNU_ABI_TAG);
    expect_refused(&model, "is a program for Linux");
    add_note(&model, "Xen", NT_GNU_ABI_TAG);
    open_bytes(&o, &model, sizeof(model));
    cr_expect(eq(int, o.status, 0), "%s", o.failure.message);
    close_opened(&o);
    add_note(&model, "GNU", NT_GNU_PROPERTY_TYPE_0);
    open_bytes(&o, &model, sizeof(model));
    cr_expect(eq(int, o.status, 0), "%s", o.failure.message);
    close_opened(&o);
}

Test(image, a_segment_with_more_bytes_than_memory_is_refused)
{
    struct model model;

    model_init(&model);
    model.phdrs[0].p_memsz = 0x17ff;
    expect_refused(&model, "0x1800 bytes in the file but 0x17ff in memory");
    model.phdrs[0].p_memsz = 0;
    expect_refused(&model, "in memory");
}

Test(image, a_segment_in_the_reserved_low_area_is_refused)
{
    struct model model;

    model_init(&model);
    model.phdrs[0].p_paddr = LOW - 1;
    expect_refused(&model, "below 0x10000");
    model.phdrs[0].p_paddr = 0;
    expect_refused(&model, "below 0x10000");
}

Test(image, an_image_beyond_memory_says_how_much_it_needs)
{
    struct model model;

    model_init(&model);
    model.phdrs[1].p_paddr = MEMORY_SIZE - 0x27ff;
    expect_refused(&model, "needs memory up to 0x800001: give --memory 16M");
    model.phdrs[1].p_paddr = 0x6fff000;
    expect_refused(&model, "needs memory up to 0x7001800: give --memory 128M");
    model.phdrs[1].p_paddr = MEMORY_MAX - 0x2800;
    expect_refused(&model, "give --memory 60G");
}

Test(image, a_segment_no_memory_can_hold_is_refused)
{
    struct model model;

    model_init(&model);
    model.phdrs[1].p_paddr = MEMORY_MAX - 0x27ff;
    expect_refused(&model, "beyond the largest --memory of 60G");
    model.phdrs[1].p_paddr = ~(uint64_t)0 - 0x27ff;
    expect_refused(&model, "beyond the largest");
    model_init(&model);
    model.phdrs[1].p_memsz = ~(uint64_t)0;
    expect_refused(&model, "beyond the largest");
}

Test(image, overlapping_segments_are_refused)
{
    struct model model;

    model_init(&model);
    model.phdrs[1].p_paddr = 0x1017ff;
    expect_refused(&model, "overlapping");
    model.phdrs[1].p_paddr = 0x100000 - 0x27ff;
    expect_refused(&model, "overlapping");
    model.phdrs[1].p_paddr = 0x100000;
    expect_refused(&model, "overlapping");
}

Test(image, an_entry_point_outside_every_segment_is_refused)
{
    struct model model;

    model_init(&model);
    model.ehdr.e_entry = 0x101800;
    expect_refused(&model, "entry point 0x101800 outside");
    model.ehdr.e_entry = ~(uint64_t)0;
    expect_refused(&model, "outside");
    model.ehdr.e_entry = 0;
    expect_refused(&model, "outside");
}

Test(image, an_entry_point_above_the_boot_map_is_refused)
{
    struct image_request large = request;
    struct model model;
    struct opened o;

    large.vkernel.memory_size = MEMORY_MAX;
    model_init(&model);
    model.phdrs[0].p_paddr = ARCH_BOOT_MAP_END;
    model.ehdr.e_entry = ARCH_BOOT_MAP_END + 8;
    open_wanted(&o, &large, &model, sizeof(model));
    cr_expect(eq(int, o.status, -ENOEXEC));
    cr_expect(strstr(o.failure.message, "above 4G") != NULL, "%s", o.failure.message);
    close_opened(&o);
}

Test(image, a_file_that_shrinks_after_the_check_is_an_error)
{
    uint8_t *memory = calloc(1, MEMORY_SIZE);
    struct model model;
    struct opened o;

    model_init(&model);
    open_bytes(&o, &model, sizeof(model));
    cr_assert(eq(int, o.status, 0));
    cr_assert(eq(int, ftruncate(o.fd, TEXT_OFFSET + 0x100), 0));
    cr_expect(eq(int, load(&o, memory), -ENOEXEC));
    cr_expect(strstr(o.failure.message, "shorter") != NULL, "%s", o.failure.message);
    close_opened(&o);
    free(memory);
}

static enum vm_result
write_fails(void *context, gpa_t gpa, const void *from, size_t size, struct vm_fault_info *info)
{
    (void)from;
    (void)size;
    info->result = *(enum vm_result *)context;
    info->gpa = gpa;
    info->error = -12;
    info->cause = "the frame store is full";
    return info->result;
}

Test(image, memory_that_cannot_be_written_is_a_failure_with_its_cause)
{
    enum vm_result result = VM_HOST_FAILURE;
    const struct guest_memory target = { .write = write_fails, .context = &result };
    struct model model;
    struct opened o;

    model_init(&model);
    open_bytes(&o, &model, sizeof(model));
    cr_assert(eq(int, o.status, 0));
    cr_expect(eq(int, image_load(&o.image, &target, &o.failure), -ENOMEM));
    cr_expect(strstr(o.failure.message, "the frame store is full") != NULL);
    cr_expect(strstr(o.failure.message, "0x100000") != NULL);
    result = VM_IO_ERROR;
    cr_expect(eq(int, image_load(&o.image, &target, &o.failure), -EFAULT));
    cr_expect(strstr(o.failure.message, vm_result_name(VM_IO_ERROR)) != NULL);
    close_opened(&o);
}

Test(image, overlap_is_exact_at_both_ends)
{
    const struct image image = {
        .nsegments = 1,
        .segments = { { .start = { 0x1000 }, .size = 0x1000 } },
    };

    cr_expect(not(image_overlaps(&image, gpa_from_u64(0xfff), 1)));
    cr_expect(image_overlaps(&image, gpa_from_u64(0xfff), 2));
    cr_expect(image_overlaps(&image, gpa_from_u64(0x1000), 1));
    cr_expect(image_overlaps(&image, gpa_from_u64(0x1fff), 1));
    cr_expect(not(image_overlaps(&image, gpa_from_u64(0x2000), 1)));
    cr_expect(image_overlaps(&image, gpa_from_u64(0), UINT64_MAX));
}
