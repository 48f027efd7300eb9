/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line of `vkvm walk`, and the accesses it asks for.
 */
#ifndef WALK_OPTIONS_H
#define WALK_OPTIONS_H

#include "vmm/cli/cli.h"
#include "vmm/cli/walk.h"

/* So that endless input ends with an error, not with the host's memory: 256 MiB of them. */
#define WALK_MAX_ACCESSES ((size_t)1 << 24)

struct walk_options {
    const char *ram;           /* borrowed from argv */
    const char *format_name;   /* likewise */
    struct walk_tables tables; /* object_pages only if has_object_pages */
    bool has_root;
    bool has_object_pages;
    bool has_maxphyaddr;
    bool set_am;
    bool help;          /* only help is wanted: nothing else is checked */
    char *const *words; /* the accesses of the command line */
    size_t nwords;
};

/* An access to translate. */
struct walk_access {
    uint64_t address;
    vm_prot_t access; /* exactly one of READ, WRITE, EXECUTE */
};

struct walk_accesses {
    struct walk_access *list; /* owned */
    size_t count;
    size_t room;
};

/*
 * Parse argv[1..argc) of `vkvm walk`; argv[0] is the verb.  Moves words that are no
 * options behind the options; opens nothing.
 * Returns 0; CLI_USAGE with *failure filled, *options is then undefined.
 */
int walk_options_parse(int argc, char **argv, struct walk_options *options, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Add the accesses that the options ask for to an empty list: their words, or the
 * lines of `input` if there are no words or the word is "-".  All of them are read
 * and checked here, so that bad input is refused before anything is done.
 * Returns 0; CLI_USAGE for a bad access, CLI_FAILED when input cannot be read or
 * memory is out, with *failure filled.  The list must be freed in any case.
 */
int walk_accesses_read(struct walk_accesses *accesses, const struct walk_options *options,
                       FILE *input, struct failure *failure) __attribute__((warn_unused_result));

void walk_accesses_free(struct walk_accesses *accesses);

/* The letter of an access: r, w or x. */
const char *walk_access_letter(vm_prot_t access);

/* Usage and every option with its meaning. */
void walk_options_help(FILE *to);

#endif
