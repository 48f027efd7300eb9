/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line of `vkvm walk`.
 *
 * As with `vkvm run`, an option is a row of a table that serves parser and help.
 */
#include "vmm/cli/walk_options.h"

#include "vmm/cli/value.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* getopt_long's value for row i: clear of characters. */
#define ROW_BASE 0x100

/* EPTP: write-back, four levels, A and D kept.  SDM vol. 3, 24.6.11. */
#define EPTP_USUAL 0x5eu

/* The longest line worth looking at, with its end: an access has at most 22 characters. */
#define LINE_SIZE 128
#define NO_ACCESS 0x7f /* a character that none has */

#define STRING(x) #x
#define STRING_OF(x) STRING(x)

static int
set_ram(struct walk_options *options, const char *value, struct failure *failure)
{
    if (*value == '\0')
        return failure_set(failure, CLI_USAGE, "--ram= has no name: give a file");
    options->ram = value;
    return CLI_OK;
}

static int
set_root(struct walk_options *options, const char *value, struct failure *failure)
{
    if (value_number(value, &options->tables.root) != 0)
        return failure_set(failure, CLI_USAGE,
                           "--root=" FAILURE_NAME
                           " is not a value of 64 bits: give a number like 0x5003",
                           value);
    options->has_root = true;
    return CLI_OK;
}

static int
set_format(struct walk_options *options, const char *value, struct failure *failure)
{
    if (!walk_format_find(value, &options->tables.format))
        return failure_set(failure, CLI_USAGE,
                           "--format=" FAILURE_NAME " is unknown: give " WALK_FORMAT_NAMES, value);
    options->format_name = value;
    return CLI_OK;
}

static int
set_object_pages(struct walk_options *options, const char *value, struct failure *failure)
{
    if (value_number(value, &options->tables.object_pages) != 0)
        return failure_set(failure, CLI_USAGE,
                           "--object-pages=" FAILURE_NAME
                           " is not a number of pages: give one like 16384",
                           value);
    options->has_object_pages = true;
    return CLI_OK;
}

static int
set_maxphyaddr(struct walk_options *options, const char *value, struct failure *failure)
{
    uint64_t bits;

    if (value_number(value, &bits) != 0 || bits < X86_WALK_MAXPHYADDR_MIN ||
        bits > X86_WALK_MAXPHYADDR_MAX)
        return failure_set(failure, CLI_USAGE,
                           "--maxphyaddr=" FAILURE_NAME " is not possible: give %d to %d", value,
                           X86_WALK_MAXPHYADDR_MIN, X86_WALK_MAXPHYADDR_MAX);
    options->tables.maxphyaddr = (unsigned)bits;
    options->has_maxphyaddr = true;
    return CLI_OK;
}

static int
set_user(struct walk_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->tables.user = true;
    return CLI_OK;
}

static int
set_set_am(struct walk_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->set_am = true;
    return CLI_OK;
}

static int
set_help(struct walk_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->help = true;
    return CLI_OK;
}

static const struct {
    const char *name;
    int has_argument;
    const char *placeholder; /* as the help shows it */
    int (*set)(struct walk_options *options, const char *value, struct failure *failure);
    const char *help;
} walk_table[] = {
    { "ram", required_argument, " FILE", set_ram, "the memory: page 0 of the file is frame 0" },
    { "root", required_argument, " VALUE", set_root,
      "the root: a vpte, CR3 or EPTP (a bare address means address + 0x5e)" },
    { "format", required_argument, " NAME", set_format, WALK_FORMAT_NAMES "\n(default vpte64)" },
    { "object-pages", required_argument, " N", set_object_pages,
      "frames from N on do not exist (default: the whole pages of FILE)" },
    { "set-am", no_argument, "", set_set_am, "write A, M and D into FILE as the walks set them" },
    { "maxphyaddr", required_argument, " N", set_maxphyaddr,
      "x86_64, ept: physical address bits, " STRING_OF(X86_WALK_MAXPHYADDR_MIN) " to " STRING_OF(
          X86_WALK_MAXPHYADDR_MAX) " (default " STRING_OF(X86_WALK_MAXPHYADDR_MAX) ")" },
    { "user", no_argument, "", set_user, "x86_64: user-mode accesses, which need U/S" },
    { "help", no_argument, "", set_help, "print this help (also -h)" },
};

static void
fill_long_options(struct option *longs)
{
    for (size_t i = 0; i < COUNT(walk_table); i++)
        longs[i] = (struct option){ .name = walk_table[i].name,
                                    .has_arg = walk_table[i].has_argument,
                                    .val = ROW_BASE + (int)i };
    longs[COUNT(walk_table)] = (struct option){ .name = NULL };
}

/* getopt_long's answer for one option. */
static int
take_option(struct walk_options *options, int c, char **argv, struct failure *failure)
{
    if (c >= ROW_BASE)
        return walk_table[c - ROW_BASE].set(options, optarg, failure);
    if (c == 'h')
        return set_help(options, NULL, failure);
    return cli_bad_option("walk", c, argv[optind - 1],
                          optopt >= ROW_BASE ? walk_table[optopt - ROW_BASE].name : NULL, failure);
}

/* A bare table address is what most people have at hand: it gets the usual attributes. */
static void
complete_eptp(struct walk_tables *tables)
{
    const struct x86_walk_format *x86 = tables->format.x86;

    if (x86 != NULL && x86->ept && (tables->root & PAGE_MASK) == 0)
        tables->root |= EPTP_USUAL;
}

/* What can only be said when all options are known. */
static int
check_options(const struct walk_options *options, struct failure *failure)
{
    const struct x86_walk_format *x86 = options->tables.format.x86;

    if (options->ram == NULL)
        return failure_set(failure, CLI_USAGE,
                           "no --ram given: name the file that holds the memory");
    if (!options->has_root)
        return failure_set(failure, CLI_USAGE, "no --root given: give the root vpte, CR3 or EPTP");
    if (!walk_root_fits(&options->tables))
        return failure_set(failure, CLI_USAGE,
                           "--root=0x%llx is no entry of format %s: give one of 32 bits",
                           (unsigned long long)options->tables.root, options->format_name);
    if (options->has_maxphyaddr && x86 == NULL)
        return failure_set(failure, CLI_USAGE,
                           "--maxphyaddr means nothing to format %s: leave it out",
                           options->format_name);
    if (options->tables.user && (x86 == NULL || x86->ept))
        return failure_set(failure, CLI_USAGE, "--user means nothing to format %s: leave it out",
                           options->format_name);
    for (size_t i = 0; i < options->nwords; i++) {
        if (strcmp(options->words[i], "-") == 0 && options->nwords != 1)
            return failure_set(failure, CLI_USAGE, "'-' beside accesses: give either");
    }
    return CLI_OK;
}

int
walk_options_parse(int argc, char **argv, struct walk_options *options, struct failure *failure)
{
    struct option longs[COUNT(walk_table) + 1];
    int c, status;

    *options = (struct walk_options){
        .format_name = vpte64_format.name,
        .tables = { .format = { .vpte = &vpte64_format }, .maxphyaddr = X86_WALK_MAXPHYADDR_MAX },
    };
    fill_long_options(longs);
    optind = 0; /* glibc: start over, so that it can be called again */
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
        status = take_option(options, c, argv, failure);
        if (status != CLI_OK)
            return status;
    }
    options->words = argv + optind;
    options->nwords = (size_t)(argc - optind);
    complete_eptp(&options->tables);
    return options->help ? CLI_OK : check_options(options, failure);
}

const char *
walk_access_letter(vm_prot_t access)
{
    return access == VM_PROT_READ ? "r" : access == VM_PROT_WRITE ? "w" : "x";
}

static int
check_address(const struct walk_options *options, const struct walk_access *access,
              const char *where, struct failure *failure)
{
    const struct x86_walk_format *x86 = options->tables.format.x86;
    unsigned long long remedy, address = access->address;
    uint64_t value;

    if (walk_address_fits(&options->tables, access->address, &value))
        return CLI_OK;
    remedy = value;
    if (x86 == NULL || x86->ept)
        return failure_set(failure, CLI_USAGE,
                           "%s0x%llx is beyond what %s translates: give an address below 0x%llx",
                           where, address, options->format_name, remedy);
    if (remedy > address)
        return failure_set(failure, CLI_USAGE,
                           "%s0x%llx is not canonical: sign-extend it to 0x%llx", where, address,
                           remedy);
    return failure_set(failure, CLI_USAGE,
                       "%s0x%llx is not canonical: give an address below 0x%llx or from 0x%llx on",
                       where, address, remedy, -remedy);
}

/* Parse "r:ADDR", "w:ADDR" or "x:ADDR"; `where` says where it stands, for messages. */
static int
parse_access(const char *text, const struct walk_options *options, const char *where,
             struct walk_access *access, struct failure *failure)
{
    static const char letters[] = "rwx"; /* letter i is protection bit i */
    const char *letter = *text != '\0' ? strchr(letters, *text) : NULL;

    if (letter == NULL || text[1] != ':' || value_number(text + 2, &access->address) != 0)
        return failure_set(failure, CLI_USAGE,
                           "%s" FAILURE_NAME " is not an access: give r:ADDR, w:ADDR or x:ADDR",
                           where, text);
    access->access = (vm_prot_t)(1u << (letter - letters));
    return check_address(options, access, where, failure);
}

static int
accesses_add(struct walk_accesses *accesses, const struct walk_access *access,
             struct failure *failure)
{
    if (accesses->count == WALK_MAX_ACCESSES)
        return failure_set(failure, CLI_USAGE, "more than %zu accesses: give them in several runs",
                           WALK_MAX_ACCESSES);
    if (accesses->count == accesses->room) {
        size_t room = accesses->room == 0 ? 64 : 2 * accesses->room;
        struct walk_access *list = reallocarray(accesses->list, room, sizeof(*list));

        if (list == NULL)
            return failure_set(failure, CLI_FAILED, "out of memory for %zu accesses", room);
        accesses->list = list;
        accesses->room = room;
    }
    accesses->list[accesses->count++] = *access;
    return CLI_OK;
}

static int
accesses_add_text(struct walk_accesses *accesses, const struct walk_options *options,
                  const char *text, const char *where, struct failure *failure)
{
    struct walk_access access;
    int status = parse_access(text, options, where, &access, failure);

    return status != CLI_OK ? status : accesses_add(accesses, &access, failure);
}

static bool
is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/*
 * Read a line without its end and the blanks around it.  A NUL, which would hide what follows,
 * becomes a character that no access has; so does the end of a line that is too long, which
 * is not read to its end: it may have none.
 * Returns false when there is no line left.
 */
static bool
read_line(FILE *input, char line[LINE_SIZE])
{
    size_t length = 0;
    int c = getc(input);

    if (c == EOF)
        return false;
    for (; c != EOF && c != '\n'; c = getc(input)) {
        if (is_blank(c) && (length == 0 || length == LINE_SIZE - 1))
            continue;
        if (length == LINE_SIZE - 1) {
            line[length - 1] = NO_ACCESS;
            break;
        }
        line[length++] = (char)(c != '\0' ? c : NO_ACCESS);
    }
    while (length > 0 && is_blank(line[length - 1]))
        length--;
    line[length] = '\0';
    return true;
}

static int
accesses_read_lines(struct walk_accesses *accesses, const struct walk_options *options, FILE *input,
                    struct failure *failure)
{
    unsigned long long number = 0;
    char line[LINE_SIZE], where[64];
    int status = CLI_OK;

    while (status == CLI_OK && read_line(input, line)) {
        number++;
        snprintf(where, sizeof(where), "standard input, line %llu: ", number);
        if (*line != '\0')
            status = accesses_add_text(accesses, options, line, where, failure);
    }
    if (status == CLI_OK && ferror(input))
        return failure_set(failure, CLI_FAILED, "cannot read standard input: %s", strerror(errno));
    return status;
}

int
walk_accesses_read(struct walk_accesses *accesses, const struct walk_options *options, FILE *input,
                   struct failure *failure)
{
    int status = CLI_OK;

    if (options->nwords == 0 || strcmp(options->words[0], "-") == 0)
        return accesses_read_lines(accesses, options, input, failure);
    for (size_t i = 0; i < options->nwords && status == CLI_OK; i++)
        status = accesses_add_text(accesses, options, options->words[i], "", failure);
    return status;
}

void
walk_accesses_free(struct walk_accesses *accesses)
{
    free(accesses->list);
    *accesses = (struct walk_accesses){ .list = NULL };
}

/* An option's row: the flag, then its help, each line indented. */
static void
help_row(FILE *to, size_t i)
{
    fprintf(to, "  --%s%s\n      ", walk_table[i].name, walk_table[i].placeholder);
    for (const char *p = walk_table[i].help; *p != '\0'; p++) {
        putc(*p, to);
        if (*p == '\n')
            fputs("      ", to);
    }
    putc('\n', to);
}

void
walk_options_help(FILE *to)
{
    fputs("usage: vkvm walk --ram FILE --root VALUE [options] [ACCESS ... | -]\n\n"
          "Walk the page tables in FILE for each ACCESS and print one line of JSON for it.\n"
          "An ACCESS is r:ADDR, w:ADDR or x:ADDR; with '-', or without any, they are read\n"
          "from standard input, one per line.  Numbers are decimal or 0x and hexadecimal.\n"
          "\noptions:\n",
          to);
    for (size_t i = 0; i < COUNT(walk_table); i++)
        help_row(to, i);
    fputs("\nexit status: 0 when every access was walked, whatever came out, or\n"
          "    2  wrong usage or input     126  FILE cannot be opened\n"
          "  125  vkvm or the host failed  127  FILE not found\n",
          to);
}
