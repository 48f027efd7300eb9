/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Injected faults: what a user has happen to accesses that would have succeeded, to see what his
 * guest makes of memory that is slow, fails or is taken away.
 *
 * A map with a table of rules asks it about every access of a vCPU that has an entry which allows it,
 * once, before anything of the fault is done.  Each rule counts the faults that it is about; the first
 * one whose turn that is says what happens:
 *
 *   DELAY   the fault waits as for a disk (an errand: no lock is held, a worker may do it, the stop
 *           flag ends it), and goes on
 *   ERROR   VM_IO_ERROR, as when a file's page cannot be read
 *   DENY    VM_PROTECTION, as when the entry forbids it
 *
 * So that every page's first accesses are faults, nothing is mapped on such a map but what a fault
 * asked for: no neighbours, and no write permission for a read.  What devices, the guest's calls and
 * the monitor do to memory is never asked about.
 *
 * Without a table a fault tests one pointer.
 */
#ifndef VM_INJECT_H
#define VM_INJECT_H

#include "vmm/vpagetable/vm_types.h"

#include <stdatomic.h>

#define VM_INJECT_RULES 16u
#define VM_INJECT_DELAY_MAX 60000000u /* microseconds */

enum vm_inject_action {
    VM_INJECT_DELAY,
    VM_INJECT_ERROR,
    VM_INJECT_DENY
};

struct vm_inject_rule {
    gpa_t start;                  /* (c) [start, end), whole pages */
    gpa_t end;                    /* (c) */
    vm_prot_t access;             /* (c) a set: which of READ, WRITE, EXECUTE it is about */
    uint64_t nth;                 /* (c) from 1: the first one that it happens to */
    bool on;                      /* (c) ... and all that come after that; else it alone */
    unsigned delay;               /* (c) DELAY: microseconds */
    const char *text;             /* (c) borrowed: what the rule is called in reports */
    _Atomic uint64_t matched;     /* (a) faults it was about */
    _Atomic uint64_t injected;    /* (a) of these, those it happened to */
    enum vm_inject_action action; /* (c) */
};

struct vm_inject {
    unsigned nrules; /* (c) */
    struct vm_inject_rule rules[VM_INJECT_RULES];
};

/*
 * The rule that has its way with this access, or NULL; all that are about it have counted it.
 * Any thread, no locks.
 */
const struct vm_inject_rule *vm_inject_look(struct vm_inject *inject, gpa_t gpa, vm_prot_t access);

#endif
