/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Of the hammer (test_hammer.c): memory whose words have owners, and who disturbs it.
 */
#include "tests/unit/hammer.h"

#include <sched.h>
#include <unistd.h>

/* --- Words with owners --------------------------------------------------- */

#define SHARED_PAGES (RAM_PAGES + FILE_PAGES)
#define SHARED_WORDS (SHARED_PAGES * WORDS)

static _Atomic uint32_t published[SHARED_WORDS]; /* no version beyond it was ever written */
static uint32_t stored[SHARED_WORDS];            /* by the owner */
static uint32_t seen[VCPUS][SHARED_WORDS];

/* What the owner writes to shared word i; nobody did: 0. */
static uint64_t
word_value(unsigned i, uint32_t version)
{
    return version != 0 ? (uint64_t)(i + 1) << 32 | version : 0;
}

static uint32_t
word_version(unsigned i, uint64_t value)
{
    CHECK(value == word_value(i, (uint32_t)value), "word %u is %#" PRIx64, i, value);
    return (uint32_t)value;
}

/* The window's page that shows page p of RAM: 40 and 7 have no common factor. */
static unsigned
window_page(unsigned p)
{
    return p * 7 % RAM_PAGES;
}

/* An address of shared word i, one of several. */
static gpa_t
word_gpa(struct worker *w, unsigned i)
{
    unsigned page = i / WORDS;
    uint64_t offset = i % WORDS * sizeof(uint64_t);

    if (page >= RAM_PAGES)
        return gpa_add(page_at(FILE_GPA, page - RAM_PAGES), offset);
    return gpa_add(hammer_chance(w, 2) != 0 ? page_at(RAM_GPA, page)
                                            : page_at(WINDOW_GPA, window_page(page)),
                   offset);
}

static void
vcpu_write(struct worker *w, unsigned i)
{
    uint32_t version = atomic_load(&published[i]) + 1;
    gpa_t gpa = word_gpa(w, i);
    enum vm_result result = VM_OK;

    atomic_store(&published[i], version);
    if (hammer_chance(w, 8) == 0) {
        struct vm_page *m;
        _Atomic uint64_t *word = hammer_hold_word(gpa, VM_PROT_WRITE, &m);

        if (word == NULL)
            return;
        atomic_store(word, word_value(i, version));
        vm_page_unhold(m);
    } else {
        result = hammer_try_store(w, gpa, word_value(i, version));
        CHECK(result == VM_OK || hammer_refused(result), "%s", vm_result_name(result));
    }
    if (result == VM_OK)
        stored[i] = version;
}

static void
vcpu_read(struct worker *w, unsigned i)
{
    gpa_t gpa = word_gpa(w, i);
    uint64_t value = 0;
    uint32_t version;

    if (hammer_chance(w, 8) == 0) {
        struct vm_page *m;
        _Atomic uint64_t *word = hammer_hold_word(gpa, VM_PROT_READ, &m);

        if (word == NULL)
            return;
        value = atomic_load(word);
        vm_page_unhold(m);
    } else if (hammer_try_load(w, gpa, &value) != VM_OK) {
        return;
    }
    version = word_version(i, value);
    CHECK(version <= atomic_load(&published[i]), "word %u: %u was never written", i, version);
    CHECK(version >= seen[w->id][i], "word %u: %u came after %u", i, version, seen[w->id][i]);
    CHECK(i % VCPUS != w->id || version == stored[i], "word %u: %u, not %u", i, version, stored[i]);
    seen[w->id][i] = version;
}

/* Look into a remapper's window, so that walks of an entry meet those who change it. */
static void
intrude(struct worker *w)
{
    uint64_t value;
    enum vm_result result = hammer_try_load(
        w, page_at(OWN_WINDOW_GPA(hammer_chance(w, REMAPPERS)), hammer_chance(w, OWN_PAGES)),
        &value);

    CHECK(result == VM_OK || result == VM_VPTE_INVALID || result == VM_VPTE_PROTECTION ||
              result == VM_BAD_FRAME,
          "%s", vm_result_name(result));
}

/* Hold a page of memory that comes and goes, as the monitor does: its object may end meanwhile. */
static void
peek(struct worker *w)
{
    static const uint64_t bases[] = {
        CHURN_GPA, COPY_GPA(0, 0), COPY_GPA(0, 1), COPY_GPA(1, 0), COPY_GPA(1, 1), LOG_GPA,
    };
    uint64_t base = bases[hammer_chance(w, sizeof(bases) / sizeof(bases[0]))];
    struct vm_page *m;
    _Atomic uint64_t *word =
        hammer_hold_word(page_at(base, hammer_chance(w, LOG_PAGES)), VM_PROT_READ, &m);

    if (word == NULL)
        return;
    if (hammer_chance(w, 256) == 0)
        sched_yield();
    (void)atomic_load(word);
    vm_page_unhold(m);
}

void
hammer_vcpu(struct worker *w)
{
    unsigned i = (unsigned)hammer_chance(w, SHARED_WORDS / VCPUS) * VCPUS + w->id;

    if (hammer_chance(w, 2) != 0)
        vcpu_write(w, i);
    else
        vcpu_read(w, (unsigned)hammer_chance(w, SHARED_WORDS));
    vcpu_read(w, i);
    intrude(w);
    if (hammer_chance(w, 4) == 0)
        peek(w);
}

void
hammer_shared_compare(void)
{
    uint64_t words[WORDS];

    for (unsigned p = 0; p < SHARED_PAGES; p++) {
        hammer_read_page(p < RAM_PAGES ? page_at(RAM_GPA, p) : page_at(FILE_GPA, p - RAM_PAGES),
                         words);
        for (unsigned i = 0; i < WORDS; i++)
            CHECK(word_version(p * WORDS + i, words[i]) == stored[p * WORDS + i],
                  "word %u of page %u: %" PRIu64 ", not %u", i, p, words[i], stored[p * WORDS + i]);
    }
}

/* The file has what the memory has. */
void
hammer_file_compare(void)
{
    uint64_t words[WORDS];

    EXPECT(vm_object_page_clean(hammer.file), 0);
    for (unsigned p = 0; p < FILE_PAGES; p++) {
        CHECK(pread(hammer.file_fd, words, PAGE_SIZE, (off_t)(p * PAGE_SIZE)) == (ssize_t)PAGE_SIZE,
              "page %u of the file", p);
        for (unsigned i = 0; i < WORDS; i++)
            CHECK(words[i] ==
                      word_value((RAM_PAGES + p) * WORDS + i, stored[(RAM_PAGES + p) * WORDS + i]),
                  "word %u of the file's page %u", i, p);
    }
}
/* The inverse of window_page. */
unsigned
hammer_window_target(unsigned i)
{
    unsigned p = 0;

    while (window_page(p) != i)
        p++;
    return p;
}

/* Bytes that were copied while they changed: each word is of some moment. */
void
hammer_word_check(unsigned word, uint64_t value)
{
    uint32_t version = word_version(word, value);

    CHECK(version <= atomic_load(&published[word]), "word %u of a copy: %u", word, version);
}

/* --- Who disturbs -------------------------------------------------------- */

vpte_t
hammer_tree_root(unsigned tree)
{
    return (vpte_t)(RAM_PAGES + 4 * tree) << PAGE_SHIFT | PASS;
}

struct disturber {
    bool protected, unmapped, wired, user;
};

const size_t hammer_disturber_size = sizeof(struct disturber);

static void
disturb_range(struct worker *w)
{
    static const struct {
        uint64_t gpa, npages;
    } ranges[] = {
        { RAM_GPA, RAM_PAGES },           { WINDOW_GPA, UNMAPPED_FIRST },
        { FILE_GPA, FILE_PAGES },         { LOG_GPA, LOG_PAGES },
        { OWN_GPA(0), OWN_PAGES },        { OWN_GPA(1), OWN_PAGES },
        { OWN_WINDOW_GPA(0), OWN_PAGES }, { OWN_WINDOW_GPA(1), OWN_PAGES },
    };
    unsigned i = (unsigned)hammer_chance(w, sizeof(ranges) / sizeof(ranges[0]));
    uint64_t first = hammer_chance(w, ranges[i].npages);
    gpa_t start = page_at(ranges[i].gpa, first);
    gpa_t end = gpa_add(start, (1 + hammer_chance(w, ranges[i].npages - first)) << PAGE_SHIFT);

    if (hammer_chance(w, 4) == 0)
        EXPECT(vm_map_advise(&hammer.map, start, end, (enum vm_map_advice)hammer_chance(w, 3)), 0);
    else
        EXPECT(vm_map_inval(&hammer.map, start, end), 0);
}

static void
disturb_window(struct worker *w, struct disturber *d)
{
    unsigned npages = d->unmapped ? UNMAPPED_FIRST : RAM_PAGES;
    uint64_t first = hammer_chance(w, npages);
    gpa_t start = page_at(WINDOW_GPA, first);

    if (hammer_chance(w, 4) != 0) {
        EXPECT(vm_map_setmap(&hammer.map, start,
                             gpa_add(start, (1 + hammer_chance(w, npages - first)) << PAGE_SHIFT),
                             hammer_tree_root((unsigned)hammer_chance(w, 2))),
               0);
        return;
    }
    if (d->unmapped) {
        vm_object_ref(hammer.ram);
        hammer_insert(page_at(WINDOW_GPA, UNMAPPED_FIRST).value, UNMAPPED_END - UNMAPPED_FIRST,
                      hammer.ram, UNMAPPED_FIRST, hammer_tree_root((unsigned)hammer_chance(w, 2)));
    } else {
        EXPECT(vm_map_remove(&hammer.map, page_at(WINDOW_GPA, UNMAPPED_FIRST),
                             page_at(WINDOW_GPA, UNMAPPED_END)),
               0);
    }
    d->unmapped = !d->unmapped;
}

static void
disturb_ram(struct worker *w, struct disturber *d)
{
    gpa_t first = page_at(RAM_GPA, WIRED_FIRST), end = page_at(RAM_GPA, WIRED_END);

    if (hammer_chance(w, 2) != 0) {
        d->protected = !d->protected;
        EXPECT(vm_map_protect(&hammer.map, page_at(RAM_GPA, PROTECTED_FIRST),
                              page_at(RAM_GPA, PROTECTED_END),
                              d->protected ? VM_PROT_READ : VM_PROT_ALL),
               0);
    } else if (d->wired) {
        EXPECT(vm_map_unwire(&hammer.map, first, end, d->user), 0);
        d->wired = false;
    } else {
        d->user = hammer_chance(w, 2) != 0;
        EXPECT(vm_map_wire(&hammer.map, first, end, d->user), 0);
        d->wired = true;
    }
}

void
hammer_disturber(struct worker *w)
{
    switch (hammer_chance(w, 8)) {
    case 0:
        disturb_ram(w, w->own);
        break;
    case 1:
    case 2:
    case 3:
        disturb_window(w, w->own);
        break;
    case 4:
        EXPECT(vm_object_flush(hammer.file, hammer_chance(w, FILE_PAGES), FILE_PAGES, 0, NULL), 0);
        break;
    default:
        disturb_range(w);
        break;
    }
    usleep((useconds_t)hammer_chance(w, 500)); /* the others shall get something done, too */
}
