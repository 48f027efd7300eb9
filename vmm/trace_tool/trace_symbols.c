/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Symbols: an array by address, names in one piece of text.
 */
#include "vmm/trace_tool/trace_symbols.h"

#include "vmm/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How far the last symbol reaches, or one whose size the file does not say. */
#define REACH_MAX ((uint64_t)1 << 20)

/* The longest text: kallsyms of a kernel with all its modules has some 15 MB. */
#define TEXT_MAX ((uint64_t)256 << 20)

/* What Debian's System.map has instead of symbols. */
#define PLACEHOLDER "The real System.map is in the "

/* Bytes of a build id that are told; a trace has as many. */
#define BUILD_ID_MAX 32u

struct symbol {
    uint64_t start;
    uint64_t size; /* 0 = unknown */
    char *name;    /* owned */
};

struct trace_symbols {
    struct symbol *list; /* owned: by start */
    size_t count;
    size_t room;
    uint64_t offset;
    char build_id[2 * BUILD_ID_MAX + 1]; /* hexadecimal; "" = not known */
};

static int
add(struct trace_symbols *symbols, uint64_t start, uint64_t size, const char *name, size_t length)
{
    char *copy = strndup(name, length);

    if (copy == NULL)
        return -ENOMEM;
    for (char *p = copy; *p != '\0'; p++) {
        if (*p <= ' ' || *p == ';' || *p == ',' || *p == '"' || *p >= 0x7f)
            *p = '_'; /* a word in every format */
    }
    if (symbols->count == symbols->room) {
        size_t room = symbols->room == 0 ? 1024 : 2 * symbols->room;
        struct symbol *list = reallocarray(symbols->list, room, sizeof(*list));

        if (list == NULL) {
            free(copy);
            return -ENOMEM;
        }
        symbols->list = list;
        symbols->room = room;
    }
    symbols->list[symbols->count++] = (struct symbol){ .start = start, .size = size, .name = copy };
    return 0;
}

/* --- ELF ------------------------------------------------------------------- */

/* Code: functions, and what assembly defines without a type. */
static bool
is_code(const GElf_Sym *symbol, const char *name)
{
    unsigned type = GELF_ST_TYPE(symbol->st_info);

    return (type == STT_FUNC || type == STT_NOTYPE) && symbol->st_shndx != SHN_UNDEF &&
           symbol->st_shndx < SHN_LORESERVE && name != NULL && name[0] != '\0' &&
           strncmp(name, ".L", 2) != 0;
}

static int
read_table(struct trace_symbols *symbols, Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
    Elf_Data *data = elf_getdata(section, NULL);
    size_t count = header->sh_entsize != 0 ? header->sh_size / header->sh_entsize : 0;
    GElf_Sym symbol;
    int error = 0;

    for (size_t i = 0; error == 0 && i < count && data != NULL; i++) {
        const char *name;

        if (gelf_getsym(data, (int)i, &symbol) == NULL)
            break;
        name = elf_strptr(elf, header->sh_link, symbol.st_name);
        if (is_code(&symbol, name))
            error = add(symbols, symbol.st_value, symbol.st_size, name, strlen(name));
    }
    return error;
}

static void
take_build_id(struct trace_symbols *symbols, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size && i < BUILD_ID_MAX; i++)
        snprintf(&symbols->build_id[2 * i], 3, "%02x", bytes[i]);
}

static void
read_notes(struct trace_symbols *symbols, Elf_Scn *section)
{
    Elf_Data *notes = elf_getdata(section, NULL);
    size_t at = 0, next, name, description;
    GElf_Nhdr note;

    for (; notes != NULL && (next = gelf_getnote(notes, at, &note, &name, &description)) > 0;
         at = next) {
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof(ELF_NOTE_GNU) &&
            memcmp((const char *)notes->d_buf + name, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) == 0)
            take_build_id(symbols, (const uint8_t *)notes->d_buf + description, note.n_descsz);
    }
}

static int
read_elf(struct trace_symbols *symbols, int fd)
{
    Elf_Scn *section = NULL;
    GElf_Shdr header;
    int error = 0;
    Elf *elf;

    if (elf_version(EV_CURRENT) == EV_NONE)
        return -EPROTO;
    elf = elf_begin(fd, ELF_C_READ, NULL);
    if (elf == NULL || elf_kind(elf) != ELF_K_ELF) {
        elf_end(elf);
        return -EPROTO;
    }
    while (error == 0 && (section = elf_nextscn(elf, section)) != NULL) {
        if (gelf_getshdr(section, &header) == NULL)
            continue;
        if (header.sh_type == SHT_SYMTAB)
            error = read_table(symbols, elf, section, &header);
        else if (header.sh_type == SHT_NOTE)
            read_notes(symbols, section);
    }
    elf_end(elf);
    return error;
}

/* --- Texts ----------------------------------------------------------------- */

/* "ADDRESS TYPE NAME", perhaps with "[module]" behind.  Returns 1: a symbol, 0: not one of code. */
static int
parse_line(struct trace_symbols *symbols, const char *line)
{
    char *p;
    uint64_t address = strtoull(line, &p, 16);
    size_t length;

    if (p == line || *p++ != ' ' || *p == '\0' || p[1] != ' ')
        return -EPROTO;
    if (strchr("tTwW", *p) == NULL)
        return 0;
    p += 2;
    length = strcspn(p, " \t\r\n");
    if (length == 0)
        return -EPROTO;
    return address != 0 ? add(symbols, address, 0, p, length) : 0;
}

static int
read_lines(struct trace_symbols *symbols, char *text)
{
    char *line, *rest = text;
    int error = 0;

    while (error == 0 && (line = strsep(&rest, "\n")) != NULL) {
        if (*line != '\0')
            error = parse_line(symbols, line);
    }
    return error;
}

static int
placeholder_failure(const char *path, const char *text, struct failure *failure)
{
    const char *package = strstr(text, PLACEHOLDER) + strlen(PLACEHOLDER);
    int length = (int)strcspn(package, " \n");

    return failure_set(failure, -ENODATA,
                       FAILURE_NAME " has no symbols, only a hint: install %.*s and give its "
                                    "/usr/lib/debug/boot/vmlinux-* or System.map-*",
                       path, length < 128 ? length : 128, package);
}

static int
read_text(struct trace_symbols *symbols, int fd, uint64_t size, const char *path,
          struct failure *failure)
{
    char *text = size <= TEXT_MAX ? malloc(size + 1) : NULL;
    int error;

    if (text == NULL)
        return failure_set(failure, -ENOMEM, "cannot read " FAILURE_NAME ": it is too large", path);
    error = file_read_at(fd, text, size, 0);
    if (error == 0) {
        text[size] = '\0';
        if (strstr(text, PLACEHOLDER) != NULL)
            error = placeholder_failure(path, text, failure);
        else if ((error = read_lines(symbols, text)) != 0)
            failure_set(failure, error,
                        error == -EPROTO ? FAILURE_NAME
                            " has no symbols that vkvm knows: give vmlinux, "
                            "System.map or the text of /proc/kallsyms"
                                         : "cannot read " FAILURE_NAME ": out of memory",
                        path);
    } else {
        failure_set(failure, error, "cannot read " FAILURE_NAME ": %s", path, strerror(-error));
    }
    free(text);
    return error;
}

/* --- The list -------------------------------------------------------------- */

static int
compare(const void *left, const void *right)
{
    const struct symbol *a = left, *b = right;

    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int
load(struct trace_symbols *symbols, int fd, uint64_t size, const char *path,
     struct failure *failure)
{
    char magic[SELFMAG] = "";
    int error;

    if (file_read_at(fd, magic, sizeof(magic), 0) == 0 && memcmp(magic, ELFMAG, SELFMAG) == 0) {
        error = read_elf(symbols, fd);
        if (error != 0)
            return failure_set(failure, error, "cannot read " FAILURE_NAME ": %s", path,
                               error == -EPROTO ? "a damaged ELF file" : strerror(-error));
    } else {
        error = read_text(symbols, fd, size, path, failure);
        if (error != 0)
            return error;
    }
    if (symbols->count == 0)
        return failure_set(failure, -ENODATA,
                           FAILURE_NAME
                           " has no symbols of code: it is stripped, or its addresses are hidden "
                           "from who read it (kernel.kptr_restrict)",
                           path);
    qsort(symbols->list, symbols->count, sizeof(symbols->list[0]), compare);
    return 0;
}

int
trace_symbols_load(const char *path, struct trace_symbols **symbolsp, struct failure *failure)
{
    struct trace_symbols *symbols = calloc(1, sizeof(*symbols));
    uint64_t size;
    int fd, error;

    if (symbols == NULL)
        return failure_set(failure, -ENOMEM, "out of memory for symbols");
    error = file_open(path, O_RDONLY, &fd, &size, failure);
    if (error == 0) {
        error = load(symbols, fd, size, path, failure);
        close(fd);
    }
    if (error != 0) {
        trace_symbols_free(symbols);
        return error;
    }
    *symbolsp = symbols;
    return 0;
}

void
trace_symbols_free(struct trace_symbols *symbols)
{
    if (symbols == NULL)
        return;
    for (size_t i = 0; i < symbols->count; i++)
        free(symbols->list[i].name);
    free(symbols->list);
    free(symbols);
}

void
trace_symbols_move(struct trace_symbols *symbols, uint64_t offset)
{
    symbols->offset = offset;
}

bool
trace_symbols_address(const struct trace_symbols *symbols, const char *name, uint64_t *address)
{
    for (size_t i = 0; i < symbols->count; i++) {
        if (strcmp(symbols->list[i].name, name) == 0) {
            *address = symbols->list[i].start;
            return true;
        }
    }
    return false;
}

const char *
trace_symbols_build_id(const struct trace_symbols *symbols)
{
    return symbols->build_id;
}

const char *
trace_symbols_find(const struct trace_symbols *symbols, uint64_t address, uint64_t *start)
{
    size_t low = 0, high = symbols->count;
    const struct symbol *symbol;

    address -= symbols->offset;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (symbols->list[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    symbol = &symbols->list[low - 1];
    if (address - symbol->start >= (symbol->size != 0 ? symbol->size : REACH_MAX))
        return NULL;
    *start = symbol->start + symbols->offset;
    return symbol->name;
}
