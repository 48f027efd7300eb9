/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A configuration's text: sections, keys and values, before anybody asks what they mean.
 */
#ifndef SUITE_TEXT_H
#define SUITE_TEXT_H

#include "vmm/base/failure.h"
#include "vmm/test_tool/arena.h"

#include <stddef.h>

/* Strings are the arena's. */
struct suite_pair {
    const char *key;
    const char *value; /* without blanks at its ends; lines of a """ value are joined by newlines */
    unsigned line;
};

struct suite_section {
    const char *name;
    unsigned line;
    size_t npairs;
    struct suite_pair *pairs;
};

struct suite_sections {
    const char *file; /* as messages call it */
    size_t n;
    struct suite_section *sections;
};

/*
 * Take `text`, which ends with a NUL, apart.
 * Returns 0; -EINVAL with *failure filled, FILE:LINE: cause; -ENOMEM.
 */
int suite_text_parse(struct arena *arena, const char *file, const char *text,
                     struct suite_sections *sections, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * The words of a value, as a shell takes a line apart: blanks, '...', "..." and backslashes.
 * Returns an array with NULL at its end; NULL with *failure filled (a quote without its end), or
 * without: no memory.
 */
char **suite_text_words(struct arena *arena, const char *value, struct failure *failure);

/* The words of a value between blanks. */
char **suite_text_split(struct arena *arena, const char *value);

size_t suite_text_count(char *const *words);

#endif
