/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of a guest's code: from an ELF file's symbol table, from System.map or from the text of
 * /proc/kallsyms.
 */
#ifndef TRACE_SYMBOLS_H
#define TRACE_SYMBOLS_H

#include "vmm/base/failure.h"

#include <stdbool.h>
#include <stdint.h>

struct trace_symbols; /* trace_symbols.c */

/*
 * Read the symbols of the file; what it is, is told by its contents.
 * Returns 0; with *failure filled: what file_open says; -ENODATA: there are none in it, and why;
 * -EPROTO: neither ELF nor such a text; -ENOMEM, -EIO.
 */
int trace_symbols_load(const char *path, struct trace_symbols **symbolsp, struct failure *failure)
    __attribute__((warn_unused_result));

void trace_symbols_free(struct trace_symbols *symbols); /* NULL is fine */

/* The guest has them `offset` further up than the file says. */
void trace_symbols_move(struct trace_symbols *symbols, uint64_t offset);

/* The address of the symbol of that name, as the file has it.  Returns false if there is none. */
bool trace_symbols_address(const struct trace_symbols *symbols, const char *name,
                           uint64_t *address);

/* Which build the file is, in hexadecimal; "" if it does not say. */
const char *trace_symbols_build_id(const struct trace_symbols *symbols);

/* The symbol that has the guest's address.  Returns its name and *start; NULL: none. */
const char *trace_symbols_find(const struct trace_symbols *symbols, uint64_t address,
                               uint64_t *start);

#endif
