/* SPDX-License-Identifier: BSD-2-Clause */
/* Symbols out of each kind of file, and which of them an address has. */
#include "vmm/trace_tool/trace_symbols.h"

#include "vmm/trace_tool/trace_report.h"

#include "tests/unit/trace_rig.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>

static char path[] = "/tmp/vkvm-symbols-XXXXXX";
static struct trace_symbols *symbols;
static struct failure failure;

static void
set_up(void)
{
    int fd = mkstemp(path);

    cr_assert(fd >= 0);
    close(fd);
}

static void
tear_down(void)
{
    trace_symbols_free(symbols);
    unlink(path);
}

TestSuite(trace_symbols, .init = set_up, .fini = tear_down);

static int
load_bytes(const void *bytes, size_t size)
{
    FILE *file = fopen(path, "w");

    cr_assert(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    return trace_symbols_load(path, &symbols, &failure);
}

static int
load_text(const char *text)
{
    return load_bytes(text, strlen(text));
}

static void
expect_at(uint64_t address, const char *name, uint64_t wanted_start)
{
    uint64_t start = 0;
    const char *found = trace_symbols_find(symbols, address, &start);

    if (name == NULL) {
        cr_expect(found == NULL, "0x%lx is in %s", address, found);
        return;
    }
    cr_expect(found != NULL && strcmp(found, name) == 0, "0x%lx is in %s", address,
              found != NULL ? found : "nothing");
    cr_expect_eq(start, wanted_start);
}

static void
expect_refused(const char *text, int error, const char *message)
{
    cr_expect_eq(load_text(text), error);
    cr_expect(strstr(failure.message, message) != NULL, "%s", failure.message);
}

/* --- Texts ----------------------------------------------------------------- */

Test(trace_symbols, code_of_a_map_is_kept_and_data_is_not)
{
    cr_assert_eq(load_text("1000 T first\n1800 D data\n1900 b bss\n2000 t second\n3000 W weak\n"),
                 0);
    expect_at(0x1000, "first", 0x1000);
    expect_at(0x1fff, "first", 0x1000);
    expect_at(0x2000, "second", 0x2000);
    expect_at(0x3001, "weak", 0x3000);
    expect_at(0xfff, NULL, 0);
}

Test(trace_symbols, the_last_symbol_of_a_map_reaches_a_mebibyte)
{
    cr_assert_eq(load_text("1000 T only\n"), 0);
    expect_at(0x100fff, "only", 0x1000);
    expect_at(0x101000, NULL, 0);
}

Test(trace_symbols, a_map_need_not_be_sorted_and_modules_are_read_too)
{
    cr_assert_eq(load_text("5000 t late\t[module]\n1000 T early\n"), 0);
    expect_at(0x1234, "early", 0x1000);
    expect_at(0x5001, "late", 0x5000);
}

Test(trace_symbols, symbols_that_are_moved_are_found_where_the_guest_has_them)
{
    uint64_t address = 0;

    cr_assert_eq(load_text("ffffffff81000000 T startup\nffffffff81000040 T next\n"), 0);
    trace_symbols_move(symbols, 0x2a000000);
    expect_at(0xffffffffab000041, "next", 0xffffffffab000040);
    expect_at(0xffffffff81000041, NULL, 0);
    cr_assert(trace_symbols_address(symbols, "next", &address));
    cr_expect_eq(address, 0xffffffff81000040, "as the file has it");
    cr_expect_not(trace_symbols_address(symbols, "none", &address));
}

Test(trace_symbols, a_name_is_a_word_in_every_format)
{
    cr_assert_eq(load_text("1000 T a;b,c\"d\x7f\n"), 0);
    expect_at(0x1000, "a_b_c_d_", 0x1000);
}

Test(trace_symbols, debians_map_without_symbols_names_the_package_that_has_them)
{
    expect_refused("ffffffffffffffff B The real System.map is in the linux-image-6.1-dbg package\n",
                   -ENODATA, "install linux-image-6.1-dbg and");
}

Test(trace_symbols, a_text_whose_addresses_are_hidden_is_told)
{
    expect_refused("0000000000000000 T _text\n0000000000000000 t more\n", -ENODATA,
                   "kernel.kptr_restrict");
}

Test(trace_symbols, a_text_that_is_no_map_is_refused)
{
    expect_refused("This is a letter.\n", -EPROTO, "no symbols that vkvm knows");
    expect_refused("1000 T\n", -EPROTO, "no symbols that vkvm knows");
    expect_refused("", -ENODATA, "no symbols of code");
}

/* --- ELF ------------------------------------------------------------------- */

/* A file with a symbol table and a build id, and nothing else. */
struct elf_file {
    Elf64_Ehdr header;
    Elf64_Shdr sections[4];
    Elf64_Sym symbols[7];
    char names[64];
    Elf64_Nhdr note;
    char note_name[4];
    uint8_t build_id[4];
};

static void
elf_init(struct elf_file *elf)
{
    static const char names[] = "\0run\0walk\0.Lhidden\0table\0extern\0wide";

    *elf = (struct elf_file){
        .header = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
                                 EV_CURRENT },
                    .e_type = ET_EXEC,
                    .e_machine = EM_X86_64,
                    .e_version = EV_CURRENT,
                    .e_shoff = offsetof(struct elf_file, sections),
                    .e_ehsize = sizeof(Elf64_Ehdr),
                    .e_shentsize = sizeof(Elf64_Shdr),
                    .e_shnum = 4 },
        .note = { .n_namesz = 4, .n_descsz = 4, .n_type = NT_GNU_BUILD_ID },
        .note_name = "GNU",
        .build_id = { 0xde, 0xad, 0x00, 0x0f },
        .symbols = { { .st_name = 0 },
                     { 1, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, 0x1000, 0x10 },
                     { 5, ELF64_ST_INFO(STB_LOCAL, STT_NOTYPE), 0, 1, 0x2000, 0 },
                     { 10, ELF64_ST_INFO(STB_LOCAL, STT_NOTYPE), 0, 1, 0x2010, 0 },
                     { 19, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT), 0, 1, 0x2020, 8 },
                     { 25, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, SHN_UNDEF, 0x2030, 0 },
                     { 32, ELF64_ST_INFO(STB_GLOBAL, STT_NOTYPE), 0, SHN_ABS, 0x2040, 0 } },
    };
    memcpy(elf->names, names, sizeof(names));
    elf->sections[1] = (Elf64_Shdr){ .sh_type = SHT_SYMTAB,
                                     .sh_offset = offsetof(struct elf_file, symbols),
                                     .sh_size = sizeof(elf->symbols),
                                     .sh_link = 2,
                                     .sh_entsize = sizeof(Elf64_Sym) };
    elf->sections[2] = (Elf64_Shdr){ .sh_type = SHT_STRTAB,
                                     .sh_offset = offsetof(struct elf_file, names),
                                     .sh_size = sizeof(elf->names) };
    elf->sections[3] = (Elf64_Shdr){ .sh_type = SHT_NOTE,
                                     .sh_offset = offsetof(struct elf_file, note),
                                     .sh_size = sizeof(Elf64_Nhdr) + 8,
                                     .sh_addralign = 4 };
}

Test(trace_symbols, an_elf_files_functions_and_labels_are_kept_and_what_is_no_code_is_not)
{
    struct elf_file elf;

    elf_init(&elf);
    cr_assert_eq(load_bytes(&elf, sizeof(elf)), 0, "%s", failure.message);
    expect_at(0x100f, "run", 0x1000);
    expect_at(0x1010, NULL, 0);
    expect_at(0x2044, "walk", 0x2000);
}

Test(trace_symbols, an_elf_file_says_which_build_it_is)
{
    struct elf_file elf;

    elf_init(&elf);
    cr_assert_eq(load_bytes(&elf, sizeof(elf)), 0, "%s", failure.message);
    cr_expect_str_eq(trace_symbols_build_id(symbols), "dead000f");
}

Test(trace_symbols, a_stripped_or_damaged_elf_file_is_refused)
{
    struct elf_file elf;

    elf_init(&elf);
    elf.sections[1].sh_type = SHT_PROGBITS;
    cr_expect_eq(load_bytes(&elf, sizeof(elf)), -ENODATA);
    cr_expect(strstr(failure.message, "it is stripped") != NULL, "%s", failure.message);
    elf.header.e_ident[EI_CLASS] = 9;
    cr_expect_eq(load_bytes(&elf, sizeof(elf)), -EPROTO);
    cr_expect(strstr(failure.message, "a damaged ELF file") != NULL, "%s", failure.message);
}

/* --- Of a trace ------------------------------------------------------------ */

static int
open_trace(const char *header, uint64_t lstar, const char *last_words)
{
    struct trace_rig *rig = calloc(1, sizeof(*rig));
    struct tool_options options = { .symbols = path };
    struct trace_record records[] = {
        trace_rig_fault(0, 0, 0x1000, 0),
        { .kind = TRACE_ENTRY,
          .sequence = 1,
          .time = TRACE_RIG_STARTED,
          .who = TRACE_VCPU,
          .entry = { lstar } },
        { .kind = TRACE_REGISTERS,
          .sequence = 2,
          .time = TRACE_RIG_STARTED,
          .who = TRACE_VCPU,
          .registers = { .fault = 0, .rip = 0xffffffffab000041, .linear = TRACE_NONE } },
    };
    char trace[] = "/tmp/vkvm-trace-XXXXXX";
    struct trace_input input;
    struct trace_event event;
    int fd = mkstemp(trace), status;

    cr_assert(rig != NULL && fd >= 0);
    close(fd);
    if (lstar == 0)
        records[1].kind = TRACE_SWITCH;
    trace_rig_init(rig, header, 0);
    trace_rig_records(rig, 0, records, 3, 0);
    if (last_words != NULL)
        trace_rig_text(rig, last_words);
    cr_assert(trace_rig_write(rig, trace, rig->size));
    options.files[0] = trace;
    status = trace_input_open(&input, &options, 0, &failure);
    unlink(trace);
    free(rig);
    if (status != CLI_OK)
        return status;
    cr_assert_eq(trace_input_next(&input, &event), 1);
    if (event.symbol == NULL)
        status = -1;
    else
        cr_expect_str_eq(event.symbol, "entry_SYSCALL_64");
    trace_input_close(&input);
    return status;
}

Test(trace_symbols, a_linux_that_moved_is_found_by_where_its_system_calls_go)
{
    cr_assert_eq(load_text("ffffffff81000000 T startup\nffffffff81000040 T entry_SYSCALL_64\n"), 0);
    cr_expect_eq(open_trace("x=y\n", 0xffffffffab000040, NULL), CLI_OK, "a record says it");
    cr_expect_eq(open_trace("x=y\n", 0, "lstar=0xffffffffab000040\n"), CLI_OK, "at the end");
    cr_expect_eq(open_trace("x=y\n", 0, "a=b\n"), -1, "it is not known");
}

Test(trace_symbols, those_of_another_build_than_the_one_that_ran_are_refused)
{
    struct elf_file elf;

    elf_init(&elf);
    cr_assert_eq(load_bytes(&elf, sizeof(elf)), 0, "%s", failure.message);
    cr_expect_eq(open_trace("build_id=dead000e\n", 0, NULL), CLI_NOT_LOADABLE);
    cr_expect(strstr(failure.message, "is another build") != NULL, "%s", failure.message);
    cr_expect_eq(open_trace("build_id=dead000f\n", 0, NULL), -1, "the build is right");
    cr_expect_eq(open_trace("x=y\n", 0, NULL), -1, "it is not known which build ran");
}
