/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a walk of a virtual page table must do, said once more and differently:
 * from the values of all entries on the path it derives where the walk ends, how,
 * and every entry afterwards, with no notion of a step or of memory.
 *
 * Independent of vpte.h on purpose: bit positions and level counts are its own.
 */
#ifndef VPTE_MODEL_H
#define VPTE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_LEVELS 4

enum model_access {
    MODEL_READ,
    MODEL_WRITE,
    MODEL_FETCH
};
enum model_result {
    MODEL_OK,
    MODEL_INVALID,
    MODEL_PROTECTION,
    MODEL_BAD_FRAME
};

struct vpte_model {
    /* given */
    bool wide; /* 64-bit entries, four tables; else 32-bit, two */
    enum model_access access;
    uint64_t page; /* what is translated */
    uint64_t object_pages;
    uint64_t entry[MODEL_LEVELS + 1]; /* [0] is the root */
    /* derived */
    enum model_result result;
    unsigned level;  /* of the entry that decided */
    uint64_t answer; /* if OK: the page in the object */
    bool writable;   /* if OK */
    uint64_t after[MODEL_LEVELS + 1];
    unsigned dirty; /* bit l: the table page that holds entry l changed */
    unsigned a_set, m_set, dir_m_set;
};

void vpte_model_run(struct vpte_model *model);

#endif
