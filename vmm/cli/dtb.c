/* SPDX-License-Identifier: BSD-2-Clause */
/* --dtb and --dump-dtb. */
#include "vmm/cli/dtb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- reading ----------------------------------------------------------------- */

/* The options' windows and files behind the tree's. */
static int
add_places(struct machine *to, const struct machine *from, struct failure *failure)
{
    if (from->nwindows > MACHINE_MAX_WINDOWS - to->nwindows)
        return failure_set(failure, CLI_USAGE,
                           "too many --window beside those of --dtb: give at most %d in all",
                           MACHINE_MAX_WINDOWS);
    if (from->nfiles > MACHINE_MAX_FILES - to->nfiles)
        return failure_set(failure, CLI_USAGE,
                           "too many --map beside those of --dtb: give at most %d in all",
                           MACHINE_MAX_FILES);
    memcpy(to->windows + to->nwindows, from->windows, from->nwindows * sizeof(from->windows[0]));
    memcpy(to->files + to->nfiles, from->files, from->nfiles * sizeof(from->files[0]));
    to->nwindows += from->nwindows;
    to->nfiles += from->nfiles;
    return CLI_OK;
}

/* The options' disks behind the tree's. */
static int
add_disks(struct machine *to, const struct machine *from, struct failure *failure)
{
    if (from->ndisks > MACHINE_MAX_DISKS - to->ndisks)
        return failure_set(failure, CLI_USAGE,
                           "too many --disk beside those of --dtb: give at most %d in all",
                           MACHINE_MAX_DISKS);
    for (unsigned i = 0; i < from->ndisks; i++) {
        to->disks[to->ndisks] = from->disks[i];
        if (to->kind == MACHINE_PC)
            machine_show_disk(to, to->ndisks);
        to->ndisks++;
    }
    return CLI_OK;
}

static int
merge_machine(struct run_options *options, struct machine *machine, struct failure *failure)
{
    const struct machine *given = &options->config.machine;
    int status;

    if (options->has_memory)
        machine_set_memory(machine, machine_memory_size(given));
    if (options->has_cpus)
        machine->nvcpus = given->nvcpus;
    status = add_places(machine, given, failure);
    if (status == CLI_OK)
        status = add_disks(machine, given, failure);
    if (status == CLI_OK && machine_check(machine, MACHINE_PHYSICAL_BITS_MAX, failure) != 0)
        status = CLI_USAGE;
    if (status == CLI_OK)
        options->config.machine = *machine;
    return status;
}

/* The tree's first: the last one for a feature counts. */
static int
merge_features(struct cpu_features *features, const struct cpu_features *of_tree,
               struct failure *failure)
{
    struct cpu_features both = *of_tree;

    if (features->n > CPU_FEATURE_CHOICES - both.n)
        return failure_set(failure, CLI_USAGE,
                           "too many --cpu beside the features of --dtb: give at most %u in all",
                           CPU_FEATURE_CHOICES);
    memcpy(both.choices + both.n, features->choices, features->n * sizeof(both.choices[0]));
    both.n += features->n;
    *features = both;
    return CLI_OK;
}

/* A list of words, each with its NUL, as options have them. */
static int
split_words(struct dtb *dtb, struct run_options *options, char *list, size_t size,
            struct failure *failure)
{
    size_t n = 0;

    for (size_t at = 0; at < size; at += strlen(list + at) + 1)
        n++;
    dtb->arguments = calloc(n, sizeof(*dtb->arguments));
    if (dtb->arguments == NULL)
        return failure_set(failure, CLI_FAILED, "out of memory: no room for the guest's arguments");
    n = 0;
    for (size_t at = 0; at < size; at += strlen(list + at) + 1)
        dtb->arguments[n++] = list + at;
    options->arguments = dtb->arguments;
    options->narguments = n;
    return CLI_OK;
}

static int
merge_words(struct dtb *dtb, struct run_options *options, const struct description *description,
            struct failure *failure)
{
    if (options->narguments != 0 || options->boot.append != NULL)
        return CLI_OK;
    options->boot.append = description->command_line;
    if (description->arguments == NULL)
        return CLI_OK;
    /* The list lies in the tree, which is ours: */
    return split_words(dtb, options,
                       (char *)dtb->fdt.data +
                           (description->arguments - (const char *)dtb->fdt.data),
                       description->arguments_size, failure);
}

static int
merge(struct dtb *dtb, struct run_options *options, struct description *description,
      struct failure *failure)
{
    int status = merge_machine(options, &description->machine, failure);

    if (status == CLI_OK)
        status = merge_features(&options->config.features, &description->features, failure);
    if (status == CLI_OK)
        status = merge_words(dtb, options, description, failure);
    options->config.exact_faults |= description->exact_faults;
    if (options->host.ram_budget == 0)
        options->host.ram_budget = description->ram_budget;
    if (options->host.swap == NULL)
        options->host.swap = description->swap;
    return status;
}

int
dtb_read(struct dtb *dtb, struct run_options *options, struct failure *failure)
{
    const struct description_source source = { .fdt = &dtb->fdt, .name = options->dtb };
    struct description description;
    int error;

    if (options->dtb == NULL)
        return CLI_OK;
    error = vm_fdt_load(options->dtb, &dtb->fdt, failure);
    if (error == 0)
        error = description_read(&source, &description, failure);
    if (error != 0)
        return cli_load_status(error);
    return merge(dtb, options, &description, failure);
}

/* Chosen by the budget only where no tree says what there is. */
static void
choose_reporting(struct run_options *options)
{
    struct machine *machine = &options->config.machine;
    enum free_page_reporting reporting = options->reporting;

    if (machine->kind != MACHINE_PC)
        return;
    if (reporting == REPORTING_AUTO && options->dtb == NULL && options->host.ram_budget != 0)
        reporting = REPORTING_ON;
    if (reporting != REPORTING_AUTO)
        machine_set_balloon(machine, reporting == REPORTING_ON);
}

int
dtb_make_kind(struct run_options *options, bool wants_pc, struct failure *failure)
{
    struct machine *machine = &options->config.machine;

    if (options->dtb == NULL && wants_pc)
        machine_make_pc(machine);
    if (options->dtb == NULL || wants_pc == (machine->kind == MACHINE_PC)) {
        choose_reporting(options);
        return 0;
    }
    return failure_set(failure, -ENOEXEC,
                       "device tree '%.256s' describes %s, and '%.256s' needs %s: give the tree "
                       "that --dump-dtb writes for this image",
                       options->dtb, wants_pc ? "no PC" : "a PC", options->image,
                       wants_pc ? "one" : "a machine of vkvm's own kind");
}

void
dtb_fini(struct dtb *dtb)
{
    free(dtb->arguments);
    vm_fdt_fini(&dtb->fdt);
    dtb->arguments = NULL;
}

/* --- writing ----------------------------------------------------------------- */

/* The guest's words one after the other, each with `separator` behind it but the last, which has
 * a NUL; the caller frees it.  *size is 0 when there are none. */
static char *
join_words(const char *first, const struct run_options *options, char separator, size_t *size)
{
    size_t n = 0, length = first == NULL ? 0 : strlen(first) + 1;
    char *list;

    for (size_t i = 0; i < options->narguments; i++)
        length += strlen(options->arguments[i]) + 1;
    list = calloc(1, length + 1);
    if (list == NULL)
        return NULL;
    if (first != NULL)
        n = (size_t)(stpcpy(list, first) - list) + 1;
    for (size_t i = 0; i < options->narguments; i++) {
        if (n != 0)
            list[n - 1] = separator;
        n += (size_t)(stpcpy(list + n, options->arguments[i]) - (list + n)) + 1;
    }
    *size = n;
    return list;
}

static int
write_all(const char *name, const struct vm_fdt *fdt, struct failure *failure)
{
    bool standard = strcmp(name, "-") == 0;
    FILE *to = standard ? stdout : fopen(name, "we");
    bool failed = to == NULL || fwrite(fdt->data, fdt->size, 1, to) != 1 || fflush(to) != 0;
    int error = errno;

    if (to != NULL && !standard && fclose(to) != 0 && !failed) {
        error = errno;
        failed = true;
    }
    if (!failed)
        return CLI_OK;
    return failure_set(failure, CLI_FAILED,
                       "cannot write the device tree to " FAILURE_NAME ": %s: give --dump-dtb "
                       "another file",
                       name, strerror(error));
}

int
dtb_dump(const struct run_options *options, struct failure *failure)
{
    const struct vm_config *config = &options->config;
    bool pc = config->machine.kind == MACHINE_PC;
    struct description description = {
        .machine = config->machine,
        .features = config->features,
        .exact_faults = config->exact_faults,
        .ram_budget = options->host.ram_budget,
        .swap = options->host.swap,
    };
    struct vm_fdt fdt;
    size_t size;
    char *words;
    int status;

    if (machine_check(&config->machine, MACHINE_PHYSICAL_BITS_MAX, failure) != 0)
        return CLI_USAGE;
    words = join_words(pc ? options->boot.append : NULL, options, pc ? ' ' : '\0', &size);
    if (words == NULL)
        return failure_set(failure, CLI_FAILED, "out of memory: no room for the guest's arguments");
    if (size != 0 && pc)
        description.command_line = words;
    if (size != 0 && !pc) {
        description.arguments = words;
        description.arguments_size = size;
    }
    status = cli_load_status(description_write(&description, &fdt, failure));
    free(words);
    if (status == CLI_OK)
        status = write_all(options->dump_dtb, &fdt, failure);
    vm_fdt_fini(&fdt);
    return status;
}
