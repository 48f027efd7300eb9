/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lines of a configuration.  A comment is a line of its own: a value may have a '#' in it.
 *
 * Source: kvm-unit-tests, docs/unittests.txt.
 */
#include "vmm/test_tool/suite_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define QUOTES "\"\"\""

/* What is read, line by line. */
struct reader {
    struct arena *arena;
    const char *file;
    const char *next; /* the next line; NULL = there is none */
    unsigned line;    /* the number of the one that was read last */
    size_t length;    /* ... and its bytes, without blanks at its ends */
    const char *text;
};

static void
trim(const char **text, size_t *length)
{
    while (*length > 0 && isspace((unsigned char)**text)) {
        (*text)++;
        (*length)--;
    }
    while (*length > 0 && isspace((unsigned char)(*text)[*length - 1]))
        (*length)--;
}

static bool
read_line(struct reader *reader)
{
    const char *end;

    if (reader->next == NULL || *reader->next == '\0')
        return false;
    reader->text = reader->next;
    reader->line++;
    end = strchr(reader->text, '\n');
    reader->length = end == NULL ? strlen(reader->text) : (size_t)(end - reader->text);
    reader->next = end == NULL ? NULL : end + 1;
    trim(&reader->text, &reader->length);
    return true;
}

static int
no_memory(struct failure *failure)
{
    return failure_set(failure, -ENOMEM, "no memory for the configuration");
}

/* --- Words ----------------------------------------------------------------- */

size_t
suite_text_count(char *const *words)
{
    size_t n = 0;

    while (words[n] != NULL)
        n++;
    return n;
}

/* One word of `value` to `word`; what follows it, or NULL: a quote has no end. */
static const char *
take_word(const char *value, char *word)
{
    char quote = '\0';

    for (; *value != '\0' && (quote != '\0' || !isspace((unsigned char)*value)); value++) {
        if (quote == '\0' && (*value == '\'' || *value == '"'))
            quote = *value;
        else if (*value == quote)
            quote = '\0';
        else if (*value == '\\' && quote != '\'' && value[1] != '\0')
            *word++ = *++value;
        else
            *word++ = *value;
    }
    *word = '\0';
    return quote == '\0' ? value : NULL;
}

char **
suite_text_words(struct arena *arena, const char *value, struct failure *failure)
{
    size_t size = strlen(value) + 1;
    char **words = arena_alloc(arena, (size / 2 + 2) * sizeof(*words));
    char *text = arena_alloc(arena, size + 1);

    for (size_t n = 0; words != NULL && text != NULL; n++) {
        while (isspace((unsigned char)*value))
            value++;
        if (*value == '\0')
            return words;
        value = take_word(value, text);
        if (value == NULL) {
            failure_set(failure, -EINVAL, "a quote without its end");
            return NULL;
        }
        words[n] = text;
        text += strlen(text) + 1;
    }
    no_memory(failure);
    return NULL;
}

char **
suite_text_split(struct arena *arena, const char *value)
{
    size_t size = strlen(value);
    char **words = arena_alloc(arena, (size / 2 + 2) * sizeof(*words));

    for (size_t n = 0; words != NULL; n++) {
        while (isspace((unsigned char)*value))
            value++;
        if (*value == '\0')
            break;
        size = strcspn(value, " \t\r\n\v\f");
        words[n] = arena_strndup(arena, value, size);
        value += size;
    }
    return words;
}

/* --- Values ---------------------------------------------------------------- */

/* A backslash that no other one stands before, at the end of a line, takes the line's end away. */
static bool
is_continued(const char *text, size_t length)
{
    size_t n = 0;

    while (n < length && text[length - 1 - n] == '\\')
        n++;
    return n % 2 == 1;
}

static const char *
join(struct arena *arena, const char *value, const char *text, size_t length)
{
    size_t size = strlen(value);

    if (is_continued(value, size))
        return arena_printf(arena, "%.*s%.*s", (int)size - 1, value, (int)length, text);
    return arena_printf(arena, "%s%s%.*s", value, size == 0 ? "" : "\n", (int)length, text);
}

/* The rest of a value that began with three quotes. */
static int
read_quoted(struct reader *reader, const char *text, size_t length, const char **valuep,
            struct failure *failure)
{
    const size_t nquotes = strlen(QUOTES);
    unsigned first = reader->line;
    const char *value = "";

    for (;;) {
        bool ends = length >= nquotes && memcmp(text + length - nquotes, QUOTES, nquotes) == 0;

        value = join(reader->arena, value, text, ends ? length - nquotes : length);
        if (value == NULL)
            return no_memory(failure);
        if (ends)
            break;
        if (!read_line(reader))
            return failure_set(failure, -EINVAL,
                               "%s:%u: " QUOTES " has no end: put " QUOTES
                               " behind the value's last line",
                               reader->file, first);
        text = reader->text;
        length = reader->length;
    }
    length = strlen(value);
    trim(&value, &length);
    *valuep = arena_strndup(reader->arena, value, length);
    return *valuep == NULL ? no_memory(failure) : 0;
}

/* --- Lines ----------------------------------------------------------------- */

static int
add_pair(struct reader *reader, struct suite_section *section, struct failure *failure)
{
    const char *equals = memchr(reader->text, '=', reader->length);
    struct suite_pair pair = { .line = reader->line };
    const char *value;
    size_t length;

    if (equals == NULL)
        return failure_set(failure, -EINVAL,
                           "%s:%u: '%.*s' is neither [TEST] nor KEY = VALUE: give one of these",
                           reader->file, reader->line,
                           (int)(reader->length < 200 ? reader->length : 200), reader->text);
    length = (size_t)(equals - reader->text);
    value = reader->text;
    trim(&value, &length);
    pair.key = arena_strndup(reader->arena, value, length);
    value = equals + 1;
    length = reader->length - (size_t)(value - reader->text);
    trim(&value, &length);
    if (length >= strlen(QUOTES) && memcmp(value, QUOTES, strlen(QUOTES)) == 0) {
        int error = read_quoted(reader, value + strlen(QUOTES), length - strlen(QUOTES),
                                &pair.value, failure);
        if (error != 0)
            return error;
    } else {
        pair.value = arena_strndup(reader->arena, value, length);
    }
    section->pairs = arena_grow(reader->arena, section->pairs, section->npairs * sizeof(pair),
                                (section->npairs + 1) * sizeof(pair));
    if (section->pairs == NULL || pair.key == NULL || pair.value == NULL)
        return no_memory(failure);
    section->pairs[section->npairs++] = pair;
    return 0;
}

static int
add_section(struct reader *reader, struct suite_sections *sections, struct failure *failure)
{
    struct suite_section section = { .line = reader->line };
    const char *name = reader->text + 1;
    size_t length = reader->length - 1;

    if (length == 0 || name[length - 1] != ']')
        return failure_set(failure, -EINVAL, "%s:%u: '[' without ']': write [TEST]", reader->file,
                           reader->line);
    length--;
    trim(&name, &length);
    section.name = arena_strndup(reader->arena, name, length);
    /* The array doubles: its room is the next power of two. */
    if ((sections->n & (sections->n - 1)) == 0)
        sections->sections =
            arena_grow(reader->arena, sections->sections, sections->n * sizeof(section),
                       (sections->n == 0 ? 1 : sections->n * 2) * sizeof(section));
    if (sections->sections == NULL || section.name == NULL)
        return no_memory(failure);
    sections->sections[sections->n++] = section;
    return 0;
}

int
suite_text_parse(struct arena *arena, const char *file, const char *text,
                 struct suite_sections *sections, struct failure *failure)
{
    struct reader reader = { .arena = arena, .file = file, .next = text };
    int error = 0;

    *sections = (struct suite_sections){ .file = file };
    while (error == 0 && read_line(&reader)) {
        if (reader.length == 0 || *reader.text == '#')
            continue;
        if (*reader.text == '[')
            error = add_section(&reader, sections, failure);
        else if (sections->n == 0)
            error = failure_set(failure, -EINVAL,
                                "%s:%u: a key before the first [TEST]: put it below one", file,
                                reader.line);
        else
            error = add_pair(&reader, &sections->sections[sections->n - 1], failure);
    }
    return error;
}
