/* SPDX-License-Identifier: BSD-2-Clause */
/* Combinations are numbered like a number whose digits are the words. */
#include "vmm/test_tool/suite_matrix.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MATRIX "matrix"
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyz_"

/* One combination, and where it is put in. */
struct combination {
    struct arena *arena;
    const struct suite_matrix *matrix;
    size_t which;
    const char *folder;
    const char *file;
};

/* "NAME: WORD..." of `length` bytes. */
static int
add_axis(struct arena *arena, const char *text, size_t length, struct suite_matrix *matrix,
         struct failure *failure)
{
    struct suite_axis *axis = &matrix->axes[matrix->naxes];
    const char *line = arena_strndup(arena, text, length);
    size_t size;

    if (line == NULL)
        return failure_set(failure, -ENOMEM, "no memory for the configuration");
    line += strspn(line, " \t");
    size = strspn(line, NAME_CHARACTERS);
    if (*line == '\0')
        return 0;
    if (size == 0 || line[size] != ':')
        return failure_set(failure, -EINVAL,
                           "'%.100s' is no axis: give NAME: WORD..., the name in small letters",
                           line);
    if (matrix->naxes == SUITE_MATRIX_AXES)
        return failure_set(failure, -EINVAL, "a matrix has at most %d axes: make two sections",
                           SUITE_MATRIX_AXES);
    axis->name = arena_strndup(arena, line, size);
    axis->words = suite_text_split(arena, line + size + 1);
    if (axis->name == NULL || axis->words == NULL)
        return failure_set(failure, -ENOMEM, "no memory for the configuration");
    axis->nwords = suite_text_count(axis->words);
    if (axis->nwords == 0)
        return failure_set(failure, -EINVAL, "'%s' has no words: give one at least", axis->name);
    matrix->naxes++;
    matrix->ntests *= axis->nwords;
    if (matrix->ntests > SUITE_MATRIX_TESTS)
        return failure_set(failure, -EINVAL, "the matrix makes more than %u tests",
                           SUITE_MATRIX_TESTS);
    return 0;
}

int
suite_matrix_parse(struct arena *arena, const char *file, const struct suite_section *section,
                   struct suite_matrix *matrix, struct failure *failure)
{
    struct failure inner = { .message = "" };

    *matrix = (struct suite_matrix){ .ntests = 1 };
    for (size_t i = 0; i < section->npairs; i++) {
        const struct suite_pair *pair = &section->pairs[i];
        int error = 0;

        if (strcmp(pair->key, MATRIX) != 0)
            continue;
        for (const char *axis = pair->value; error == 0 && *axis != '\0';) {
            size_t length = strcspn(axis, ";\n");
            error = add_axis(arena, axis, length, matrix, &inner);
            axis += length + (axis[length] != '\0');
        }
        if (error != 0)
            return failure_set(failure, error, "%s:%u: " MATRIX ": %.600s", file, pair->line,
                               inner.message);
    }
    return 0;
}

/* The word that {name} stands for in this combination, or NULL. */
static const char *
find_word(const struct combination *combination, const char *name, size_t length)
{
    const struct suite_matrix *matrix = combination->matrix;
    size_t rest = combination->which;
    const char *found = NULL;

    for (size_t i = matrix->naxes; i-- > 0; rest /= matrix->axes[i].nwords) {
        const struct suite_axis *axis = &matrix->axes[i];

        if (strlen(axis->name) == length && memcmp(axis->name, name, length) == 0)
            found = axis->words[rest % axis->nwords];
    }
    if (found == NULL && length == 4 && memcmp(name, "here", 4) == 0)
        found = combination->folder;
    return found;
}

/* Braces around something else than a name stay as they are. */
static int
put_words(const struct combination *combination, const char *text, unsigned line,
          const char **result, struct failure *failure)
{
    const char *made = "";
    const char *open;

    for (; made != NULL && (open = strchr(text, '{')) != NULL;) {
        size_t length = strspn(open + 1, NAME_CHARACTERS);
        const char *word;

        if (length == 0 || open[1 + length] != '}') {
            made = arena_printf(combination->arena, "%s%.*s{", made, (int)(open - text), text);
            text = open + 1;
            continue;
        }
        word = find_word(combination, open + 1, length);
        if (word == NULL)
            return failure_set(failure, -EINVAL,
                               "%s:%u: {%.*s} is no word of the section's matrix: add one, or "
                               "write {here} for the configuration's folder",
                               combination->file, line, (int)length, open + 1);
        made = arena_printf(combination->arena, "%s%.*s%s", made, (int)(open - text), text, word);
        text = open + length + 2;
    }
    *result = made == NULL ? NULL : arena_printf(combination->arena, "%s%s", made, text);
    return *result == NULL ? failure_set(failure, -ENOMEM, "no memory for the configuration") : 0;
}

int
suite_matrix_take(struct arena *arena, const char *file, const struct suite_matrix *matrix,
                  size_t which, const char *folder, const struct suite_section *section,
                  struct suite_section *taken, struct failure *failure)
{
    const struct combination combination = {
        .arena = arena, .matrix = matrix, .which = which, .folder = folder, .file = file
    };
    int error;

    *taken = (struct suite_section){ .line = section->line };
    taken->pairs = arena_alloc(arena, section->npairs * sizeof(*taken->pairs));
    if (taken->pairs == NULL)
        return failure_set(failure, -ENOMEM, "no memory for the configuration");
    error = put_words(&combination, section->name, section->line, &taken->name, failure);
    for (size_t i = 0; error == 0 && i < section->npairs; i++) {
        struct suite_pair *pair = &taken->pairs[taken->npairs];

        *pair = section->pairs[i];
        if (strcmp(pair->key, MATRIX) == 0)
            continue;
        error = put_words(&combination, pair->value, pair->line, &pair->value, failure);
        taken->npairs++;
    }
    return error;
}
