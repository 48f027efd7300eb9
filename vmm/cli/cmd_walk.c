/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm walk`.
 *
 * Everything that can be refused is looked at before the first walk: what bad input
 * leaves behind is an error, not half a list of results or half a changed file.
 */
#include "vmm/cli/cmd_walk.h"

#include "vmm/base/json.h"
#include "vmm/cli/walk_file.h"
#include "vmm/cli/walk_options.h"

/* One `vkvm walk`. */
struct walk_run {
    struct walk_file file;
    struct walk_options options;
    struct walk_accesses accesses;
    struct failure failure;
};

static void
print_entry(struct json *json, const struct walk_entry *entry)
{
    json_object(json, NULL);
    json_u64(json, "level", entry->level);
    json_u64(json, "at", entry->at);
    json_u64(json, "value", entry->value);
    json_u64(json, "after", entry->after);
    json_end(json);
}

static void
print_outcome(const struct walk_access *access, const struct walk_outcome *outcome)
{
    struct json json;

    json_init(&json, stdout);
    json_object(&json, NULL);
    json_string(&json, "access", walk_access_letter(access->access));
    json_u64(&json, "addr", access->address);
    json_string(&json, "result", walk_result_name(outcome->result));
    json_u64(&json, "level", outcome->level);
    if (outcome->result == WALK_OK) {
        json_u64(&json, "pindex", outcome->pindex);
        json_u64(&json, "phys", outcome->phys);
    }
    json_array(&json, "entries");
    for (unsigned i = 0; i < outcome->nentries; i++)
        print_entry(&json, &outcome->entries[i]);
    json_end(&json);
    json_end(&json);
}

static int
open_file(struct walk_run *run)
{
    struct walk_options *options = &run->options;
    int status = walk_file_open(&run->file, options->ram, options->set_am, &run->failure);

    if (status == CLI_OK && !options->has_object_pages)
        options->tables.object_pages = run->file.npages;
    return status;
}

static int
read_accesses(struct walk_run *run)
{
    return walk_accesses_read(&run->accesses, &run->options, stdin, &run->failure);
}

static int
walk_accesses(struct walk_run *run)
{
    int status = CLI_OK;

    for (size_t i = 0; i < run->accesses.count && status == CLI_OK; i++) {
        const struct walk_access *access = &run->accesses.list[i];
        struct walk_outcome outcome;

        status = walk_file_translate(&run->file, &run->options.tables, access->address,
                                     access->access, &outcome, &run->failure);
        if (status == CLI_OK)
            print_outcome(access, &outcome);
    }
    return status;
}

/* The steps of a run, in their order; the first that fails ends it. */
static int
run_steps(struct walk_run *run)
{
    static int (*const steps[])(struct walk_run * run) = {
        open_file,
        read_accesses,
        walk_accesses,
    };
    int status = CLI_OK;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && status == CLI_OK; i++)
        status = steps[i](run);
    return status;
}

static int
run_walk(int argc, char **argv)
{
    struct walk_run run = { .file = { .fd = -1 } };
    int status = walk_options_parse(argc, argv, &run.options, &run.failure);

    if (status == CLI_OK && run.options.help) {
        walk_options_help(stdout);
        return CLI_OK;
    }
    if (status == CLI_OK)
        status = run_steps(&run);
    if (status != CLI_OK)
        cli_complain(run.failure.message);
    walk_accesses_free(&run.accesses);
    walk_file_close(&run.file);
    return status;
}

const struct cli_command cmd_walk = {
    .name = "walk",
    .summary = "walk page tables in a file",
    .run = run_walk,
    .help = walk_options_help,
};
