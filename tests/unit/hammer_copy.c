/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Of the hammer (test_hammer.c): a log that numbers are written to, and virtual copies of it.
 */
#include "tests/unit/hammer.h"

#include <string.h>

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif
#ifndef THREAD_SANITIZER
#define THREAD_SANITIZER 0
#endif

/* --- The log, and copies of it ------------------------------------------- */

#define LOG_WORDS (LOG_PAGES * WORDS)
#define TURN (LOG_WORDS / WRITERS) /* words of one writer */

static _Atomic uint64_t begun[WRITERS]; /* numbers whose store began */
static _Atomic uint64_t ended[WRITERS];

/* The word that the writer's number goes to: an odd factor visits each once in a turn. */
static unsigned
log_word(unsigned writer, uint64_t number)
{
    return (unsigned)(number * 1237 % TURN) * WRITERS + writer;
}

void
hammer_writer(struct worker *w)
{
    for (unsigned i = 0; i < 16; i++) {
        uint64_t number = atomic_load(&begun[w->id]) + 1;

        atomic_store(&begun[w->id], number);
        hammer_store(w, word_at(LOG_GPA, log_word(w->id, number)), number);
        atomic_store(&ended[w->id], number);
    }
}

/* The numbers of one writer must be what he had written at some moment from `low` to `high`. */
static void
log_compare(unsigned writer_id, const uint64_t *words, uint64_t low, uint64_t high)
{
    uint64_t last = 0;

    for (unsigned i = writer_id; i < LOG_WORDS; i += WRITERS)
        last = words[i] > last ? words[i] : last;
    CHECK(low <= last && last <= high, "%" PRIu64 " is not between %" PRIu64 " and %" PRIu64, last,
          low, high);
    for (uint64_t back = 0; back < TURN; back++) {
        uint64_t number = last > back ? last - back : 0;
        unsigned word = log_word(writer_id, last - back);

        CHECK(words[word] == number,
              "word %u: %" PRIu64 ", not %" PRIu64 " (%" PRIu64 " to %" PRIu64 ")", word,
              words[word], number, low, high);
    }
}

struct copier {
    uint64_t words[2][LOG_WORDS]; /* what its copies have */
};

const size_t hammer_copier_size = sizeof(struct copier);

/* All of a copy, the guest's way or the monitor's. */
static void
copy_read(struct worker *w, unsigned copy, uint64_t *words)
{
    uint64_t base = COPY_GPA(w->id, copy);

    for (unsigned p = 0; p < LOG_PAGES; p++) {
        if (hammer_chance(w, 2) != 0) {
            hammer_read_page(page_at(base, p), words + p * WORDS);
            continue;
        }
        for (unsigned i = p * WORDS; i < (p + 1) * WORDS; i++)
            words[i] = hammer_load(w, word_at(base, i));
    }
}

static void
copy_compare(struct worker *w, unsigned copy)
{
    const struct copier *copier = w->own;
    uint64_t words[LOG_WORDS];

    copy_read(w, copy, words);
    for (unsigned i = 0; i < LOG_WORDS; i++)
        CHECK(words[i] == copier->words[copy][i], "word %u: %#" PRIx64 ", not %#" PRIx64, i,
              words[i], copier->words[copy][i]);
}

static void
copy_write(struct worker *w, unsigned copy)
{
    struct copier *copier = w->own;

    for (uint64_t n = hammer_chance(w, 32); n != 0; n--) {
        unsigned i = (unsigned)hammer_chance(w, LOG_WORDS);

        copier->words[copy][i] = UINT64_C(1) << 63 | hammer_chance(w, UINT64_C(1) << 40);
        hammer_store(w, word_at(COPY_GPA(w->id, copy), i), copier->words[copy][i]);
    }
}

static void
copy_remove(struct worker *w, unsigned copy)
{
    uint64_t middle = 1 + hammer_chance(w, LOG_PAGES - 1);
    uint64_t base = COPY_GPA(w->id, copy);

    if (hammer_chance(w, 2) != 0)
        EXPECT(vm_map_remove(&hammer.map, page_at(base, 0), page_at(base, middle)), 0);
    EXPECT(vm_map_remove(&hammer.map, page_at(base, 0), page_at(base, LOG_PAGES)), 0);
}

/* A copy of the copy, of which a part may be wired: that is copied page by page. */
static void
copy_again(struct worker *w)
{
    struct copier *copier = w->own;
    gpa_t wired = page_at(COPY_GPA(w->id, 0), hammer_chance(w, LOG_PAGES - 1));
    bool wire = hammer_chance(w, 4) == 0;

    if (wire) {
        EXPECT(vm_map_wire(&hammer.map, wired, gpa_add(wired, 2 * PAGE_SIZE),
                           hammer_chance(w, 2) != 0),
               0);
        copy_write(w, 0);
    }
    EXPECT(vm_map_copy(&hammer.map, page_at(COPY_GPA(w->id, 0), 0), page_at(COPY_GPA(w->id, 1), 0),
                       LOG_PAGES * PAGE_SIZE),
           0);
    memcpy(copier->words[1], copier->words[0], sizeof(copier->words[1]));
    copy_write(w, 0);
    copy_write(w, 1);
    copy_compare(w, 1);
    if (hammer_chance(w, 2) != 0) {
        copy_remove(w, 0);
        copy_write(w, 1);
        copy_compare(w, 1);
        copy_remove(w, 1);
    } else {
        copy_remove(w, 1);
        copy_write(w, 0);
        copy_compare(w, 0);
        copy_remove(w, 0);
    }
}

/* RAM is shared with its window, so it is copied page by page: each word is of some moment. */
static void
copy_shared(struct worker *w)
{
    uint64_t base = COPY_GPA(w->id, 0);
    unsigned first = (unsigned)hammer_chance(w, RAM_PAGES - 4);
    uint64_t words[WORDS];

    EXPECT(vm_map_copy(&hammer.map, page_at(RAM_GPA, first), page_at(base, 0), 4 * PAGE_SIZE), 0);
    for (unsigned p = 0; p < 4; p++) {
        hammer_read_page(page_at(base, p), words);
        for (unsigned i = 0; i < WORDS; i++)
            hammer_word_check((first + p) * WORDS + i, words[i]);
    }
    EXPECT(vm_map_remove(&hammer.map, page_at(base, 0), page_at(base, 4)), 0);
}

void
hammer_copier(struct worker *w)
{
    struct copier *copier = w->own;
    uint64_t low[WRITERS], high[WRITERS];

    if (!THREAD_SANITIZER &&
        hammer_chance(w, 8) == 0) { /* bytes that are copied while they change */
        copy_shared(w);
        return;
    }
    for (unsigned i = 0; i < WRITERS; i++)
        low[i] = atomic_load(&ended[i]);
    EXPECT(vm_map_copy(&hammer.map, page_at(LOG_GPA, 0), page_at(COPY_GPA(w->id, 0), 0),
                       LOG_PAGES * PAGE_SIZE),
           0);
    for (unsigned i = 0; i < WRITERS; i++)
        high[i] = atomic_load(&begun[i]);
    copy_read(w, 0, copier->words[0]);
    for (unsigned i = 0; i < WRITERS; i++)
        log_compare(i, copier->words[0], low[i], high[i]);
    copy_write(w, 0);
    if (hammer_chance(w, 2) != 0)
        copy_compare(w, 0);
    copy_again(w);
}

void
hammer_log_compare(void)
{
    uint64_t words[LOG_WORDS];

    for (unsigned p = 0; p < LOG_PAGES; p++)
        hammer_read_page(page_at(LOG_GPA, p), words + p * WORDS);
    for (unsigned i = 0; i < WRITERS; i++)
        log_compare(i, words, atomic_load(&ended[i]), atomic_load(&begun[i]));
}
