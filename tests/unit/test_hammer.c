/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Everything at once: threads that fault, copy, remap, wire, protect, unmap, flush and page
 * out in one map with little memory, and a check of every byte.
 *
 *  vcpus      share a region of RAM, which a window shows too, and a file.  Each word of
 *             these has one owner; it holds its place and a version.  The owner finds just
 *             what he wrote, others versions that never go back.
 *  writers    write numbers that go up to the words of another region, one after the other
 *             in an order that all know.
 *  copiers    copy that region: a copy must be a moment between two numbers of each writer.
 *             They write to the copy, copy it again, and know each byte of both.
 *  remappers  have a window of their own each, change its table, and know what shows at each
 *             page, and whether A and M must be set.
 *  churner    maps, wires, unwires and unmaps memory of its own.
 *  disturber  INVAL, SETMAP of one root for another that means the same, protection and
 *             wiring of parts of RAM, unmaps and maps a part of the window, flushes the file.
 *  page-out   keeps memory short of what the others use.
 *
 * Now and then all of them stop between two operations; then the engine is audited and
 * every byte compared.  VKVM_HAMMER_SECONDS is how long it goes on (2), VKVM_SEED chooses
 * what each thread does:
 *
 *   VKVM_HAMMER_SECONDS=120 make check-unit UNIT_ARGS=--filter=hammer/everything_at_once_loses_no_byte
 */
#include "tests/unit/audit.h"
#include "tests/unit/environment.h"
#include "tests/unit/hammer.h"
#include "vmm/pager/file_pager.h"
#include "vmm/pager/swap_pager.h"
#include "vmm/vpagetable/vm_pageout.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct worker workers[WORKERS];

/* --- Stopping all of them between two operations ------------------------- */

static struct {
    struct vm_mutex lock; /* guards what follows */
    struct vm_cond changed;
    unsigned parked;
    bool pause;
    bool stop;
} gate;

/* Returns false when the thread is to end. */
static bool
gate_pass(void)
{
    bool stop;

    vm_mutex_lock(&gate.lock);
    if (gate.pause) {
        gate.parked++;
        vm_cond_broadcast(&gate.changed);
        while (gate.pause)
            vm_cond_wait(&gate.changed, &gate.lock);
        gate.parked--;
    }
    stop = gate.stop;
    vm_mutex_unlock(&gate.lock);
    return !stop;
}

static void
gate_close(void)
{
    vm_mutex_lock(&gate.lock);
    gate.pause = true;
    while (gate.parked != WORKERS)
        vm_cond_wait(&gate.changed, &gate.lock);
    vm_mutex_unlock(&gate.lock);
}

static void
gate_open(bool stop)
{
    vm_mutex_lock(&gate.lock);
    gate.pause = false;
    gate.stop = stop;
    vm_cond_broadcast(&gate.changed);
    vm_mutex_unlock(&gate.lock);
}

static void *
worker_run(void *argument)
{
    struct worker *w = argument;

    while (gate_pass()) {
        w->operation(w);
        w->operations++;
    }
    return NULL;
}
/* --- A window whose owner changes its table ------------------------------ */

struct remapper {
    uint64_t words[OWN_PAGES][WORDS]; /* of its memory */
    unsigned target[OWN_PAGES];       /* of the window's pages; OWN_PAGES = none */
    bool read[OWN_PAGES];             /* since A was clear */
    bool written[OWN_PAGES];          /* since M was clear */
};

/* Exchange a vpte as a guest does: nothing of it is lost. */
static vpte_t
vpte_exchange(struct worker *w, unsigned i, vpte_t value)
{
    gpa_t gpa = gpa_add(page_at(OWN_GPA(w->id), OWN_PAGES + 3), i * sizeof(uint64_t));
    struct vm_page *m;
    _Atomic uint64_t *entry = hammer_hold_word(gpa, VM_PROT_WRITE, &m);
    vpte_t old = atomic_exchange(entry, value);

    vm_page_unhold(m);
    return old;
}

/* Let the window's page show another one, or nothing. */
static void
remap(struct worker *w, unsigned i)
{
    gpa_t gpa = page_at(OWN_WINDOW_GPA(w->id), i);
    struct remapper *r = w->own;
    unsigned target = (unsigned)hammer_chance(w, OWN_PAGES + 1);
    vpte_t old = vpte_exchange(w, i, 0);

    EXPECT(vm_map_inval(&hammer.map, gpa, gpa_add(gpa, PAGE_SIZE)), 0);
    CHECK(!fake_guest_access(&hammer.fake, gpa, VM_PROT_READ), "page %u was entered after INVAL",
          i);
    CHECK(((old & VPTE_M) != 0) == r->written[i], "M of entry %u: %#" PRIx64, i, old);
    CHECK((old & VPTE_A) != 0 || !r->read[i], "A of entry %u: %#" PRIx64, i, old);
    r->target[i] = target;
    r->read[i] = r->written[i] = false;
    CHECK(hammer_fault(w, gpa, VM_PROT_READ) == VM_VPTE_INVALID, "page %u still shows", i);
    if (target == OWN_PAGES)
        return;
    old = vpte_exchange(w, i, (vpte_t)target << PAGE_SHIFT | PASS);
    CHECK(old == 0, "entry %u was written to while it was not valid: %#" PRIx64, i, old);
}

/*
 * An entry that forbids is refused and left as it is (but for A by a prefault); one that
 * leads out of the object is refused when it is followed, with A and M set.
 */
static void
forbid(struct worker *w, unsigned i)
{
    gpa_t gpa = page_at(OWN_WINDOW_GPA(w->id), i);
    bool bad = hammer_chance(w, 2) != 0;
    vpte_t value = bad ? UINT64_C(0x7000) << PAGE_SHIFT | PASS : VPTE_V | VPTE_R;
    enum vm_result want = bad ? VM_BAD_FRAME : VM_VPTE_PROTECTION;
    vpte_t old = vpte_exchange(w, i, value);
    enum vm_result result;

    EXPECT(vm_map_inval(&hammer.map, gpa, gpa_add(gpa, PAGE_SIZE)), 0);
    result = hammer_try_store(w, gpa, 1);
    CHECK(result == want, "%s", vm_result_name(result));
    value ^= vpte_exchange(w, i, 0);
    CHECK(bad ? value == (VPTE_A | VPTE_M) : (value & ~(vpte_t)VPTE_A) == 0,
          "a refused entry %u was changed by %#" PRIx64, i, value);
    EXPECT(vm_map_inval(&hammer.map, gpa, gpa_add(gpa, PAGE_SIZE)), 0);
    CHECK(vpte_exchange(w, i, old) == 0, "entry %u", i);
}

static void
remapper(struct worker *w)
{
    struct remapper *r = w->own;
    unsigned i = (unsigned)hammer_chance(w, OWN_PAGES), word = (unsigned)hammer_chance(w, WORDS);
    unsigned target = r->target[i];
    gpa_t gpa = gpa_add(page_at(OWN_WINDOW_GPA(w->id), i), word * sizeof(uint64_t));
    uint64_t value = hammer_chance(w, UINT64_C(1) << 60);

    if (target == OWN_PAGES || hammer_chance(w, 8) == 0) {
        remap(w, i);
    } else if (hammer_chance(w, 16) == 0) {
        forbid(w, i);
    } else if (hammer_chance(w, 2) != 0) {
        hammer_store(w, gpa, value);
        r->words[target][word] = value;
        r->read[i] = r->written[i] = true;
    } else {
        uint64_t found = hammer_load(w, gpa);

        CHECK(found == r->words[target][word], "%#" PRIx64 ", not %#" PRIx64, found,
              r->words[target][word]);
        r->read[i] = true;
    }
    value = hammer_load(w, word_at(page_at(OWN_GPA(w->id), i).value, word));
    CHECK(value == r->words[i][word], "%#" PRIx64 ", not %#" PRIx64, value, r->words[i][word]);
}

static void
own_compare(unsigned id, const struct remapper *r)
{
    uint64_t words[WORDS];

    for (unsigned p = 0; p < OWN_PAGES; p++) {
        hammer_read_page(page_at(OWN_GPA(id), p), words);
        CHECK(memcmp(words, r->words[p], PAGE_SIZE) == 0, "page %u of remapper %u", p, id);
    }
}
/* --- What else goes on --------------------------------------------------- */

static void
churner(struct worker *w)
{
    uint64_t npages = 2 + hammer_chance(w, CHURN_PAGES - 1), half = npages / 2,
             value[CHURN_PAGES + 1];
    bool user = hammer_chance(w, 2) != 0;
    gpa_t first = gpa_from_u64(CHURN_GPA), middle = page_at(CHURN_GPA, half);
    gpa_t end = page_at(CHURN_GPA, npages);

    hammer_insert(CHURN_GPA, npages, hammer_object_new(npages), 0, 0);
    EXPECT(vm_map_advise(&hammer.map, first, middle, (enum vm_map_advice)hammer_chance(w, 3)), 0);
    for (uint64_t p = 0; p < npages; p++)
        CHECK(hammer_load(w, gpa_add(page_at(CHURN_GPA, p), hammer_chance(w, WORDS) * 8)) == 0,
              "no zeros");
    if (half <= 8)
        EXPECT(vm_map_wire(&hammer.map, first, middle, user), 0);
    for (uint64_t p = 0; p < npages; p++)
        hammer_store(w, page_at(CHURN_GPA, p), value[p] = hammer_chance(w, UINT64_C(1) << 60));
    if (half <= 8 && hammer_chance(w, 2) != 0)
        EXPECT(vm_map_unwire(&hammer.map, first, middle, user), 0);
    EXPECT(vm_map_remove(&hammer.map, first, middle), 0);
    CHECK(hammer_fault(w, first, VM_PROT_READ) == VM_INVALID_ADDRESS, "nothing is mapped");
    for (uint64_t p = half; p < npages; p++)
        CHECK(hammer_load(w, page_at(CHURN_GPA, p)) == value[p], "page %" PRIu64, p);
    EXPECT(vm_map_remove(&hammer.map, middle, end), 0);
}

/* Held while a scan is under way, by page-out or by who wants none. */
static struct vm_mutex scan_lock;

static void *
pageout(void *argument)
{
    (void)argument;
    while (vm_pageout_wait(&hammer.sys)) {
        vm_mutex_lock(&scan_lock);
        (void)vm_pageout_scan(&hammer.sys, vm_budget_shortage(&hammer.sys));
        vm_mutex_unlock(&scan_lock);
    }
    return NULL;
}
/* --- The whole ----------------------------------------------------------- */

static void
tables_write(uint64_t gpa, unsigned first, unsigned npages, unsigned (*target)(unsigned i))
{
    struct vm_fault_info info;

    for (unsigned level = 0; level < 4; level++) {
        uint64_t table[WORDS] = { (uint64_t)(first + level + 1) << PAGE_SHIFT | PASS };

        for (unsigned i = 0; level == 3 && i < npages; i++)
            table[i] = (uint64_t)target(i) << PAGE_SHIFT | PASS;
        CHECK(vm_map_write(&hammer.map, page_at(gpa, first + level), table, sizeof(table), &info) ==
                  VM_OK,
              "%s", vm_result_name(info.result));
    }
}

static unsigned
same(unsigned i)
{
    return i;
}

static void
regions_init(void)
{
    hammer.ram = hammer_object_new(RAM_PAGES + RAM_TABLES);
    vm_object_ref(hammer.ram);
    hammer_insert(RAM_GPA, RAM_PAGES + RAM_TABLES, hammer.ram, 0, 0);
    for (unsigned tree = 0; tree < 2; tree++)
        tables_write(RAM_GPA, RAM_PAGES + 4 * tree, RAM_PAGES, hammer_window_target);
    vm_object_ref(hammer.ram);
    hammer_insert(WINDOW_GPA, RAM_PAGES, hammer.ram, 0, hammer_tree_root(0));

    hammer.file_fd = memfd_create("hammer", MFD_CLOEXEC);
    CHECK(ftruncate(hammer.file_fd, (off_t)(FILE_PAGES * PAGE_SIZE)) == 0, "ftruncate");
    EXPECT(file_pager_create(&hammer.sys, hammer.file_fd, 0, FILE_PAGES, FILE_PAGER_SHARED,
                             &hammer.file),
           0);
    vm_object_ref(hammer.file);
    hammer_insert(FILE_GPA, FILE_PAGES, hammer.file, 0, 0);
    hammer_insert(LOG_GPA, LOG_PAGES, hammer_object_new(LOG_PAGES), 0, 0);
    for (unsigned r = 0; r < REMAPPERS; r++) {
        struct vm_object *object = hammer_object_new(OWN_PAGES + 4);

        vm_object_ref(object);
        hammer_insert(OWN_GPA(r), OWN_PAGES + 4, object, 0, 0);
        tables_write(OWN_GPA(r), OWN_PAGES, OWN_PAGES, same);
        hammer_insert(OWN_WINDOW_GPA(r), OWN_PAGES, object, 0,
                      (vpte_t)OWN_PAGES << PAGE_SHIFT | PASS);
    }
}

static struct swap_device *
world_init(void)
{
    struct vm_system_config config = { .store_pages = STORE_PAGES, .ram_budget = BUDGET };
    struct swap_device *device;
    char path[64];
    int fd = memfd_create("swap", MFD_CLOEXEC);

    EXPECT(vm_system_init(&hammer.sys, &config), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    EXPECT(swap_device_open(path, SWAP_PAGES, &device), 0);
    close(fd);
    swap_device_attach(device, &hammer.sys);
    fake_pmap_init(&hammer.fake);
    EXPECT(pmap_init(&hammer.pmap, &hammer.sys, &fake_pmap_ops, &hammer.fake), 0);
    vm_map_init(&hammer.map, &hammer.sys, &hammer.pmap);
    vm_mutex_init(&scan_lock);
    vm_mutex_init(&gate.lock);
    vm_cond_init(&gate.changed);
    regions_init();
    return device;
}

static void
world_fini(struct swap_device *device)
{
    vm_map_fini(&hammer.map);
    vm_object_unref(hammer.ram);
    vm_object_unref(hammer.file);
    close(hammer.file_fd);
    pmap_fini(&hammer.pmap);
    fake_pmap_fini(&hammer.fake);
    CHECK(vm_budget_resident(&hammer.sys) == 0, "pages are left");
    CHECK(swap_device_used(device) == 0, "swap space is left");
    vm_system_fini(&hammer.sys);
    swap_device_close(device);
}

static void
workers_start(void)
{
    const struct {
        void (*operation)(struct worker *worker);
        unsigned count;
        size_t own;
    } kinds[] = {
        { hammer_vcpu, VCPUS, 0 },
        { hammer_writer, WRITERS, 0 },
        { hammer_copier, COPIERS, hammer_copier_size },
        { remapper, REMAPPERS, sizeof(struct remapper) },
        { churner, 1, 0 },
        { hammer_disturber, 1, hammer_disturber_size },
    };
    struct worker *w = workers;

    for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (unsigned i = 0; i < kinds[k].count; i++, w++) {
            w->id = i;
            w->random = (hammer.seed + (uint64_t)(w - workers) + 1) * UINT64_C(0x9E3779B97F4A7C15);
            w->operation = kinds[k].operation;
            w->own = kinds[k].own != 0 ? calloc(1, kinds[k].own) : NULL;
            for (unsigned p = 0; kinds[k].operation == remapper && p < OWN_PAGES; p++)
                ((struct remapper *)w->own)->target[p] = p;
            CHECK(pthread_create(&w->thread, NULL, worker_run, w) == 0, "pthread_create");
        }
    }
    CHECK(w == workers + WORKERS, "so many there are");
}

/* Everybody waits: every structure, every byte. */
static void
inspect(void)
{
    struct vm_map *maps[] = { &hammer.map };
    struct vm_object *objects[] = { hammer.ram, hammer.file };
    struct audit args = { .sys = &hammer.sys,
                          .maps = maps,
                          .nmaps = 1,
                          .objects = objects,
                          .nobjects = 2,
                          .frames = true };

    vm_mutex_lock(&scan_lock);
    audit_engine(&args);
    fake_pmap_audit(&hammer.fake);
    vm_mutex_unlock(&scan_lock);
    hammer_shared_compare();
    hammer_file_compare();
    hammer_log_compare();
    for (struct worker *w = workers; w < workers + WORKERS; w++) {
        if (w->operation == remapper)
            own_compare(w->id, w->own);
    }
}

static double
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

#define PRINT_MAP_METER(name, text) \
    fprintf(stderr, " " #name "=%" PRIu64, vm_meter_get(&hammer.map.meter, name));
#define PRINT_SYSTEM_METER(name, text) \
    fprintf(stderr, " " #name "=%" PRIu64, vm_meter_get(&hammer.sys.meter, name));

Test(hammer, everything_at_once_loses_no_byte, .timeout = 7200)
{
    double seconds = (double)environment_number("VKVM_HAMMER_SECONDS", 2), begin;
    struct swap_device *device;
    unsigned inspections = 0;
    pthread_t thread;
    bool last;

    hammer.seed = environment_number("VKVM_SEED", 1);
    fprintf(stderr, "hammer: VKVM_SEED=%" PRIu64 "\n", hammer.seed);
    device = world_init();
    CHECK(pthread_create(&thread, NULL, pageout, NULL) == 0, "pthread_create");
    begin = now();
    workers_start();
    do {
        usleep(100000);
        gate_close();
        inspect();
        inspections++;
        last = now() - begin >= seconds;
        gate_open(last);
    } while (!last);
    for (struct worker *w = workers; w < workers + WORKERS; w++)
        pthread_join(w->thread, NULL);
    vm_pageout_stop(&hammer.sys);
    pthread_join(thread, NULL);
    fprintf(stderr, "hammer: %u inspections; operations:", inspections);
    for (struct worker *w = workers; w < workers + WORKERS; w++) {
        fprintf(stderr, " %" PRIu64, w->operations);
        free(w->own);
    }
    fprintf(stderr, "\nhammer:");
    VM_MAP_METER_FIELDS(PRINT_MAP_METER)
    VM_SYSTEM_METER_FIELDS(PRINT_SYSTEM_METER)
    fprintf(stderr, "\n");
    world_fini(device);
}
