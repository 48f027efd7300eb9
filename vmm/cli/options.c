/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The options of `vkvm run`.
 *
 * Each option is a row of run_table: name, placeholder, setter, help.  getopt_long
 * gets its own table from it, with the row's number as the value, so that an
 * option cannot be parsed without being documented.
 */
#include "vmm/cli/options.h"

#include "guest/include/vkvm_abi.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* getopt_long's value for row i of the table: clear of characters and of its own 1, ':' and '?'. */
#define ROW_BASE 0x100

static unsigned
digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    if (c >= 'A' && c <= 'F')
        return (unsigned)(c - 'A') + 10;
    return UINT_MAX;
}

/* Digits in base 10 or, after 0x, 16.  Not strtoull: it takes blanks, signs and octal too. */
static int
parse_number(const char *text, uint64_t *value, const char **end)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    unsigned base = hex ? 16 : 10, digit;
    const char *p = hex ? text + 2 : text;
    uint64_t number = 0;

    if (digit_value(*p) >= base)
        return -EINVAL;
    for (; (digit = digit_value(*p)) < base; p++) {
        if (number > (UINT64_MAX - digit) / base)
            return -ERANGE;
        number = number * base + digit;
    }
    *value = number;
    *end = p;
    return 0;
}

int
options_parse_number(const char *text, uint64_t *value)
{
    const char *end;
    uint64_t number;
    int error = parse_number(text, &number, &end);

    if (error != 0)
        return error;
    if (*end != '\0')
        return -EINVAL;
    *value = number;
    return 0;
}

int
options_parse_size(const char *text, uint64_t *size)
{
    static const char suffixes[] = "KMGT";
    const char *suffix, *end;
    unsigned shift;
    uint64_t value;
    int error = parse_number(text, &value, &end);

    if (error != 0)
        return error;
    if (*end != '\0') {
        suffix = strchr(suffixes, toupper((unsigned char)*end));
        if (suffix == NULL || end[1] != '\0')
            return -EINVAL;
        shift = 10 * (unsigned)(suffix - suffixes + 1);
        if (value > UINT64_MAX >> shift)
            return -ERANGE;
        value <<= shift;
    }
    *size = value;
    return 0;
}

int
options_parse_seconds(const char *text, unsigned *ms)
{
    uint64_t value = 0, scale = 1000;
    bool rest = false, digits = false;

    for (; isdigit((unsigned char)*text); text++, digits = true) {
        value = value * 10 + (uint64_t)(*text - '0') * 1000;
        if (value > UINT32_MAX)
            return -ERANGE;
    }
    if (*text == '.') {
        for (text++; isdigit((unsigned char)*text); text++, digits = true) {
            scale /= 10;
            value += (uint64_t)(*text - '0') * scale;
            rest |= scale == 0 && *text != '0';
        }
    }
    if (*text != '\0' || !digits)
        return -EINVAL;
    value += rest;
    if (value > UINT32_MAX)
        return -ERANGE;
    *ms = (unsigned)value;
    return 0;
}

/* A size option's value: whole pages within [min, max]. */
static int
parse_pages(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *size,
            struct cli_error *error)
{
    char low[CLI_SIZE_TEXT], high[CLI_SIZE_TEXT];
    uint64_t value;
    int result = options_parse_size(text, &value);

    if (result != 0 && result != -ERANGE)
        return cli_fail(error, CLI_USAGE, "%s=" CLI_NAME " is not a size: give one like 64M",
                        option, text);
    if (result != 0 || value > max || value < min)
        return cli_fail(error, CLI_USAGE, "%s=" CLI_NAME " is out of range: give %s to %s", option,
                        text, cli_size_text(min, low), cli_size_text(max, high));
    if ((value & PAGE_MASK) != 0)
        return cli_fail(error, CLI_USAGE,
                        "%s=" CLI_NAME " is not a whole number of pages: give a multiple of 4K",
                        option, text);
    *size = value;
    return CLI_OK;
}

/* A small decimal number within [min, max]. */
static int
parse_count(const char *option, const char *text, unsigned min, unsigned max, unsigned *count,
            struct cli_error *error)
{
    const char *end = text;
    uint64_t value = 0;

    if (parse_number(text, &value, &end) != 0 || *end != '\0' || value < min || value > max)
        return cli_fail(error, CLI_USAGE, "%s=" CLI_NAME " is not possible: give %u to %u", option,
                        text, min, max);
    *count = (unsigned)value;
    return CLI_OK;
}

/* A window while its pieces are read: what was given. */
struct window_pieces {
    const char *text; /* the option's value, for messages */
    struct vm_window_config window;
    unsigned seen; /* bit i: window_keys[i] was given */
};

static int
window_set_gpa(struct window_pieces *pieces, const char *value, struct cli_error *error)
{
    uint64_t gpa;

    if (options_parse_size(value, &gpa) != 0 || (gpa & PAGE_MASK) != 0 || gpa < VKVM_WINDOW_BASE ||
        gpa >= VKVM_WINDOW_END)
        return cli_fail(error, CLI_USAGE,
                        "--window gpa=" CLI_NAME
                        " is not possible: give a page's address from 0x%llx to below 0x%llx",
                        value, (unsigned long long)VKVM_WINDOW_BASE,
                        (unsigned long long)VKVM_WINDOW_END);
    pieces->window.start = gpa_from_u64(gpa);
    return CLI_OK;
}

static int
window_set_size(struct window_pieces *pieces, const char *value, struct cli_error *error)
{
    return parse_pages("--window size", value, PAGE_SIZE, VKVM_WINDOW_END - VKVM_WINDOW_BASE,
                       &pieces->window.size, error);
}

static int
window_set_format(struct window_pieces *pieces, const char *value, struct cli_error *error)
{
    const struct vpte_format *format = vpte_format_find(value);

    if (format == NULL)
        return cli_fail(error, CLI_USAGE,
                        "--window format=" CLI_NAME " is unknown: give vpte64 or vpte32", value);
    pieces->window.format = format;
    return CLI_OK;
}

static int
window_set_root(struct window_pieces *pieces, const char *value, struct cli_error *error)
{
    const char *end = value;

    if (parse_number(value, &pieces->window.root, &end) != 0 || *end != '\0')
        return cli_fail(error, CLI_USAGE,
                        "--window root=" CLI_NAME " is not an entry: give a number like 0x5003",
                        value);
    return CLI_OK;
}

static int
window_set_prot(struct window_pieces *pieces, const char *value, struct cli_error *error)
{
    static const char letters[] = "rwx"; /* letter i is protection bit i */
    vm_prot_t prot = VM_PROT_NONE;

    for (const char *p = value; *p != '\0'; p++) {
        const char *letter = strchr(letters, *p);

        if (letter == NULL)
            return cli_fail(error, CLI_USAGE,
                            "--window prot=" CLI_NAME " is not a protection: give letters of rwx",
                            value);
        prot |= (vm_prot_t)(1u << (letter - letters));
    }
    if (prot == VM_PROT_NONE)
        return cli_fail(error, CLI_USAGE, "--window prot= is empty: give letters of rwx");
    pieces->window.protection = prot;
    return CLI_OK;
}

#define WINDOW_GPA 0
#define WINDOW_SIZE 1

static const struct {
    const char *name;
    int (*set)(struct window_pieces *pieces, const char *value, struct cli_error *error);
} window_keys[] = {
    [WINDOW_GPA] = { "gpa", window_set_gpa },
    [WINDOW_SIZE] = { "size", window_set_size },
    { "format", window_set_format },
    { "root", window_set_root },
    { "prot", window_set_prot },
};

/* One KEY=VALUE of a window. */
static int
window_set_piece(struct window_pieces *pieces, char *piece, struct cli_error *error)
{
    char *value = strchr(piece, '=');

    if (value == NULL)
        return cli_fail(error, CLI_USAGE, "--window " CLI_NAME " has no '=': give KEY=VALUE,...",
                        piece);
    *value++ = '\0';
    for (size_t i = 0; i < COUNT(window_keys); i++) {
        if (strcmp(piece, window_keys[i].name) != 0)
            continue;
        if ((pieces->seen & 1u << i) != 0)
            return cli_fail(error, CLI_USAGE, "--window has two %s=: give one", piece);
        pieces->seen |= 1u << i;
        return window_keys[i].set(pieces, value, error);
    }
    return cli_fail(error, CLI_USAGE,
                    "--window " CLI_NAME "= is unknown: give gpa, size, format, root or prot",
                    piece);
}

/* What can only be said when all pieces are known. */
static int
window_check(const struct window_pieces *pieces, const struct vm_config *config,
             struct cli_error *error)
{
    const struct vm_window_config *window = &pieces->window;
    uint64_t start = gpa_to_u64(window->start);

    if ((pieces->seen & 1u << WINDOW_GPA) == 0 || (pieces->seen & 1u << WINDOW_SIZE) == 0)
        return cli_fail(error, CLI_USAGE, "--window " CLI_NAME " is incomplete: give gpa and size",
                        pieces->text);
    if (window->size > VKVM_WINDOW_END - start)
        return cli_fail(error, CLI_USAGE,
                        "--window " CLI_NAME " ends above 0x%llx: make it smaller", pieces->text,
                        (unsigned long long)VKVM_WINDOW_END);
    if (window->size > (uint64_t)1 << window->format->frame_end)
        return cli_fail(error, CLI_USAGE,
                        "--window " CLI_NAME " is larger than %s can map: make it smaller",
                        pieces->text, window->format->name);
    if ((window->root & ~(vpte_t)UINT32_MAX) != 0 && window->format->entry_size == 4)
        return cli_fail(error, CLI_USAGE,
                        "--window " CLI_NAME ": root has more than 32 bits: give a smaller one",
                        pieces->text);
    for (unsigned i = 0; i < config->nwindows; i++) {
        const struct vm_window_config *other = &config->windows[i];
        uint64_t other_start = gpa_to_u64(other->start);

        if (start < other_start + other->size && other_start < start + window->size)
            return cli_fail(error, CLI_USAGE,
                            "--window " CLI_NAME " overlaps another: move one of them",
                            pieces->text);
    }
    return CLI_OK;
}

static int
set_window(struct run_options *options, const char *value, struct cli_error *error)
{
    struct vm_config *config = &options->config;
    struct window_pieces pieces = {
        .text = value,
        .window = { .format = &vpte64_format, .protection = VM_PROT_ALL },
    };
    char *copy, *rest, *piece;
    int status = CLI_OK;

    if (config->nwindows == VM_MAX_WINDOWS)
        return cli_fail(error, CLI_USAGE, "too many --window: give at most %d", VM_MAX_WINDOWS);
    copy = rest = strdup(value);
    if (copy == NULL)
        return cli_fail(error, CLI_FAILED, "out of memory");
    while (status == CLI_OK && (piece = strsep(&rest, ",")) != NULL)
        status = window_set_piece(&pieces, piece, error);
    free(copy);
    if (status == CLI_OK)
        status = window_check(&pieces, config, error);
    if (status == CLI_OK)
        config->windows[config->nwindows++] = pieces.window;
    return status;
}

/* A file to map while its pieces are read. */
struct map_pieces {
    const char *text; /* the option's value, for messages and the file's name */
    struct vm_file_config file;
    bool has_gpa, has_size, is_private;
};

static int
map_set_gpa(struct map_pieces *pieces, const char *value, struct cli_error *error)
{
    uint64_t gpa;

    if (options_parse_size(value, &gpa) != 0 || (gpa & PAGE_MASK) != 0 || gpa < VKVM_WINDOW_BASE ||
        gpa >= VKVM_WINDOW_END)
        return cli_fail(error, CLI_USAGE,
                        "--map gpa=" CLI_NAME
                        " is not possible: give a page's address from 0x%llx to below 0x%llx",
                        value, (unsigned long long)VKVM_WINDOW_BASE,
                        (unsigned long long)VKVM_WINDOW_END);
    pieces->file.start = gpa_from_u64(gpa);
    pieces->has_gpa = true;
    return CLI_OK;
}

static int
map_set_size(struct map_pieces *pieces, const char *value, struct cli_error *error)
{
    pieces->has_size = true;
    return parse_pages("--map size", value, PAGE_SIZE, VKVM_WINDOW_END - VKVM_WINDOW_BASE,
                       &pieces->file.size, error);
}

/* A piece of the value, which begins at `offset` in its text. */
static int
map_set_piece(struct map_pieces *pieces, const char *piece, size_t offset, struct cli_error *error)
{
    if (strncmp(piece, "gpa=", 4) == 0)
        return map_set_gpa(pieces, piece + 4, error);
    if (strncmp(piece, "size=", 5) == 0)
        return map_set_size(pieces, piece + 5, error);
    if (strncmp(piece, "file=", 5) == 0) {
        pieces->file.path = pieces->text + offset + 5;
        pieces->file.path_size = strlen(piece + 5);
    } else if (strcmp(piece, "shared") == 0) {
        pieces->file.shared = true;
    } else if (strcmp(piece, "private") == 0) {
        pieces->is_private = true;
    } else if (strcmp(piece, "ro") == 0) {
        pieces->file.read_only = true;
    } else {
        return cli_fail(error, CLI_USAGE,
                        "--map " CLI_NAME
                        " is unknown: give gpa=, size=, file=, private or shared, ro",
                        piece);
    }
    return CLI_OK;
}

static bool
places_overlap(gpa_t a, uint64_t a_size, gpa_t b, uint64_t b_size)
{
    return gpa_to_u64(a) < gpa_to_u64(b) + b_size && gpa_to_u64(b) < gpa_to_u64(a) + a_size;
}

/* What can only be said when all pieces are known. */
static int
map_check(const struct map_pieces *pieces, struct cli_error *error)
{
    const struct vm_file_config *file = &pieces->file;

    if (!pieces->has_gpa || !pieces->has_size || file->path_size == 0)
        return cli_fail(error, CLI_USAGE,
                        "--map " CLI_NAME " is incomplete: give gpa, size and file", pieces->text);
    if (file->shared == pieces->is_private)
        return cli_fail(error, CLI_USAGE,
                        "--map " CLI_NAME " must be private or shared: give one of them",
                        pieces->text);
    if (file->size > VKVM_WINDOW_END - gpa_to_u64(file->start))
        return cli_fail(error, CLI_USAGE, "--map " CLI_NAME " ends above 0x%llx: make it smaller",
                        pieces->text, (unsigned long long)VKVM_WINDOW_END);
    return CLI_OK;
}

static int
set_map(struct run_options *options, const char *value, struct cli_error *error)
{
    struct vm_config *config = &options->config;
    struct map_pieces pieces = { .text = value };
    char *copy, *rest, *piece;
    int status = CLI_OK;

    if (config->nfiles == VM_MAX_FILES)
        return cli_fail(error, CLI_USAGE, "too many --map: give at most %d", VM_MAX_FILES);
    copy = rest = strdup(value);
    if (copy == NULL)
        return cli_fail(error, CLI_FAILED, "out of memory");
    while (status == CLI_OK && (piece = strsep(&rest, ",")) != NULL)
        status = map_set_piece(&pieces, piece, (size_t)(piece - copy), error);
    free(copy);
    if (status == CLI_OK)
        status = map_check(&pieces, error);
    if (status == CLI_OK)
        config->files[config->nfiles++] = pieces.file;
    return status;
}

/* Windows and files, in whatever order they were given, must not overlap. */
static int
check_maps(const struct vm_config *config, struct cli_error *error)
{
    for (unsigned i = 0; i < config->nfiles; i++) {
        const struct vm_file_config *file = &config->files[i];
        bool overlaps = false;

        for (unsigned j = 0; j < i; j++)
            overlaps |= places_overlap(file->start, file->size, config->files[j].start,
                                       config->files[j].size);
        for (unsigned j = 0; j < config->nwindows; j++)
            overlaps |= places_overlap(file->start, file->size, config->windows[j].start,
                                       config->windows[j].size);
        if (overlaps)
            return cli_fail(error, CLI_USAGE,
                            "--map gpa=0x%llx overlaps a window or another --map: move one of them",
                            (unsigned long long)gpa_to_u64(file->start));
    }
    return CLI_OK;
}

static int
set_memory(struct run_options *options, const char *value, struct cli_error *error)
{
    return parse_pages("--memory", value, OPTIONS_MEMORY_MIN, OPTIONS_MEMORY_MAX,
                       &options->config.memory_size, error);
}

static int
set_cpus(struct run_options *options, const char *value, struct cli_error *error)
{
    return parse_count("--cpus", value, 1, VM_MAX_VCPUS, &options->config.nvcpus, error);
}

static int
set_ram(struct run_options *options, const char *value, struct cli_error *error)
{
    return parse_pages("--ram", value, OPTIONS_RAM_MIN, OPTIONS_RAM_MAX,
                       &options->config.ram_budget, error);
}

static int
set_swap(struct run_options *options, const char *value, struct cli_error *error)
{
    if (*value == '\0')
        return cli_fail(error, CLI_USAGE, "--swap= has no name: give a file or block device");
    options->config.swap = value;
    return CLI_OK;
}

static int
set_fdt(struct run_options *options, const char *value, struct cli_error *error)
{
    (void)error;
    options->fdt = value;
    return CLI_OK;
}

static int
set_fdt_overlay(struct run_options *options, const char *value, struct cli_error *error)
{
    (void)error;
    options->fdt_overlay = value;
    return CLI_OK;
}

static int
set_timeout(struct run_options *options, const char *value, struct cli_error *error)
{
    int result = options_parse_seconds(value, &options->config.timeout_ms);

    if (result == -ERANGE)
        return cli_fail(error, CLI_USAGE,
                        "--timeout=" CLI_NAME " is too long: give at most 4294967 seconds", value);
    if (result != 0)
        return cli_fail(error, CLI_USAGE,
                        "--timeout=" CLI_NAME " is not a time: give seconds like 10 or 0.5", value);
    return CLI_OK;
}

static int
set_stats(struct run_options *options, const char *value, struct cli_error *error)
{
    (void)value;
    (void)error;
    options->stats = true;
    return CLI_OK;
}

static int
set_json(struct run_options *options, const char *value, struct cli_error *error)
{
    if (value != NULL && *value == '\0')
        return cli_fail(error, CLI_USAGE, "--json= has no name: give --json or --json=FILE");
    options->json = true;
    options->json_file = value;
    return CLI_OK;
}

static int
set_prefault(struct run_options *options, const char *value, struct cli_error *error)
{
    return parse_count("--prefault", value, 0, VM_PREFAULT_MAX, &options->config.prefault_pages,
                       error);
}

static int
set_no_fast_fault(struct run_options *options, const char *value, struct cli_error *error)
{
    (void)value;
    (void)error;
    options->config.fast_fault = false;
    return CLI_OK;
}

static int
set_fault_threads(struct run_options *options, const char *value, struct cli_error *error)
{
    return parse_count("--fault-threads", value, 1, OPTIONS_FAULT_THREADS_MAX,
                       &options->config.fault_threads, error);
}

static int
set_placement(struct run_options *options, const char *value, struct cli_error *error)
{
    static const char *const names[] = {
        [FAULT_PLACE_AUTO] = "auto",
        [FAULT_PLACE_SPIN] = "spin",
        [FAULT_PLACE_BLOCK] = "block",
    };

    for (size_t i = 0; i < COUNT(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            options->config.placement = (enum fault_placement)i;
            return CLI_OK;
        }
    }
    return cli_fail(error, CLI_USAGE,
                    "--placement=" CLI_NAME " is unknown: give auto, spin or block", value);
}

static int
set_help(struct run_options *options, const char *value, struct cli_error *error)
{
    (void)value;
    (void)error;
    options->help = true;
    return CLI_OK;
}

#define STRING(x) #x
#define STRING_OF(x) STRING(x)

static const struct {
    const char *name;
    int has_argument;
    const char *placeholder; /* as the help shows it */
    int (*set)(struct run_options *options, const char *value, struct cli_error *error);
    const char *help;
} run_table[] = {
    { "memory", required_argument, "SIZE", set_memory,
      "guest memory from address 0, 4M to 60G (default 64M)" },
    { "cpus", required_argument, "N", set_cpus,
      "virtual CPUs, 1 to " STRING_OF(VM_MAX_VCPUS) " (default 1)" },
    { "ram", required_argument, "SIZE", set_ram,
      "most host memory for guest pages, 1M or more (default: no limit)" },
    { "swap", required_argument, "FILE", set_swap,
      "page out to this file, which is made if missing and grows, or block device;\n"
      "what it has in it is lost" },
    { "window", required_argument, "gpa=A,size=S[,format=F][,root=V][,prot=P]", set_window,
      "a virtual page table at [A, A+S), from 0x1000000000 on; may be repeated;\n"
      "F is vpte64 (default) or vpte32, V the root entry (default 0: invalid\n"
      "until the guest sets one), P letters of rwx (default rwx)" },
    { "map", required_argument, "gpa=A,size=S,file=F,private|shared[,ro]", set_map,
      "map a file at [A, A+S), where a window could be; may be repeated; what the\n"
      "guest writes goes to the file (shared) or stays in the VM (private);\n"
      "ro: the guest cannot write" },
    { "fdt", required_argument, "FILE", set_fdt,
      "give the guest this device tree instead of the built one" },
    { "fdt-overlay", required_argument, "FILE", set_fdt_overlay,
      "apply this overlay to the device tree" },
    { "timeout", required_argument, "SECONDS", set_timeout,
      "end the run after this time, exit status 124 (default 0: never)" },
    { "stats", no_argument, "", set_stats, "print a report to standard error at the end" },
    { "json", optional_argument, "FILE", set_json,
      "write the report as one line of JSON to standard error or FILE" },
    { "prefault", required_argument, "N", set_prefault,
      "most neighbour pages entered per fault, 0 to " STRING_OF(
          VM_PREFAULT_MAX) " (default " STRING_OF(VM_PREFAULT_DEFAULT) ")" },
    { "no-fast-fault", no_argument, "", set_no_fast_fault, "prefault makes no zero-filled pages" },
    { "fault-threads", required_argument, "N", set_fault_threads,
      "threads that serve faults, 1 to " STRING_OF(
          OPTIONS_FAULT_THREADS_MAX) " (default: chosen)" },
    { "placement", required_argument, "auto|spin|block", set_placement,
      "how fault threads wait: spin on other cores, or block (default auto)" },
    { "help", no_argument, "", set_help, "print this help (also -h)" },
};

static void
fill_long_options(struct option *longs)
{
    for (size_t i = 0; i < COUNT(run_table); i++)
        longs[i] = (struct option){ .name = run_table[i].name,
                                    .has_arg = run_table[i].has_argument,
                                    .val = ROW_BASE + (int)i };
    longs[COUNT(run_table)] = (struct option){ .name = NULL };
}

static int
set_image(struct run_options *options, const char *name, struct cli_error *error)
{
    if (options->image != NULL)
        return cli_fail(error, CLI_USAGE,
                        "unexpected " CLI_NAME ": put the guest's arguments after --", name);
    if (*name == '\0')
        return cli_fail(error, CLI_USAGE, "the image's name is empty: give a file");
    options->image = name;
    return CLI_OK;
}

/* getopt_long's answer for one word of the command line. */
static int
take_word(struct run_options *options, int c, char **argv, struct cli_error *error)
{
    const char *word = argv[optind - 1];

    if (c >= ROW_BASE)
        return run_table[c - ROW_BASE].set(options, optarg, error);
    if (c == 1)
        return set_image(options, optarg, error);
    if (c == 'h')
        return set_help(options, NULL, error);
    if (c == ':')
        return cli_fail(error, CLI_USAGE, "%.512s needs a value: see 'vkvm run --help'", word);
    if (optopt >= ROW_BASE)
        return cli_fail(error, CLI_USAGE, CLI_NAME ": --%s takes no value", word,
                        run_table[optopt - ROW_BASE].name);
    if (optopt != 0)
        return cli_fail(error, CLI_USAGE, "unknown option -%c: see 'vkvm run --help'", optopt);
    return cli_fail(error, CLI_USAGE,
                    "unknown or ambiguous option " CLI_NAME ": see 'vkvm run --help'", word);
}

static void
set_defaults(struct run_options *options)
{
    *options = (struct run_options){
        .config = {
            .memory_size = OPTIONS_MEMORY_DEFAULT,
            .nvcpus = 1,
            .placement = FAULT_PLACE_AUTO,
            .prefault_pages = VM_PREFAULT_DEFAULT,
            .fast_fault = true,
        },
    };
}

int
options_parse_run(int argc, char **argv, struct run_options *options, struct cli_error *error)
{
    struct option longs[COUNT(run_table) + 1];
    int c, status;

    set_defaults(options);
    fill_long_options(longs);
    optind = 0; /* glibc: start over, so that it can be called again */
    opterr = 0;
    /* "-": words that are no options come in their order, as 1; ":": missing values come as ':'. */
    while ((c = getopt_long(argc, argv, "-:h", longs, NULL)) != -1) {
        status = take_word(options, c, argv, error);
        if (status != CLI_OK)
            return status;
    }
    if (options->image == NULL && !options->help)
        return cli_fail(error, CLI_USAGE,
                        "no image given: use 'vkvm run [options] IMAGE [-- ARGS]'");
    status = check_maps(&options->config, error);
    if (status != CLI_OK)
        return status;
    options->arguments = argv + optind;
    options->narguments = (size_t)(argc - optind);
    return CLI_OK;
}

/* An option's row: the flag, then its help, each line indented. */
static void
help_row(FILE *to, size_t i)
{
    const char *separator = run_table[i].has_argument == required_argument   ? " "
                            : run_table[i].has_argument == optional_argument ? "[="
                                                                             : "";

    fprintf(to, "  --%s%s%s%s\n      ", run_table[i].name, separator, run_table[i].placeholder,
            run_table[i].has_argument == optional_argument ? "]" : "");
    for (const char *p = run_table[i].help; *p != '\0'; p++) {
        putc(*p, to);
        if (*p == '\n')
            fputs("      ", to);
    }
    putc('\n', to);
}

void
options_help_run(FILE *to)
{
    fputs("usage: vkvm run [options] IMAGE [-- ARGS]\n\n"
          "Run IMAGE, a static x86-64 ELF executable, as a guest.  ARGS reach it in the\n"
          "device tree.  A SIZE is in bytes or ends in K, M, G or T.\n\noptions:\n",
          to);
    for (size_t i = 0; i < COUNT(run_table); i++)
        help_row(to, i);
    fputs("\nexit status: the guest's own, or\n"
          "    2  wrong usage              125  vkvm or the host failed\n"
          "   70  the guest crashed        126  image or device tree cannot be loaded\n"
          "  124  timeout                  127  image not found\n"
          "  128+N  ended by signal N\n"
          "A guest may exit with any of these itself; --json tells them apart (\"end\").\n",
          to);
}
