/* SPDX-License-Identifier: BSD-2-Clause */
/* See world.h. */
#include "tests/unit/world.h"

#include "tests/unit/audit.h"
#include "vmm/vpagetable/vm_map_entry.h"
#include "vmm/vpagetable/vm_pageout.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COPY_MAX 16u /* pages of one world_copy_in */
#define LAST_WORD (PAGE_SIZE - sizeof(uint64_t))
#define GPA(page) gpa_from_u64((uint64_t)(page) << PAGE_SHIFT)

/* --- The model ----------------------------------------------------------- */

static unsigned
content_new(struct world *w, uint64_t value)
{
    WORLD_CHECK(w->ncontents < sizeof(w->contents) / sizeof(w->contents[0]), "too many pages");
    w->contents[w->ncontents] = (struct content){ value, value };
    return w->ncontents++;
}

void
world_fresh(struct world *w, unsigned page, unsigned npages)
{
    for (unsigned i = page; i < page + npages; i++)
        w->cell[i] = content_new(w, 0);
}

void
world_alias(struct world *w, unsigned to, unsigned from)
{
    w->cell[to] = w->cell[from];
}

static struct content *
content_of(struct world *w, unsigned page)
{
    WORLD_CHECK(page < WORLD_PAGES && w->cell[page] != 0, "page %u of the model", page);
    return &w->contents[w->cell[page]];
}

static void
content_set(struct world *w, unsigned page, uint64_t value)
{
    *content_of(w, page) = (struct content){ value, value };
}

/* The last word of a page whose first one is `value`. */
static uint64_t
last_word(uint64_t value)
{
    return value != 0 ? ~value : 0;
}

static void
expect_content(struct world *w, unsigned page, uint64_t first, uint64_t last)
{
    const struct content *c = content_of(w, page);

    WORLD_CHECK(first == c->value || first == c->other,
                "page %u has %" PRIu64 ", not %" PRIu64 " or %" PRIu64, page, first, c->value,
                c->other);
    WORLD_CHECK(last == last_word(c->value) || last == last_word(c->other), "the end of page %u",
                page);
}

/* --- Operations ---------------------------------------------------------- */

bool
world_did(struct world *w, int error)
{
    w->error = error;
    return error == 0;
}

bool
world_faulted(struct world *w, enum vm_result result, const struct vm_fault_info *info)
{
    if (result == VM_OK)
        return true;
    WORLD_CHECK(result == VM_IO_ERROR || result == VM_HOST_FAILURE, "%s at %#" PRIx64,
                vm_result_name(result), info->gpa.value);
    if (result == VM_HOST_FAILURE)
        WORLD_CHECK(info->error < 0 && info->cause != NULL, "error %d without a cause",
                    info->error);
    return world_did(w, result == VM_HOST_FAILURE ? info->error : -EIO);
}

static bool
fault(struct world *w, unsigned page, vm_prot_t access)
{
    struct vm_fault_info info;

    return world_faulted(w, vm_fault(&w->rig.map, GPA(page), access, VM_FAULT_BURST, &info), &info);
}

static bool
load_word(struct world *w, unsigned page, unsigned offset, uint64_t *value)
{
    while (!fake_guest_load(&w->rig.fake, gpa_add(GPA(page), offset), value)) {
        if (!fault(w, page, VM_PROT_READ))
            return false;
    }
    return true;
}

static bool
store_word(struct world *w, unsigned page, unsigned offset, uint64_t value)
{
    while (!fake_guest_store(&w->rig.fake, gpa_add(GPA(page), offset), value)) {
        if (!fault(w, page, VM_PROT_WRITE))
            return false;
    }
    return true;
}

bool
world_load(struct world *w, unsigned page)
{
    uint64_t first, last;

    if (!load_word(w, page, 0, &first) || !load_word(w, page, LAST_WORD, &last))
        return false;
    expect_content(w, page, first, last);
    return true;
}

bool
world_store(struct world *w, unsigned page, uint64_t value)
{
    struct content *c = content_of(w, page);

    if (!store_word(w, page, 0, value))
        return false;
    c->other = value;
    if (!store_word(w, page, LAST_WORD, last_word(value)))
        return false;
    content_set(w, page, value);
    return true;
}

bool
world_store_run(struct world *w, unsigned page, unsigned npages, uint64_t value)
{
    for (; w->progress < npages; w->progress++) {
        if (!world_store(w, page + w->progress, value + w->progress))
            return false;
    }
    w->progress = 0;
    return true;
}

bool
world_load_run(struct world *w, unsigned page, unsigned npages)
{
    for (unsigned i = 0; i < npages; i++) {
        if (!world_load(w, page + i))
            return false;
    }
    return true;
}

bool
world_copy_in(struct world *w, unsigned page, unsigned npages, uint64_t value)
{
    static uint64_t bytes[COPY_MAX * PAGE_SIZE / sizeof(uint64_t)];
    const size_t words = PAGE_SIZE / sizeof(uint64_t);
    struct vm_fault_info info;
    bool good;

    WORLD_CHECK(npages <= COPY_MAX, "%u pages", npages);
    for (unsigned i = 0; i < npages; i++) {
        bytes[i * words] = value + i;
        bytes[i * words + words - 1] = last_word(value + i);
        content_of(w, page + i)->other = value + i;
    }
    good = world_faulted(w, vm_map_write(&w->rig.map, GPA(page), bytes, npages * PAGE_SIZE, &info),
                         &info);
    for (unsigned i = 0; good && i < npages; i++)
        content_set(w, page + i, value + i);
    return good;
}

bool
world_copy_out(struct world *w, unsigned page, unsigned npages)
{
    struct vm_fault_info info;
    uint64_t bytes[PAGE_SIZE / sizeof(uint64_t)];

    for (unsigned i = 0; i < npages; i++) {
        if (!world_faulted(w, vm_map_read(&w->rig.map, GPA(page + i), bytes, sizeof(bytes), &info),
                           &info))
            return false;
        expect_content(w, page + i, bytes[0], bytes[PAGE_SIZE / sizeof(uint64_t) - 1]);
    }
    return true;
}

/* Insert an entry; the object's reference is the map's, or gone. */
static bool
insert(struct world *w, struct vm_map_insert *args, unsigned page, unsigned npages)
{
    int error;

    args->start = GPA(page);
    args->end = GPA(page + npages);
    args->max_protection = VM_PROT_ALL;
    error = vm_map_insert(&w->rig.map, args);
    if (error != 0 && args->object != NULL)
        vm_object_unref(args->object);
    return world_did(w, error);
}

bool
world_map(struct world *w, unsigned page, unsigned npages, vm_prot_t prot, unsigned eflags)
{
    struct vm_map_insert args = { .protection = prot, .eflags = eflags };

    if ((eflags & MAP_ENTRY_NOFAULT) == 0 &&
        !world_did(w, vm_object_create_default(&w->rig.sys, npages, &args.object)))
        return false;
    if (!insert(w, &args, page, npages))
        return false;
    if (args.object != NULL)
        world_fresh(w, page, npages);
    return true;
}

bool
world_map_growing(struct world *w, unsigned page, unsigned npages, unsigned growth)
{
    struct vm_map_insert args = {
        .protection = VM_PROT_ALL, .eflags = MAP_ENTRY_GROWDOWN, .offset = growth, .growth = growth
    };

    if (!world_did(w, vm_object_create_default(&w->rig.sys, npages + growth, &args.object)) ||
        !insert(w, &args, page, npages))
        return false;
    world_fresh(w, page - growth + 1, npages + growth - 1);
    for (unsigned i = page - growth + 1; i < page; i++)
        w->unreadable[i] = true; /* it would grow: only the steps do that */
    return true;
}

bool
world_map_file(struct world *w, unsigned page, unsigned npages, unsigned kind,
               enum vm_map_advice advice)
{
    struct vm_map_insert args = {
        .protection = VM_PROT_ALL,
        .eflags = kind == WORLD_PRIVATE ? MAP_ENTRY_NEEDS_COPY : 0,
        .advice = advice,
    };
    unsigned flags = kind == WORLD_SHARED ? FILE_PAGER_SHARED : 0;

    if (!world_did(w, file_pager_create_io(&w->rig.sys, w->file, 0, npages, flags, &w->host->file,
                                           &args.object)) ||
        !insert(w, &args, page, npages))
        return false;
    WORLD_CHECK(npages == WORLD_FILE, "%u pages of the file", npages);
    for (unsigned i = 0; i < npages; i++)
        w->cell[page + i] = content_new(w, w->file_value[i]);
    if (kind == WORLD_SHARED)
        w->shared = page;
    return true;
}

/* The file has, or gets with its last mapping, what memory has. */
static void
file_follows(struct world *w)
{
    for (unsigned i = 0; i < WORLD_FILE && w->shared != 0; i++)
        w->file_value[i] = w->file_other[i] = content_of(w, w->shared + i)->value;
}

bool
world_copy(struct world *w, unsigned from, unsigned to, unsigned npages)
{
    if (!world_did(w, vm_map_copy(&w->rig.map, GPA(from), GPA(to), (uint64_t)npages * PAGE_SIZE)))
        return false;
    for (unsigned i = 0; i < npages; i++) {
        if (w->cell[from + i] != 0)
            w->cell[to + i] = content_new(w, content_of(w, from + i)->value);
        w->unreadable[to + i] = w->unreadable[from + i];
    }
    return true;
}

static void
file_look(const struct world *w)
{
    for (unsigned i = 0; i < WORLD_FILE; i++) {
        off_t at = (off_t)i << PAGE_SHIFT;
        uint64_t first = 0, last = 0;

        WORLD_CHECK(pread(w->file, &first, sizeof(first), at) == sizeof(first), "pread");
        WORLD_CHECK(pread(w->file, &last, sizeof(last), at + (off_t)LAST_WORD) == sizeof(last),
                    "pread");
        WORLD_CHECK((first == w->file_value[i] || first == w->file_other[i]) &&
                        last == last_word(first),
                    "page %u of the file is %" PRIx64 ", not %" PRIx64, i, first, w->file_value[i]);
    }
}

bool
world_remove(struct world *w, unsigned page, unsigned npages)
{
    uint64_t old[WORLD_FILE], failed = rig_system_meter(&w->rig, v_pageout_failed);
    unsigned messages = w->messages;

    if (!world_did(w, vm_map_remove(&w->rig.map, GPA(page), GPA(page + npages))))
        return false;
    if (w->shared != 0 && w->shared == page) {
        memcpy(old, w->file_value, sizeof(old));
        file_follows(w);
        w->shared = 0;
        if (rig_system_meter(&w->rig, v_pageout_failed) != failed) {
            WORLD_CHECK(w->messages > messages, "pages were lost silently");
            memcpy(w->file_other, old, sizeof(old));
        }
    }
    memset(&w->cell[page], 0, npages * sizeof(w->cell[0]));
    memset(&w->unreadable[page], 0, npages * sizeof(w->unreadable[0]));
    return true;
}

bool
world_protect(struct world *w, unsigned page, unsigned npages, vm_prot_t prot)
{
    if (!world_did(w, vm_map_protect(&w->rig.map, GPA(page), GPA(page + npages), prot)))
        return false;
    for (unsigned i = page; i < page + npages; i++)
        w->unreadable[i] = (prot & VM_PROT_READ) == 0;
    return true;
}

bool
world_advise(struct world *w, unsigned page, unsigned npages, enum vm_map_advice advice)
{
    return world_did(w, vm_map_advise(&w->rig.map, GPA(page), GPA(page + npages), advice));
}

bool
world_wire(struct world *w, unsigned page, unsigned npages, bool user)
{
    return world_did(w, vm_map_wire(&w->rig.map, GPA(page), GPA(page + npages), user));
}

bool
world_unwire(struct world *w, unsigned page, unsigned npages, bool user)
{
    return world_did(w, vm_map_unwire(&w->rig.map, GPA(page), GPA(page + npages), user));
}

bool
world_inval(struct world *w, unsigned page, unsigned npages)
{
    return world_did(w, vm_map_inval(&w->rig.map, GPA(page), GPA(page + npages)));
}

bool
world_setmap(struct world *w, unsigned page, unsigned npages, vpte_t root)
{
    return world_did(w, vm_map_setmap(&w->rig.map, GPA(page), GPA(page + npages), root));
}

/* Not all that was to be freed is a failure that only page-out's counters tell. */
bool
world_pageout(struct world *w, unsigned npages)
{
    uint64_t failed = rig_system_meter(&w->rig, v_pageout_failed);

    if (vm_pageout_scan(&w->rig.sys, npages) >= npages ||
        vm_budget_resident(&w->rig.sys) < npages) /* a want of memory was faster */
        return true;
    WORLD_CHECK(rig_system_meter(&w->rig, v_pageout_failed) > failed,
                "pages stay, and no write failed");
    return world_did(w, 0);
}

bool
world_flush(struct world *w, unsigned page)
{
    const struct vm_map_entry *entry = vm_map_entry_search(&w->rig.map, GPA(page));

    if (!world_did(w, vm_object_page_clean(entry->object)))
        return false;
    file_follows(w);
    file_look(w);
    return true;
}

/* --- Beginning and end --------------------------------------------------- */

static void
count_message(void *context, const char *text, int error)
{
    struct world *w = context;

    (void)error;
    WORLD_CHECK(text != NULL, "no message");
    w->messages++;
}

static int
new_file(uint64_t npages)
{
    int fd = memfd_create("injection", MFD_CLOEXEC);

    WORLD_CHECK(fd >= 0 && ftruncate(fd, (off_t)(npages << PAGE_SHIFT)) == 0, "memfd");
    return fd;
}

static void
file_fill(struct world *w)
{
    for (unsigned i = 0; i < WORLD_FILE; i++) {
        uint64_t first = 0x1000 + i, last = last_word(first);
        off_t at = (off_t)i << PAGE_SHIFT;

        w->file_value[i] = w->file_other[i] = first;
        WORLD_CHECK(pwrite(w->file, &first, sizeof(first), at) == sizeof(first), "pwrite");
        WORLD_CHECK(pwrite(w->file, &last, sizeof(last), at + (off_t)LAST_WORD) == sizeof(last),
                    "pwrite");
    }
}

void
world_init(struct world *w, const struct world_host *host)
{
    char path[64];

    memset(w, 0, sizeof(*w));
    w->ncontents = 1;
    w->host = host;
    rig_init_store(&w->rig, WORLD_BUDGET, WORLD_STORE);
    w->rig.fake.refuse = host->refuse;
    w->rig.sys.pageout_error = count_message;
    w->rig.sys.pageout_error_context = w;
    w->file = new_file(WORLD_FILE);
    file_fill(w);
    w->swap_fd = new_file(WORLD_SWAP);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", w->swap_fd);
    WORLD_CHECK(swap_device_open_io(path, WORLD_SWAP, &host->swap, &w->swap) == 0, "swap");
    swap_device_attach(w->swap, &w->rig.sys);
}

void
world_audit(struct world *w, uint64_t slots, bool frames)
{
    struct vm_map *map = &w->rig.map;
    struct audit audit = {
        .sys = &w->rig.sys,
        .maps = &map,
        .nmaps = 1,
        .objects = &w->rig.ram,
        .nobjects = w->rig.ram != NULL,
        .swap_slots = slots,
        .frames = frames,
    };

    audit_engine(&audit);
    fake_pmap_audit(&w->rig.fake);
}

void
world_look(struct world *w)
{
    for (unsigned page = 0; page < WORLD_PAGES; page++) {
        if (w->cell[page] != 0 && !w->unreadable[page])
            WORLD_CHECK(world_load(w, page), "page %u cannot be read: %d", page, w->error);
    }
}

void
world_fini(struct world *w)
{
    file_follows(w);
    rig_fini(&w->rig);
    WORLD_CHECK(swap_device_used(w->swap) == 0, "slots are left");
    swap_device_close(w->swap);
    file_look(w);
    close(w->swap_fd);
    close(w->file);
}
