/* SPDX-License-Identifier: BSD-2-Clause */
/* A list of blocks. */
#include "vmm/test_tool/arena.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct block {
    struct block *next;
    max_align_t bytes[];
};

struct arena {
    struct block *blocks; /* owned */
    bool failed;
};

struct arena *
arena_create(void)
{
    return calloc(1, sizeof(struct arena));
}

void
arena_destroy(struct arena *arena)
{
    if (arena == NULL)
        return;
    for (struct block *block = arena->blocks, *next; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    free(arena);
}

void *
arena_alloc(struct arena *arena, size_t size)
{
    struct block *block = calloc(1, sizeof(*block) + size);

    if (block == NULL) {
        arena->failed = true;
        return NULL;
    }
    block->next = arena->blocks;
    arena->blocks = block;
    return block->bytes;
}

void *
arena_grow(struct arena *arena, const void *old, size_t size, size_t new_size)
{
    void *bytes = arena_alloc(arena, new_size);

    assert(size <= new_size);
    if (bytes != NULL && size != 0)
        memcpy(bytes, old, size);
    return bytes;
}

char *
arena_strndup(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);

    if (copy != NULL)
        memcpy(copy, text, length);
    return copy;
}

char *
arena_printf(struct arena *arena, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length >= 0)
        text = arena_alloc(arena, (size_t)length + 1);
    if (text == NULL)
        return NULL;
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}

bool
arena_failed(const struct arena *arena)
{
    return arena->failed;
}
