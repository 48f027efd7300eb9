/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reverse links.  Two sit in the page, because few pages have more: memory is mapped
 * where it lies and once more in a window.  From the third on all but the first are in
 * a tree that hangs off the page; it stays one until it is empty.
 */
#include "vmm/vpagetable/pv.h"

#include <bsd/sys/tree.h>
#include <stdlib.h>

struct pv_entry {
    RB_ENTRY(pv_entry) link; /* V */
    uint64_t where;          /* (c) */
};

RB_HEAD(pv_tree, pv_entry);

static int
pv_entry_compare(const struct pv_entry *a, const struct pv_entry *b)
{
    return (a->where > b->where) - (a->where < b->where);
}

RB_GENERATE_INTERNAL(pv_tree, pv_entry, link, pv_entry_compare, __attribute__((unused)) static)

/* A place has a pmap's id, which is not 0, where an address of user space has zeros. */
static bool
pv_is_place(uint64_t rest)
{
    return rest >> PV_PAGE_BITS != 0;
}

static struct pv_tree
pv_tree_get(const struct vm_page *m)
{
    uint64_t root = pv_is_place(m->pv.rest) ? 0 : m->pv.rest;

    return (struct pv_tree){ .rbh_root = (struct pv_entry *)(uintptr_t)root };
}

static void
pv_tree_set(struct vm_page *m, struct pv_tree tree)
{
    m->pv.rest = (uintptr_t)tree.rbh_root;
    assert(!pv_is_place(m->pv.rest));
}

static void
pv_tree_insert(struct vm_page *m, struct pv_entry *entry)
{
    struct pv_tree tree = pv_tree_get(m);
    struct pv_entry *twin = RB_INSERT(pv_tree, &tree, entry);

    assert(twin == NULL); /* invariant 1 of pmap.h */
    (void)twin;
    pv_tree_set(m, tree);
}

static struct pv_entry *
pv_tree_remove(struct vm_page *m, uint64_t where)
{
    struct pv_tree tree = pv_tree_get(m);
    struct pv_entry key = { .where = where };
    struct pv_entry *entry = RB_FIND(pv_tree, &tree, &key);

    assert(entry != NULL); /* invariant 1 of pmap.h */
    RB_REMOVE(pv_tree, &tree, entry);
    pv_tree_set(m, tree);
    return entry;
}

static bool
pv_tree_add(struct vm_page *m, uint64_t where)
{
    struct pv_entry *entry = malloc(sizeof(*entry));

    if (entry == NULL)
        return false;
    entry->where = where;
    pv_tree_insert(m, entry);
    return true;
}

/* Make `rest` a tree.  The page loses nothing if it cannot be. */
static bool
pv_tree_make(struct vm_page *m)
{
    uint64_t second = m->pv.rest;

    m->pv.rest = 0;
    if (pv_tree_add(m, second))
        return true;
    m->pv.rest = second;
    return false;
}

/* --- Parts --------------------------------------------------------------- */

static struct pv_part *
pv_part_of(struct vm_system *sys, const struct vm_page *m)
{
    return &sys->pv_part[(uint64_t)(m - sys->pages) / PV_PART_SLOTS % PV_PARTS];
}

struct pv_part *
pv_hold(struct vm_system *sys, struct pv_part *held, const struct vm_page *m) VM_NO_LOCK_ANALYSIS
{
    struct pv_part *part = pv_part_of(sys, m);

    if (part == held)
        return part;
    pv_let_go(held);
    vm_mutex_lock(&part->lock);
    return part;
}

void
pv_let_go(struct pv_part *held) VM_NO_LOCK_ANALYSIS
{
    if (held != NULL)
        vm_mutex_unlock(&held->lock);
}

/* Hold V of two parts, which may be one, the lower one first. */
static void
pv_hold_both(struct pv_part *a, struct pv_part *b) VM_NO_LOCK_ANALYSIS
{
    vm_mutex_lock(a < b ? &a->lock : &b->lock);
    if (a != b)
        vm_mutex_lock(a < b ? &b->lock : &a->lock);
}

static void
pv_let_both_go(struct pv_part *a, struct pv_part *b) VM_NO_LOCK_ANALYSIS
{
    vm_mutex_unlock(&a->lock);
    if (a != b)
        vm_mutex_unlock(&b->lock);
}

uint64_t
pv_count(struct vm_system *sys)
{
    uint64_t nlinks = 0;

    for (unsigned i = 0; i < PV_PARTS; i++) {
        vm_mutex_lock(&sys->pv_part[i].lock);
        nlinks += sys->pv_part[i].nlinks;
        vm_mutex_unlock(&sys->pv_part[i].lock);
    }
    return nlinks;
}

/* --- Links --------------------------------------------------------------- */

bool
pv_link(struct pv_part *held, struct vm_page *m, uint64_t where)
{
    if (m->pv.first == 0)
        m->pv.first = where;
    else if (m->pv.rest == 0)
        m->pv.rest = where;
    else if ((pv_is_place(m->pv.rest) && !pv_tree_make(m)) || !pv_tree_add(m, where))
        return false;
    held->nlinks++;
    return true;
}

void
pv_unlink(struct pv_part *held, struct vm_page *m, uint64_t where)
{
    if (m->pv.first == where)
        m->pv.first = 0;
    else if (m->pv.rest == where)
        m->pv.rest = 0;
    else
        free(pv_tree_remove(m, where));
    held->nlinks--;
}

/* `to` gets the shape of `from`, link by link. */
static void
pv_move_held(struct vm_page *from, struct vm_page *to, uint64_t where)
{
    if (from->pv.first == where) {
        assert(to->pv.first == 0);
        from->pv.first = 0;
        to->pv.first = where;
    } else if (from->pv.rest == where) {
        assert(to->pv.rest == 0);
        from->pv.rest = 0;
        to->pv.rest = where;
    } else {
        pv_tree_insert(to, pv_tree_remove(from, where));
    }
}

void
pv_move(struct vm_system *sys, struct vm_page *from, struct vm_page *to, uint64_t where)
{
    struct pv_part *a = pv_part_of(sys, from);
    struct pv_part *b = pv_part_of(sys, to);

    pv_hold_both(a, b);
    pv_move_held(from, to, where);
    a->nlinks--;
    b->nlinks++;
    pv_let_both_go(a, b);
}

/* The lower one of `next` (0 = none yet) and a place, if that is after `where`. */
static uint64_t
pv_nearer(uint64_t next, uint64_t place, uint64_t where)
{
    return place > where && (next == 0 || place < next) ? place : next;
}

static uint64_t
pv_next_locked(const struct vm_page *m, uint64_t where)
{
    struct pv_tree tree = pv_tree_get(m);
    struct pv_entry key = { .where = where + 1 };
    struct pv_entry *entry = RB_NFIND(pv_tree, &tree, &key);
    uint64_t next = entry != NULL ? entry->where : 0;

    if (pv_is_place(m->pv.rest))
        next = pv_nearer(next, m->pv.rest, where);
    return pv_nearer(next, m->pv.first, where);
}

uint64_t
pv_next(struct vm_system *sys, const struct vm_page *m, uint64_t where)
{
    struct pv_part *held = pv_hold(sys, NULL, m);

    where = pv_next_locked(m, where);
    pv_let_go(held);
    return where;
}

bool
pv_has(struct vm_system *sys, const struct vm_page *m, uint64_t where)
{
    return pv_next(sys, m, where - 1) == where;
}
