/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reverse links.  A page's first one sits in the page, so that nearly no page
 * needs memory for any; the others are in a tree that hangs off the page.
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

static void
pv_tree_insert(struct vm_page *m, struct pv_entry *entry)
{
    struct pv_tree tree = { .rbh_root = m->pv.more };
    struct pv_entry *twin = RB_INSERT(pv_tree, &tree, entry);

    assert(twin == NULL); /* invariant 1 of pmap.h */
    (void)twin;
    m->pv.more = tree.rbh_root;
}

static struct pv_entry *
pv_tree_remove(struct vm_page *m, uint64_t where)
{
    struct pv_tree tree = { .rbh_root = m->pv.more };
    struct pv_entry key = { .where = where };
    struct pv_entry *entry = RB_FIND(pv_tree, &tree, &key);

    assert(entry != NULL); /* invariant 1 of pmap.h */
    RB_REMOVE(pv_tree, &tree, entry);
    m->pv.more = tree.rbh_root;
    return entry;
}

bool
pv_link(struct vm_system *sys, struct vm_page *m, uint64_t where)
{
    struct pv_entry *entry;

    if (m->pv.where == 0) {
        m->pv.where = where;
    } else {
        entry = malloc(sizeof(*entry));
        if (entry == NULL)
            return false;
        entry->where = where;
        pv_tree_insert(m, entry);
    }
    sys->pv_links++;
    return true;
}

void
pv_unlink(struct vm_system *sys, struct vm_page *m, uint64_t where)
{
    if (m->pv.where == where)
        m->pv.where = 0;
    else
        free(pv_tree_remove(m, where));
    sys->pv_links--;
}

void
pv_move(struct vm_system *sys, struct vm_page *from, struct vm_page *to, uint64_t where)
{
    vm_mutex_lock(&sys->pv_lock);
    if (from->pv.where == where) {
        assert(to->pv.where == 0);
        from->pv.where = 0;
        to->pv.where = where;
    } else {
        pv_tree_insert(to, pv_tree_remove(from, where));
    }
    vm_mutex_unlock(&sys->pv_lock);
}

static uint64_t
pv_next_locked(const struct vm_page *m, uint64_t where)
{
    struct pv_tree tree = { .rbh_root = m->pv.more };
    struct pv_entry key = { .where = where + 1 };
    struct pv_entry *entry = RB_NFIND(pv_tree, &tree, &key);

    if (m->pv.where > where && (entry == NULL || m->pv.where < entry->where))
        return m->pv.where;
    return entry != NULL ? entry->where : 0;
}

uint64_t
pv_next(struct vm_system *sys, const struct vm_page *m, uint64_t where)
{
    vm_mutex_lock(&sys->pv_lock);
    where = pv_next_locked(m, where);
    vm_mutex_unlock(&sys->pv_lock);
    return where;
}

bool
pv_has(struct vm_system *sys, const struct vm_page *m, uint64_t where)
{
    return pv_next(sys, m, where - 1) == where;
}
