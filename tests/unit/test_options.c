/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The options of `vkvm run`: values, limits, every refusal, and random command lines.
 */
#include "guest/include/vkvm_abi.h"
#include "tests/unit/environment.h"
#include "vmm/cli/options.h"
#include "vmm/cli/value.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 80

static void
expect_text(const char *actual, const char *expected)
{
    cr_assert(actual != NULL);
    cr_expect(strcmp(actual, expected) == 0, "'%s', expected '%s'", actual, expected);
}

/* Parse "run" and the NULL-terminated words, whose copies live until the next call. */
static int
parse_words(struct run_options *options, struct failure *failure, const char *const *words)
{
    static char copies[MAX_WORDS][256];
    static char *argv[MAX_WORDS + 2];
    static char verb[] = "run";
    int argc = 0;

    argv[argc++] = verb;
    for (; *words != NULL; words++, argc++) {
        cr_assert(argc <= MAX_WORDS && strlen(*words) < sizeof(copies[0]));
        argv[argc] = strcpy(copies[argc - 1], *words);
    }
    argv[argc] = NULL;
    failure->message[0] = '\0';
    return options_parse_run(argc, argv, options, failure);
}

#define PARSE(options, failure, ...) \
    parse_words(options, failure, (const char *const[]){ __VA_ARGS__, NULL })

/* The command line is wrong, and the message says so with these words in it. */
static void
expect_refused(const char *part, const char *const *words)
{
    struct run_options options;
    struct failure failure;

    cr_expect(eq(int, parse_words(&options, &failure, words), CLI_USAGE), "%s", part);
    cr_expect(strstr(failure.message, part) != NULL, "'%s' lacks '%s'", failure.message, part);
    cr_expect(strstr(failure.message, ": ") != NULL, "'%s' has no remedy", failure.message);
    cr_expect(strchr(failure.message, '\n') == NULL);
}

#define REFUSED(part, ...) expect_refused(part, (const char *const[]){ __VA_ARGS__, NULL })

static uint64_t
size_of(const char *text)
{
    uint64_t size = 0;

    cr_expect(eq(int, value_size(text, &size), 0), "%s", text);
    return size;
}

Test(options, disks_come_in_their_order_with_what_they_may)
{
    struct run_options options;
    struct failure failure;
    const struct machine_disk *disks = options.config.machine.disks;

    cr_assert(zero(int, PARSE(&options, &failure, "--disk", "root.img", "--disk",
                              "nbd://host:1/a,ro", "--disk", "c,discard", "kernel")),
              "%s", failure.message);
    cr_assert(eq(uint, options.config.machine.ndisks, 3));
    cr_expect(strcmp(disks[0].path, "root.img") == 0 && disks[0].path_size == 8);
    cr_expect(disks[0].read_only == false && disks[0].discard == false);
    cr_expect(disks[1].path_size == strlen("nbd://host:1/a") && disks[1].read_only);
    cr_expect(disks[2].path_size == 1 && disks[2].discard);
}

Test(options, a_disk_that_cannot_be_is_refused)
{
    REFUSED("has no name", "--disk", ",ro", "kernel");
    REFUSED("'rw' is unknown", "--disk", "a,ro,rw", "kernel");
    REFUSED("'' is unknown", "--disk", "a,", "kernel");
    REFUSED("give ro or discard", "--disk", "a,ro,discard", "kernel");
    REFUSED("too many --disk: give at most 8", "--disk", "a", "--disk", "a", "--disk", "a",
            "--disk", "a", "--disk", "a", "--disk", "a", "--disk", "a", "--disk", "a", "--disk",
            "a", "kernel");
}

Test(options, a_size_is_decimal_or_hexadecimal_with_a_suffix)
{
    cr_expect(eq(u64, size_of("0"), 0));
    cr_expect(eq(u64, size_of("4096"), 4096));
    cr_expect(eq(u64, size_of("0x1000"), 4096));
    cr_expect(eq(u64, size_of("0XfF"), 255));
    cr_expect(eq(u64, size_of("3K"), 3072));
    cr_expect(eq(u64, size_of("64M"), 64ull << 20));
    cr_expect(eq(u64, size_of("64m"), 64ull << 20));
    cr_expect(eq(u64, size_of("1G"), 1ull << 30));
    cr_expect(eq(u64, size_of("0x2T"), 2ull << 40));
}

Test(options, a_leading_zero_does_not_mean_octal)
{
    cr_expect(eq(u64, size_of("010"), 10));
}

Test(options, the_largest_size_is_two_to_the_64_minus_1)
{
    uint64_t size = 7;

    cr_expect(eq(u64, size_of("18446744073709551615"), UINT64_MAX));
    cr_expect(eq(u64, size_of("0xffffffffffffffff"), UINT64_MAX));
    cr_expect(eq(u64, size_of("16777215T"), 16777215ull << 40));
    cr_expect(eq(int, value_size("18446744073709551616", &size), -ERANGE));
    cr_expect(eq(int, value_size("0x10000000000000000", &size), -ERANGE));
    cr_expect(eq(int, value_size("16777216T", &size), -ERANGE));
    cr_expect(eq(int, value_size("18014398509481984K", &size), -ERANGE));
    cr_expect(eq(u64, size, 7), "left alone on failure");
}

Test(options, what_is_not_a_size_is_refused)
{
    static const char *const texts[] = {
        "",    "K",      "-1",   "+1",   " 1",  "1 ", "1KB", "1Q",   "0x",
        "0xg", "0x0x10", "0x-1", "1.5M", "1e3", "x",  "M1",  "\xff", "1\xff",
    };
    uint64_t size = 7;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_expect(eq(int, value_size(texts[i], &size), -EINVAL), "'%s'", texts[i]);
    cr_expect(eq(u64, size, 7), "left alone on failure");
}

Test(options, seconds_may_have_a_fraction_and_round_up)
{
    static const struct {
        const char *text;
        unsigned ms;
    } cases[] = {
        { "0", 0 },
        { "10", 10000 },
        { "0.5", 500 },
        { ".25", 250 },
        { "1.", 1000 },
        { "0.001", 1 },
        { "0.0001", 1 },
        { "0.0010001", 2 },
        { "1.9990", 1999 },
        { "4294967", 4294967000u },
        { "4294967.295", UINT32_MAX },
    };
    unsigned ms;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect(eq(int, value_seconds(cases[i].text, &ms), 0), "%s", cases[i].text);
        cr_expect(eq(uint, ms, cases[i].ms), "%s", cases[i].text);
    }
}

Test(options, what_is_not_a_time_is_refused)
{
    static const char *const texts[] = {
        "", ".", "-1", "+1", "1s", "1,5", " 1", "0x10", "inf", "nan", "1e9", "1..2",
    };
    unsigned ms = 7;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_expect(eq(int, value_seconds(texts[i], &ms), -EINVAL), "'%s'", texts[i]);
    cr_expect(eq(int, value_seconds("4294968", &ms), -ERANGE));
    cr_expect(eq(int, value_seconds("4294967.2951", &ms), -ERANGE));
    cr_expect(eq(int, value_seconds("99999999999999999999999", &ms), -ERANGE));
    cr_expect(eq(uint, ms, 7), "left alone on failure");
}

Test(options, an_image_alone_gets_the_defaults)
{
    struct run_options options;
    struct failure failure;

    cr_assert(eq(int, PARSE(&options, &failure, "hello"), CLI_OK));
    expect_text(options.image, "hello");
    cr_expect(eq(u64, machine_memory_size(&options.config.machine), 64ull << 20));
    cr_expect(eq(uint, options.config.machine.nvcpus, 1));
    cr_expect(eq(u64, options.host.ram_budget, 0));
    cr_expect(eq(uint, options.config.timeout_ms, 0));
    cr_expect(eq(int, (int)options.config.placement, FAULT_PLACE_AUTO));
    cr_expect(eq(uint, options.config.fault_threads, 0));
    cr_expect(eq(uint, options.host.prefault_pages, VM_PREFAULT_DEFAULT));
    cr_expect(options.host.fast_fault);
    cr_expect(options.host.superpages);
    cr_expect(eq(uint, options.config.machine.nwindows, 0));
    cr_expect(eq(sz, options.narguments, 0));
    cr_expect(not(options.stats));
    cr_expect(not(options.json));
    cr_expect(not(options.help));
    cr_expect(options.fdt == NULL && options.fdt_overlay == NULL);
    cr_expect(options.dtb == NULL && options.dump_dtb == NULL);
    cr_expect(not(options.has_memory));
    cr_expect(not(options.has_cpus));
}

Test(options, a_description_is_written_instead_of_a_run)
{
    struct run_options options;
    struct failure failure;

    cr_assert(eq(int, PARSE(&options, &failure, "--dump-dtb", "-", "image"), CLI_OK));
    expect_text(options.dump_dtb, "-");
    REFUSED("no name", "--dump-dtb=", "i");
    REFUSED("runs nothing", "--dump-dtb=f", "--stats", "i");
    REFUSED("runs nothing", "--json", "--dump-dtb=f", "i");
    REFUSED("runs nothing", "--dump-dtb=f", "--gdb", "1234", "i");
}

Test(options, every_option_sets_its_field)
{
    struct run_options options;
    struct failure failure;
    int status = PARSE(&options, &failure, "--memory=128M", "--cpus", "3", "--ram", "8M", "--swap",
                       "s", "--fdt", "tree", "--fdt-overlay", "over", "--timeout", "1.5", "--stats",
                       "--json=out", "--prefault", "16", "--no-fast-fault", "--superpages", "off",
                       "--fault-threads", "2", "--placement", "spin", "--cpu", "smap=off",
                       "--cpu=nx=on", "--exact-faults", "--dtb", "machine", "image");

    cr_assert(eq(int, status, CLI_OK), "%s", failure.message);
    cr_expect(eq(u64, machine_memory_size(&options.config.machine), 128ull << 20));
    cr_expect(eq(uint, options.config.machine.nvcpus, 3));
    cr_expect(eq(u64, options.host.ram_budget, 8ull << 20));
    expect_text(options.host.swap, "s");
    cr_expect(options.has_memory && options.has_cpus);
    expect_text(options.dtb, "machine");
    expect_text(options.fdt, "tree");
    expect_text(options.fdt_overlay, "over");
    cr_expect(eq(uint, options.config.timeout_ms, 1500));
    cr_expect(options.stats);
    cr_expect(options.json);
    expect_text(options.json_file, "out");
    cr_expect(eq(uint, options.host.prefault_pages, 16));
    cr_expect(not(options.host.fast_fault));
    cr_expect(not(options.host.superpages));
    cr_expect(eq(uint, options.config.fault_threads, 2));
    cr_expect(eq(int, (int)options.config.placement, FAULT_PLACE_SPIN));
    cr_assert(eq(uint, options.config.features.n, 2));
    cr_expect(
        eq(int, (int)options.config.features.choices[0].feature, cpu_feature_find("smap", 4)));
    cr_expect(not(options.config.features.choices[0].on));
    cr_expect(options.config.features.choices[1].on);
    cr_expect(options.config.exact_faults);
}

Test(options, json_without_a_file_goes_to_standard_error)
{
    struct run_options options;
    struct failure failure;

    cr_assert(eq(int, PARSE(&options, &failure, "--json", "image"), CLI_OK));
    cr_expect(options.json);
    cr_expect(options.json_file == NULL);
    expect_text(options.image, "image");
}

Test(options, words_after_two_dashes_are_the_guests_and_may_look_like_options)
{
    struct run_options options;
    struct failure failure;

    cr_assert(eq(int, PARSE(&options, &failure, "image", "--stats", "--", "a b", "--cpus", "--"),
                 CLI_OK));
    cr_expect(options.stats, "options may follow the image");
    cr_assert(eq(sz, options.narguments, 3));
    expect_text(options.arguments[0], "a b");
    expect_text(options.arguments[1], "--cpus");
    expect_text(options.arguments[2], "--");
    cr_expect(eq(uint, options.config.machine.nvcpus, 1));
}

Test(options, help_needs_no_image)
{
    struct run_options options;
    struct failure failure;

    cr_assert(eq(int, PARSE(&options, &failure, "-h"), CLI_OK));
    cr_expect(options.help);
    cr_assert(eq(int, PARSE(&options, &failure, "--help"), CLI_OK));
    cr_expect(options.help);
}

Test(options, a_window_has_its_pieces_in_any_order)
{
    struct run_options options;
    struct failure failure;
    const struct machine_window *w;
    int status = PARSE(&options, &failure, "image", "--window", "gpa=0x1000000000,size=1M",
                       "--window=prot=wr,root=0x5003,format=vpte32,size=0x1000,gpa=0x1000100000");

    cr_assert(eq(int, status, CLI_OK), "%s", failure.message);
    cr_assert(eq(uint, options.config.machine.nwindows, 2));
    w = options.config.machine.windows;
    cr_expect(eq(u64, w[0].start.value, 0x1000000000));
    cr_expect(eq(u64, w[0].size, 1 << 20));
    cr_expect(w[0].format == &vpte64_format);
    cr_expect(eq(u64, w[0].root, 0));
    cr_expect(eq(uint, w[0].protection, VM_PROT_ALL));
    cr_expect(eq(u64, w[1].start.value, 0x1000100000));
    cr_expect(eq(u64, w[1].size, 0x1000));
    cr_expect(w[1].format == &vpte32_format);
    cr_expect(eq(u64, w[1].root, 0x5003));
    cr_expect(eq(uint, w[1].protection, VM_PROT_RW));
}

Test(options, a_window_may_fill_the_whole_region_and_no_more)
{
    struct run_options options;
    struct failure failure;

    cr_expect(eq(int, PARSE(&options, &failure, "i", "--window", "gpa=0x1000000000,size=192G"),
                 CLI_OK),
              "%s", failure.message);
    REFUSED("ends above", "i", "--window", "gpa=0x1000001000,size=192G");
    REFUSED("out of range", "i", "--window", "gpa=0x1000000000,size=0x3000001000");
}

Test(options, a_bad_window_is_refused_with_its_cause)
{
    REFUSED("incomplete", "i", "--window", "gpa=0x1000000000");
    REFUSED("incomplete", "i", "--window", "size=4K");
    REFUSED("no '='", "i", "--window", "");
    REFUSED("no '='", "i", "--window", "gpa=0x1000000000,");
    REFUSED("unknown", "i", "--window", "gpa=0x1000000000,size=4K,colour=red");
    REFUSED("two gpa=", "i", "--window", "gpa=0x1000000000,gpa=0x1000000000,size=4K");
    REFUSED("gpa='0x1000' is not possible", "i", "--window", "gpa=0x1000,size=4K");
    REFUSED("gpa='0x1000000001'", "i", "--window", "gpa=0x1000000001,size=4K");
    REFUSED("gpa='0x4000000000'", "i", "--window", "gpa=0x4000000000,size=4K");
    REFUSED("gpa='zero'", "i", "--window", "gpa=zero,size=4K");
    REFUSED("out of range", "i", "--window", "gpa=0x1000000000,size=0");
    REFUSED("whole number of pages", "i", "--window", "gpa=0x1000000000,size=4097");
    REFUSED("format='x86'", "i", "--window", "gpa=0x1000000000,size=4K,format=x86");
    REFUSED("root=''", "i", "--window", "gpa=0x1000000000,size=4K,root=");
    REFUSED("root='5K'", "i", "--window", "gpa=0x1000000000,size=4K,root=5K");
    REFUSED("prot= is empty", "i", "--window", "gpa=0x1000000000,size=4K,prot=");
    REFUSED("prot='rz'", "i", "--window", "gpa=0x1000000000,size=4K,prot=rz");
    REFUSED("larger than vpte32", "i", "--window", "gpa=0x1000000000,size=5G,format=vpte32");
    REFUSED("more than 32 bits", "i", "--window",
            "gpa=0x1000000000,size=4K,format=vpte32,root=0x100000001");
}

Test(options, windows_may_touch_but_not_overlap)
{
    struct run_options options;
    struct failure failure;

    cr_expect(eq(int,
                 PARSE(&options, &failure, "i", "--window", "gpa=0x1000001000,size=4K", "--window",
                       "gpa=0x1000000000,size=4K", "--window", "gpa=0x1000002000,size=4K"),
                 CLI_OK));
    REFUSED("overlaps", "i", "--window", "gpa=0x1000001000,size=4K", "--window",
            "gpa=0x1000000000,size=8K");
    REFUSED("overlaps", "i", "--window", "gpa=0x1000000000,size=1M", "--window",
            "gpa=0x1000001000,size=4K");
}

Test(options, there_is_a_limit_to_the_number_of_windows)
{
    const char *words[MACHINE_MAX_WINDOWS + 3] = { "image" };
    char text[MACHINE_MAX_WINDOWS + 1][64];
    struct run_options options;
    struct failure failure;

    for (unsigned i = 0; i <= MACHINE_MAX_WINDOWS; i++) {
        snprintf(text[i], sizeof(text[i]), "--window=gpa=0x%llx,size=4K",
                 0x1000000000ull + i * 4096);
        words[i + 1] = i < MACHINE_MAX_WINDOWS ? text[i] : NULL;
    }
    cr_expect(eq(int, parse_words(&options, &failure, words), CLI_OK));
    words[MACHINE_MAX_WINDOWS + 1] = text[MACHINE_MAX_WINDOWS];
    words[MACHINE_MAX_WINDOWS + 2] = NULL;
    expect_refused("too many --window", words);
}

Test(options, values_outside_their_range_are_refused)
{
    REFUSED("out of range: give 4M to 1T", "--memory", "2M", "i");
    REFUSED("out of range", "--memory", "1025G", "i");
    REFUSED("out of range", "--memory", "99999999999999999999", "i");
    REFUSED("not a size", "--memory", "lots", "i");
    REFUSED("multiple of 4K", "--memory", "0x400001", "i");
    REFUSED("give 1 to 64", "--cpus", "0", "i");
    REFUSED("give 1 to 64", "--cpus", "65", "i");
    REFUSED("give 1 to 64", "--cpus", "two", "i");
    REFUSED("give 1 to 64", "--cpus", "99999999999999999999", "i");
    REFUSED("out of range", "--ram", "4K", "i");
    REFUSED("out of range", "--ram", "0", "i");
    REFUSED("has no name", "--swap", "", "i");
    REFUSED("give 0 to 128", "--prefault", "129", "i");
    REFUSED("give 0 to 128", "--prefault", "-1", "i");
    REFUSED("give 1 to 64", "--fault-threads", "0", "i");
    REFUSED("not a time", "--timeout", "soon", "i");
    REFUSED("too long", "--timeout", "4294968", "i");
    REFUSED("neither on nor off", "--cpu", "smap", "i");
    REFUSED("neither on nor off", "--cpu", "smap=yes", "i");
    REFUSED("is unknown", "--cpu", "smop=on", "i");
    REFUSED("give auto, spin, spin-short", "--placement", "here", "i");
    REFUSED("give auto or off", "--superpages", "on", "i");
    REFUSED("--json= has no name", "--json=", "i");
}

Test(options, a_wrong_command_line_is_refused)
{
    REFUSED("no image given", "--stats");
    REFUSED("no image given", "--", "image");
    REFUSED("name is empty", "");
    REFUSED("unexpected 'two'", "one", "two");
    REFUSED("unknown or ambiguous option '--colour'", "--colour", "i");
    REFUSED("unknown or ambiguous option '--f'", "--f", "i");
    REFUSED("unknown option -x", "-x", "i");
    REFUSED("--memory needs a value", "i", "--memory");
    REFUSED("--stats takes no value", "--stats=yes", "i");
}

Test(options, the_help_names_every_option_it_takes)
{
    static const char *const names[] = {
        "memory",        "cpus",          "ram",       "window",     "fdt",
        "fdt-overlay",   "timeout",       "stats",     "json",       "prefault",
        "no-fast-fault", "fault-threads", "placement", "help",       "cpu",
        "exact-faults",  "dtb",           "dump-dtb",  "superpages",
    };
    char *text = NULL, flag[40];
    size_t size;
    FILE *to = open_memstream(&text, &size);

    cr_assert(to != NULL);
    options_help_run(to);
    fclose(to);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(flag, sizeof(flag), "  --%s", names[i]);
        cr_expect(strstr(text, flag) != NULL, "%s", names[i]);
    }
    free(text);
}

/* Random words, most of them pieces of good ones. */
static void
random_word(char *word, size_t size)
{
    static const char *const pieces[] = {
        "--",        "-",        "memory",
        "cpus",      "ram",      "window",
        "fdt",       "dtb",      "dump-",
        "-overlay",  "timeout",  "stats",
        "json",      "prefault", "no-fast-fault",
        "placement", "=",        ",",
        "gpa=",      "size=",    "root=",
        "prot=",     "format=",  "vpte32",
        "vpte64",    "0x",       "1000000000",
        "4096",      "4",        "M",
        "G",         "T",        ".",
        "rwx",       "image",    "\xff",
        "\n",        "%s%n",     "99999999999999999999",
        "-h",        "",
    };

    word[0] = '\0';
    for (int n = rand() % 8; n >= 0; n--) {
        const char *piece = pieces[(size_t)rand() % (sizeof(pieces) / sizeof(pieces[0]))];

        if (strlen(word) + strlen(piece) + 1 < size)
            strcat(word, piece);
    }
}

/* What the parser lets through keeps the promises of vm_config. */
static void
check_accepted(const struct run_options *options)
{
    const struct vm_config *config = &options->config;

    cr_assert(options->image != NULL || options->help);
    struct failure failure;
    uint64_t memory = machine_memory_size(&config->machine);

    cr_assert(memory >= OPTIONS_MEMORY_MIN && memory <= OPTIONS_MEMORY_MAX);
    cr_assert(eq(int, machine_check(&config->machine, 48, &failure), 0));
    cr_assert(config->machine.nvcpus >= 1 && config->machine.nvcpus <= MACHINE_MAX_VCPUS);
    cr_assert(options->host.prefault_pages <= VM_PREFAULT_MAX);
    cr_assert(config->machine.nwindows <= MACHINE_MAX_WINDOWS);
    for (unsigned i = 0; i < config->machine.nwindows; i++) {
        const struct machine_window *w = &config->machine.windows[i];

        cr_assert(w->start.value % PAGE_SIZE == 0 && w->size % PAGE_SIZE == 0 && w->size != 0);
        cr_assert(w->start.value >= VKVM_WINDOW_BASE);
        cr_assert(w->size <= VKVM_WINDOW_END - w->start.value);
        cr_assert(w->format != NULL && w->protection != 0);
    }
}

Test(options, random_command_lines_are_parsed_or_refused)
{
    unsigned accepted = 0;

    environment_seed("options");
    for (int round = 0; round < 20000; round++) {
        char words[6][128];
        char *argv[8];
        char verb[] = "run";
        int argc = 1 + rand() % 7;
        struct run_options options;
        struct failure failure;

        argv[0] = verb;
        for (int i = 1; i < argc; i++) {
            random_word(words[i - 1], sizeof(words[0]));
            argv[i] = words[i - 1];
        }
        argv[argc] = NULL;
        if (options_parse_run(argc, argv, &options, &failure) == CLI_OK) {
            check_accepted(&options);
            accepted++;
        }
    }
    cr_expect(accepted > 0, "nothing was accepted: the test is blind");
}

Test(options, map_takes_a_file_with_its_place_and_kind)
{
    struct run_options options;
    struct failure failure;
    const struct machine_file *file = options.config.machine.files;

    cr_assert(eq(int,
                 PARSE(&options, &failure, "--map", "gpa=0x1000000000,size=8K,file=a/b,shared",
                       "--map=ro,private,file=c,size=4K,gpa=0x1000002000", "image"),
                 CLI_OK),
              "%s", failure.message);
    cr_assert(eq(uint, options.config.machine.nfiles, 2));
    cr_expect(eq(u64, gpa_to_u64(file[0].start), 0x1000000000));
    cr_expect(eq(u64, file[0].size, 8192));
    cr_expect(eq(sz, file[0].path_size, 3));
    cr_expect(memcmp(file[0].path, "a/b", 3) == 0);
    cr_expect(file[0].shared);
    cr_expect(not(file[0].read_only));
    cr_expect(eq(sz, file[1].path_size, 1));
    cr_expect(file[1].path[0] == 'c');
    cr_expect(not(file[1].shared));
    cr_expect(file[1].read_only);
}

Test(options, what_is_not_a_map_is_refused)
{
    REFUSED("incomplete", "--map", "size=4K,file=x,shared", "i");
    REFUSED("incomplete", "--map", "gpa=0x1000000000,file=x,shared", "i");
    REFUSED("incomplete", "--map", "gpa=0x1000000000,size=4K,shared", "i");
    REFUSED("no name", "--map", "gpa=0x1000000000,size=4K,file=,shared", "i");
    REFUSED("two gpa", "--map", "gpa=0x1000000000,gpa=0x1000000000,size=4K,file=x,shared", "i");
    REFUSED("two size", "--map", "size=4K,size=4K,gpa=0x1000000000,file=x,shared", "i");
    REFUSED("two file", "--map", "file=x,file=y,gpa=0x1000000000,size=4K,shared", "i");
    REFUSED("is unknown", "--map", "gpa,size=4K,file=x,shared", "i");
    REFUSED("is unknown", "--map", "=,size=4K,file=x,shared", "i");
    REFUSED("is unknown", "--map", "", "i");
    REFUSED("is unknown", "--map", ",", "i");
    REFUSED("private or shared", "--map", "gpa=0x1000000000,size=4K,file=x", "i");
    REFUSED("private or shared", "--map", "gpa=0x1000000000,size=4K,file=x,shared,private", "i");
    REFUSED("is unknown", "--map", "gpa=0x1000000000,size=4K,file=x,shared,rw", "i");
    REFUSED("is unknown", "--map", "", "i");
    REFUSED("not possible", "--map", "gpa=0x1000,size=4K,file=x,shared", "i");
    REFUSED("not possible", "--map", "gpa=0x1000000001,size=4K,file=x,shared", "i");
    REFUSED("multiple of 4K", "--map", "gpa=0x1000000000,size=4097,file=x,shared", "i");
    REFUSED("ends above", "--map", "gpa=0x3ffffff000,size=8K,file=x,shared", "i");
    REFUSED("overlaps", "--map", "gpa=0x1000000000,size=8K,file=x,shared", "--map",
            "gpa=0x1000001000,size=4K,file=x,shared", "i");
    REFUSED("overlaps", "--map", "gpa=0x1000000000,size=8K,file=x,shared", "--window",
            "gpa=0x1000001000,size=4K", "i");
}

Test(options, injected_faults_come_in_their_order_with_what_they_may)
{
    struct run_options options;
    struct failure failure;
    const struct vm_inject_rule *rules = options.config.inject.rules;

    cr_assert(zero(int,
                   PARSE(&options, &failure, "--inject", "gpa=0x1000-0x3000,access=w,nth=3,do=eio",
                         "--inject", "do=delay:5ms,nth=4+,gpa=1M-2M", "--inject",
                         "gpa=0-4K,do=deny", "a")),
              "%s", failure.message);
    cr_assert(eq(uint, options.config.inject.nrules, 3));
    cr_expect(rules[0].start.value == 0x1000 && rules[0].end.value == 0x3000);
    cr_expect(rules[0].access == VM_PROT_WRITE && rules[0].action == VM_INJECT_ERROR);
    cr_expect(rules[0].nth == 3 && !rules[0].on);
    expect_text(rules[0].text, "gpa=0x1000-0x3000,access=w,nth=3,do=eio");
    cr_expect(rules[1].start.value == 1 << 20 && rules[1].access == VM_PROT_ALL);
    cr_expect(rules[1].nth == 4 && rules[1].on && rules[1].delay == 5000);
    cr_expect(rules[1].action == VM_INJECT_DELAY && rules[2].action == VM_INJECT_DENY);
    cr_expect(rules[2].nth == 1 && rules[2].on);
}

Test(options, delays_have_units_and_an_end)
{
    static const struct {
        const char *text;
        unsigned microseconds;
    } delays[] = { { "1us", 1 }, { "7ms", 7000 }, { "60s", VM_INJECT_DELAY_MAX } };
    struct run_options options;
    struct failure failure;
    char value[64];

    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        snprintf(value, sizeof(value), "gpa=0-4K,do=delay:%s", delays[i].text);
        cr_assert(zero(int, PARSE(&options, &failure, "--inject", value, "a")), "%s", value);
        cr_expect(eq(uint, options.config.inject.rules[0].delay, delays[i].microseconds));
    }
    REFUSED("'delay:61s' is no delay", "--inject", "gpa=0-4K,do=delay:61s", "a");
    REFUSED("'delay:0ms' is no delay", "--inject", "gpa=0-4K,do=delay:0ms", "a");
    REFUSED("'delay:5' is no delay", "--inject", "gpa=0-4K,do=delay:5", "a");
    REFUSED("'delay:' is no delay", "--inject", "gpa=0-4K,do=delay:", "a");
    REFUSED("is no delay", "--inject", "gpa=0-4K,do=delay:000000000000000000000000000000001s", "a");
}

Test(options, a_fault_that_cannot_be_injected_is_refused)
{
    REFUSED("'' has no '='", "--inject", "", "a");
    REFUSED("is incomplete", "--inject", "gpa=0-4K", "a");
    REFUSED("is incomplete", "--inject", "do=eio", "a");
    REFUSED("'page'= is unknown", "--inject", "page=1,do=eio", "a");
    REFUSED("two do=", "--inject", "gpa=0-4K,do=eio,do=deny", "a");
    REFUSED("'4096' is no range", "--inject", "gpa=4096,do=eio", "a");
    REFUSED("gpa=0-100 is not possible", "--inject", "gpa=0-100,do=eio", "a");
    REFUSED("gpa=8-4K is not possible", "--inject", "gpa=8-4K,do=eio", "a");
    REFUSED("gpa=4K-4K is empty", "--inject", "gpa=4K-4K,do=eio", "a");
    REFUSED("access='z' is no access", "--inject", "gpa=0-4K,access=z,do=eio", "a");
    REFUSED("nth='0' is no place", "--inject", "gpa=0-4K,nth=0,do=eio", "a");
    REFUSED("is no place", "--inject", "gpa=0-4K,nth=+,do=eio", "a");
    REFUSED("do='hang' is unknown", "--inject", "gpa=0-4K,do=hang", "a");
    REFUSED("--inject out", "--dump-dtb", "-", "--inject", "gpa=0-4K,do=eio", "a");
}

Test(options, one_injected_fault_too_many_is_refused)
{
    const char *words[2 * VM_INJECT_RULES + 4];
    size_t n = 0;

    for (unsigned i = 0; i <= VM_INJECT_RULES; i++) {
        words[n++] = "--inject";
        words[n++] = "gpa=0-4K,do=eio";
    }
    words[n++] = "a";
    words[n] = NULL;
    expect_refused("too many --inject: give at most 16", words);
}
