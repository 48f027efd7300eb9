/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file as the memory of page tables: page i of the object is page i of the file.
 *
 * The table pages of one access are copied (pread, so that a file that shrinks
 * costs an answer, not a signal), walked there, and, if wanted, the entries that
 * changed are written back.  An access sees what earlier ones wrote, and else the
 * file as it is.  Other processes are not excluded (there is no compare-exchange
 * on a file): an entry that one of them changes between the copy and the write is
 * overwritten, and a file cut there grows again up to the entry.
 *
 * No locks: one user.
 */
#ifndef WALK_FILE_H
#define WALK_FILE_H

#include "vmm/cli/cli.h"
#include "vmm/cli/walk.h"

struct walk_file {
    const char *name; /* borrowed */
    int fd;           /* owned; -1 = none */
    uint64_t npages;  /* whole pages when it was opened */
    bool writable;
    unsigned ncopies; /* table pages of this access */
    vm_pindex_t tables[WALK_MAX_LEVELS];
    _Alignas(4096) uint8_t copies[WALK_MAX_LEVELS][4096];
};

/*
 * Open a regular file; read-only unless writable.
 * Returns 0; CLI_NOT_FOUND or CLI_NOT_LOADABLE with *failure filled.
 */
int walk_file_open(struct walk_file *file, const char *name, bool writable, struct failure *failure)
    __attribute__((warn_unused_result));

/* Also good for a file with fd -1. */
void walk_file_close(struct walk_file *file);

/*
 * walk_translate over the file; writes back if it was opened writable.
 * Returns 0, or CLI_FAILED with *failure filled when the file cannot be read or written;
 * of the access's entries those above the failing one are then written.
 */
int walk_file_translate(struct walk_file *file, const struct walk_tables *tables, uint64_t address,
                        vm_prot_t access, struct walk_outcome *outcome, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
