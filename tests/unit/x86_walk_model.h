/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a walk of the processor's tables must do, said once more and differently:
 * each entry on the path is put into a kind, each kind has a mask of what must be
 * zero, and the end of the walk, its result and all entries afterwards follow.
 *
 * Independent of x86_walk.h on purpose: masks are written out from the manual's
 * tables of entry formats (Intel SDM vol. 3, 4.5 and 28.3.2).
 */
#ifndef X86_WALK_MODEL_H
#define X86_WALK_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define X86_MODEL_LEVELS 5

enum x86_model_access {
    X86_MODEL_READ,
    X86_MODEL_WRITE,
    X86_MODEL_FETCH
};

enum x86_model_result {
    X86_MODEL_OK,
    X86_MODEL_INVALID,
    X86_MODEL_PROTECTION,
    X86_MODEL_BAD_FRAME,
    X86_MODEL_RESERVED
};

struct x86_model {
    /* given */
    bool ept;
    unsigned tables; /* 4 or 5; for EPT the root must say the same */
    enum x86_model_access access;
    bool user;
    bool keeps_ad; /* paging: true */
    unsigned physical_bits;
    uint64_t address;
    uint64_t object_pages;
    uint64_t entry[X86_MODEL_LEVELS + 1]; /* [0] is a root without fault */
    /* derived */
    enum x86_model_result result;
    unsigned level;  /* of the entry that decided */
    uint64_t answer; /* if OK: the physical address */
    uint64_t after[X86_MODEL_LEVELS + 1];
};

void x86_model_run(struct x86_model *model);

#endif
