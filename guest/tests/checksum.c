/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All vCPUs together keep checksums of much more memory than the RAM budget has: pages chosen
 * at random are verified and rewritten, again and again, while other calls tear at their mappings.
 *
 *     RAM       touched where it is
 *     window    other RAM through a virtual page table; its pages change places, its root
 *               changes, half of the accesses go to the RAM behind it
 *     region    host memory and
 *     copy      its virtual copy: one of the two is unmapped and made anew from the other
 *
 * Each page has a slot: its lock, which whoever touches the page holds, and its checksum,
 * computed from what was to be written and never from memory.  The slots are in RAM and
 * paged out like anything else.
 *
 * "pages=N" says how much (the region's copy comes on top), "rounds=N" or "seconds=N" how
 * long, by the host's clock, "budget=N" how many pages --ram allows.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ring3.h"
#include "guest/lib/smp.h"
#include "guest/lib/string.h"
#include "guest/lib/sync.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#include <stddef.h>

#define PAGES_DEFAULT 3072
#define ROUNDS_DEFAULT 16
#define CHECKS 64 /* pages a round looks at */
#define HOT 8     /* pages that are written around a copy */
#define WORDS (PAGE_SIZE / sizeof(uint64_t))
#define REGION_SPACE (WINDOW_VMSPACE + 1)
#define REGION_BASE (VKVM_WINDOW_BASE + (UINT64_C(1) << 30))
#define REGION_STEP (UINT64_C(1) << 30)
#define RW (VKVM_MAP_READ | VKVM_MAP_WRITE)
#define SECOND UINT64_C(1000000000)

enum area_name {
    RAM,
    WINDOW,
    REGION,
    COPY,
    AREAS
};

struct slot {
    struct sync_lock lock;
    bool written;  /* WINDOW: through the entry that maps it */
    uint64_t seed; /* what its contents are made from */
    uint64_t sum;  /* their checksum */
};

struct area {
    const char *claim; /* what is true if no checksum is wrong */
    uint64_t start;    /* address of page 0 */
    struct slot *slots;
};

/* What one vCPU has seen. */
struct worker {
    struct vkvm_statistics statistics;
    uint64_t random;
    uint64_t verified[AREAS];
    uint64_t wrong[AREAS];
    uint64_t wrong_page[AREAS]; /* the first, and */
    uint64_t wrong_word[AREAS]; /* where in it; WORDS: it is right at a second look */
    uint64_t rewritten;
    uint64_t remaps;
    uint64_t copies;
    uint64_t calls_refused;
    uint64_t bits_wrong; /* entries whose M did not say what was written */
} __attribute__((aligned(64)));

static struct area areas[AREAS] = {
    [RAM] = { .claim = "RAM keeps its checksums" },
    [WINDOW] = { .claim = "a window keeps its checksums while its pages change places" },
    [REGION] = { .claim = "a region keeps its checksums while it is copied" },
    [COPY] = { .claim = "a virtual copy keeps its checksums while the original is written" },
};

static uint64_t npages;               /* of each area */
static struct window window;          /* of areas[WINDOW] */
static uint64_t roots[2];             /* of two tables that differ in their first page only */
static struct sync_lock region_write; /* whoever writes to REGION or COPY; before slot locks */
static unsigned region_next;          /* region_write: which of them is made anew next, 0 or 1 */
static struct worker workers[CPU_MAX];
static struct sync_barrier barrier;
static uint64_t rounds;
static uint64_t nanoseconds; /* 0: `rounds` counts */

static uint64_t
random_below(struct worker *worker, uint64_t limit)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return worker->random % limit;
}

/* Word `i` of the contents that seed stands for: splitmix64's output function. */
static inline uint64_t
content(uint64_t seed, uint64_t i)
{
    uint64_t x = seed + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static inline uint64_t
sum_add(uint64_t sum, uint64_t word)
{
    return sum * UINT64_C(6364136223846793005) + word;
}

/* New contents, and the sum they have. */
static void
page_write(struct slot *slot, uint64_t *words, uint64_t seed)
{
    uint64_t sum = seed;

    for (uint64_t i = 0; i < WORDS; i++) {
        uint64_t word = content(seed, i);

        words[i] = word;
        sum = sum_add(sum, word);
    }
    slot->seed = seed;
    slot->sum = sum;
}

static bool
page_is_right(const struct slot *slot, const uint64_t *words)
{
    uint64_t sum = slot->seed;

    for (uint64_t i = 0; i < WORDS; i++)
        sum = sum_add(sum, words[i]);
    return sum == slot->sum;
}

static void
page_verify(struct worker *worker, enum area_name name, uint64_t page, const uint64_t *words)
{
    const struct slot *slot = &areas[name].slots[page];
    uint64_t i = 0;

    worker->verified[name]++;
    if (page_is_right(slot, words) || worker->wrong[name]++ != 0)
        return;
    while (i < WORDS && words[i] == content(slot->seed, i))
        i++;
    worker->wrong_page[name] = page;
    worker->wrong_word[name] = i;
}

/* Where a page is; its slot is locked.  Pages of the window are RAM, too. */
static uint64_t *
page_words(enum area_name name, uint64_t page, bool behind)
{
    if (name == WINDOW && behind)
        return (uint64_t *)vpte_frame(vpte_get(&window.table, page));
    return (uint64_t *)(areas[name].start + page * PAGE_SIZE);
}

static void
page_visit(struct worker *worker, enum area_name name, uint64_t page, bool write)
{
    struct slot *slot = &areas[name].slots[page];
    bool behind = random_below(worker, 2) != 0;
    uint64_t *words;

    sync_lock(&slot->lock);
    words = page_words(name, page, behind);
    page_verify(worker, name, page, words);
    if (write) {
        page_write(slot, words, slot->seed + 1);
        slot->written |= !behind;
        worker->rewritten++;
    }
    sync_unlock(&slot->lock);
}

static void
visit_any(struct worker *worker)
{
    enum area_name name = (enum area_name)random_below(worker, AREAS);
    uint64_t page = random_below(worker, npages);
    bool write = random_below(worker, 2) != 0;
    bool exclusive = write && (name == REGION || name == COPY);

    if (exclusive)
        sync_lock(&region_write);
    page_visit(worker, name, page, write);
    if (exclusive)
        sync_unlock(&region_write);
}

/* Take an entry of the window out.  M says whether the page was written through it: exactly. */
static uint64_t
entry_take(struct worker *worker, uint64_t page)
{
    uint64_t old = vpte_unmap(&window.table, page);
    bool written = areas[WINDOW].slots[page].written;

    worker->calls_refused += doorbell_inval(window_address(&window, page), PAGE_SIZE) != 0;
    worker->bits_wrong += ((old & VKVM_VPTE_M) != 0) != written;
    return vpte_frame(old);
}

static void
entry_put(uint64_t page, uint64_t frame, const struct slot *contents)
{
    struct slot *slot = &areas[WINDOW].slots[page];

    slot->seed = contents->seed;
    slot->sum = contents->sum;
    slot->written = false;
    vpte_map(&window.table, page, frame, VPTE_RW);
}

/* Verify two pages of the window, so that they are mapped, through it. */
static void
window_touch(struct worker *worker, uint64_t a, uint64_t b)
{
    page_verify(worker, WINDOW, a, page_words(WINDOW, a, false));
    page_verify(worker, WINDOW, b, page_words(WINDOW, b, false));
}

/* Two pages of the window change places; a mapping that is left shows the wrong one. */
static void
window_exchange(struct worker *worker)
{
    uint64_t low = random_below(worker, npages - 1);
    uint64_t high = low + 1 + random_below(worker, npages - low - 1);
    struct slot *slots = areas[WINDOW].slots;
    struct slot lower;
    uint64_t frame;

    sync_lock(&slots[low].lock);
    sync_lock(&slots[high].lock);
    window_touch(worker, low, high);
    lower = slots[low];
    frame = entry_take(worker, low);
    entry_put(low, entry_take(worker, high), &slots[high]);
    entry_put(high, frame, &lower);
    window_touch(worker, low, high);
    sync_unlock(&slots[high].lock);
    sync_unlock(&slots[low].lock);
    worker->remaps++;
}

static void
invalidate_some(struct worker *worker)
{
    const struct area *area = &areas[random_below(worker, COPY)]; /* COPY may just be away */
    uint64_t first = random_below(worker, npages);
    uint64_t n = 1 + random_below(worker, npages - first);

    if (area == &areas[REGION])
        sync_lock(&region_write);
    worker->calls_refused += doorbell_inval(area->start + first * PAGE_SIZE, n * PAGE_SIZE) != 0;
    if (area == &areas[REGION])
        sync_unlock(&region_write);
}

/* Make `to` a virtual copy of `from`.  Locks: region_write.  The source can be read meanwhile. */
static void
copy_region(struct worker *worker, enum area_name from, enum area_name to)
{
    uint64_t size = npages * PAGE_SIZE;

    for (uint64_t page = 0; page < npages; page++)
        sync_lock(&areas[to].slots[page].lock);
    worker->calls_refused += doorbell_vmspace_unmap(REGION_SPACE, areas[to].start, size) != 0;
    worker->calls_refused +=
        doorbell_copy(REGION_SPACE, areas[from].start, areas[to].start, size) != 0;
    for (uint64_t page = 0; page < npages; page++) {
        areas[to].slots[page].seed = areas[from].slots[page].seed;
        areas[to].slots[page].sum = areas[from].slots[page].sum;
        sync_unlock(&areas[to].slots[page].lock);
    }
}

/*
 * COPY becomes a copy of REGION, or the other way round.  Some pages are written just before,
 * so that they are mapped, and just after: a mapping that is left writable spoils the copy.
 */
static void
copy_anew(struct worker *worker)
{
    enum area_name from, to;
    uint64_t hot[HOT];

    sync_lock(&region_write);
    from = region_next == 0 ? REGION : COPY;
    to = region_next == 0 ? COPY : REGION;
    for (unsigned i = 0; i < HOT; i++) {
        hot[i] = random_below(worker, npages);
        page_visit(worker, from, hot[i], true);
    }
    copy_region(worker, from, to);
    for (unsigned i = 0; i < HOT; i++) {
        page_visit(worker, from, hot[i], true);
        page_visit(worker, to, hot[i], false);
    }
    region_next = 1 - region_next;
    worker->copies++;
    sync_unlock(&region_write);
}

static void
disturb(struct worker *worker)
{
    switch (random_below(worker, 32)) {
    case 0:
        copy_anew(worker);
        break;
    case 1:
    case 2:
        invalidate_some(worker);
        break;
    case 3:
        worker->calls_refused +=
            doorbell_setmap(window.start, window.size, roots[random_below(worker, 2)]) != 0;
        break;
    default:
        window_exchange(worker);
        break;
    }
}

static uint64_t
now(struct worker *worker)
{
    worker->calls_refused += doorbell_statistics(&worker->statistics) < 0;
    return worker->statistics.time_ns;
}

static bool
is_over(struct worker *worker, uint64_t round, uint64_t end)
{
    return nanoseconds != 0 ? now(worker) >= end : round >= rounds;
}

/* This vCPU's share of every area: the pages i * ncpus + cpu. */
static void
visit_share(struct worker *worker, uint64_t cpu,
            void (*visit)(struct worker *, enum area_name, uint64_t))
{
    for (unsigned name = RAM; name < AREAS; name++) {
        for (uint64_t page = cpu; page < npages; page += barrier.count)
            visit(worker, (enum area_name)name, page);
    }
}

static void
fill_page(struct worker *worker, enum area_name name, uint64_t page)
{
    (void)worker;
    if (name == COPY)
        return;
    page_write(&areas[name].slots[page], page_words(name, page, false),
               (uint64_t)name << 60 | page << 32);
    areas[name].slots[page].written = true;
}

static void
verify_page(struct worker *worker, enum area_name name, uint64_t page)
{
    page_visit(worker, name, page, false);
}

/* Ring 3, on every vCPU. */
static uint64_t
work(uint64_t cpu)
{
    struct worker *worker = &workers[cpu];
    uint64_t end;

    worker->random = UINT64_C(88172645463325252) + cpu;
    visit_share(worker, cpu, fill_page);
    sync_barrier_wait(&barrier);
    if (cpu == 0)
        copy_anew(worker);
    sync_barrier_wait(&barrier);
    end = now(worker) + nanoseconds;
    for (uint64_t round = 0; !is_over(worker, round, end); round++) {
        for (unsigned i = 0; i < CHECKS; i++)
            visit_any(worker);
        disturb(worker);
    }
    sync_barrier_wait(&barrier);
    visit_share(worker, cpu, verify_page);
    return 0;
}

static uint64_t
work_in_ring3(uint64_t cpu)
{
    return ring3_call(work, cpu);
}

/* A second first table page, with the same below. */
static uint64_t
second_root(void)
{
    uint64_t page = ram_alloc();

    if (page != 0)
        memcpy((void *)page, (const void *)vpte_frame(window.table.root), PAGE_SIZE);
    return page | (window.table.root & PAGE_MASK);
}

static bool
make_window(uint64_t ram)
{
    bool ok = true;

    window_init(&window, &vpte64, npages);
    areas[WINDOW].start = window.start;
    for (uint64_t page = 0; page < npages && ok; page++)
        ok = vpte_map(&window.table, page, ram + page * PAGE_SIZE, VPTE_RW);
    roots[0] = window.table.root;
    roots[1] = second_root();
    return ok && vpte_frame(roots[1]) != 0;
}

/* Two regions: the first copy replaces the second. */
static bool
make_regions(void)
{
    uint64_t size = npages * PAGE_SIZE;

    areas[REGION].start = REGION_BASE;
    areas[COPY].start = REGION_BASE + REGION_STEP;
    return size <= REGION_STEP && doorbell_vmspace_create(REGION_SPACE) == 0 &&
           doorbell_region_map(REGION_SPACE, areas[REGION].start, size, RW) == 0 &&
           doorbell_region_map(REGION_SPACE, areas[COPY].start, size, RW) == 0;
}

static bool
make_areas(void)
{
    uint64_t slots_size = npages * sizeof(struct slot);
    uint64_t behind = ram_alloc_run(npages, PAGE_SIZE);

    areas[RAM].start = ram_alloc_run(npages, PAGE_SIZE);
    for (unsigned name = RAM; name < AREAS; name++) {
        areas[name].slots =
            (struct slot *)ram_alloc_run((slots_size + PAGE_MASK) >> PAGE_SHIFT, PAGE_SIZE);
        if (areas[name].slots == NULL)
            return false;
    }
    return behind != 0 && areas[RAM].start != 0 && make_window(behind) && make_regions();
}

static void
run(void)
{
    barrier.count = fdt_machine()->ncpus;
    for (unsigned cpu = 1; cpu < barrier.count; cpu++)
        smp_start(cpu, work_in_ring3, cpu);
    work_in_ring3(0);
    for (unsigned cpu = 1; cpu < barrier.count; cpu++)
        smp_wait(cpu);
}

static void
report_area(enum area_name name)
{
    uint64_t verified = 0;

    test_begin(areas[name].claim);
    for (unsigned cpu = 0; cpu < barrier.count; cpu++) {
        const struct worker *worker = &workers[cpu];

        verified += worker->verified[name];
        EXPECT(worker->wrong[name] == 0, "vCPU %u: %lu times wrong, first page %lu, word %lu", cpu,
               worker->wrong[name], worker->wrong_page[name], worker->wrong_word[name]);
    }
    test_note("%lu pages verified", verified);
    test_end();
}

static void
report_calls(void)
{
    uint64_t rewritten = 0, remaps = 0, copies = 0, bits = 0, refused = 0;

    for (unsigned cpu = 0; cpu < barrier.count; cpu++) {
        rewritten += workers[cpu].rewritten;
        remaps += workers[cpu].remaps;
        copies += workers[cpu].copies;
        bits += workers[cpu].bits_wrong;
        refused += workers[cpu].calls_refused;
    }
    test_begin("M says which pages were written, and no call is refused");
    EXPECT(bits == 0, "M was wrong in %lu entries", bits);
    EXPECT(refused == 0, "%lu calls", refused);
    test_note("%u vCPUs, %lu pages rewritten, %lu pairs exchanged, %lu copies", barrier.count,
              rewritten, remaps, copies);
    test_end();
}

static void
report_budget(uint64_t budget)
{
    struct vkvm_statistics statistics = { 0 };

    test_begin("resident memory stays within the budget, by page-out");
    doorbell_statistics(&statistics);
    if (budget == 0)
        test_skip("no budget=N given");
    EXPECT(budget == 0 || statistics.resident_pages <= budget, "%lu pages are resident",
           statistics.resident_pages);
    EXPECT(budget == 0 || (statistics.pages_out > budget && statistics.pages_in > budget),
           "only %lu pages out, %lu in", statistics.pages_out, statistics.pages_in);
    test_note("%lu pages of memory, %lu allowed, %lu resident, %lu pages out, %lu in", 3 * npages,
              budget, statistics.resident_pages, statistics.pages_out, statistics.pages_in);
    test_end();
}

int
guest_main(void)
{
    bool made;

    access_init();
    npages = fdt_argument_number("pages", PAGES_DEFAULT) / 3;
    rounds = fdt_argument_number("rounds", ROUNDS_DEFAULT);
    nanoseconds = fdt_argument_number("seconds", 0) * SECOND;
    test_begin("there is memory for the test");
    made = npages >= 2 && make_areas();
    EXPECT(made, "not for 3 times %lu pages", npages);
    test_end();
    if (made) {
        run();
        for (unsigned name = RAM; name < AREAS; name++)
            report_area((enum area_name)name);
        report_calls();
        report_budget(fdt_argument_number("budget", 0));
    }
    return test_summary();
}

void
guest_secondary(unsigned cpu)
{
    smp_serve(cpu);
}
