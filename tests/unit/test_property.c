/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on a whole engine against a plain model of memory.
 *
 * The model knows nothing of objects, chains, frames or queues.  Each guest page of a
 * NORMAL entry has a pointer to 4096 bytes, which it shares with the pages that map the
 * same memory; a virtual copy gives the copy bytes of its own.  A window (VPAGETABLE)
 * has an array of such pages, in which the model walks.  Memory is short, and pages go
 * to swap and come back all the time; nobody may be able to tell.
 *
 * Compared are: every result; each byte of a page that was read; what a forbidden access
 * finds mapped (nothing).  Entries of tables are compared without A and M: M of a last
 * entry is set exactly if it was written through; everything else that must be set is.
 *
 * Now and then some I/O fails; what fails with it is tried again, and then nothing may be
 * missing or changed.
 *
 * VKVM_SEED chooses the operations, VKVM_PROPERTY_OPS how many there are: each access to a
 * page and each call is one.
 *
 * The model and its walk are in property_model.c, the comparing in property_check.c, making
 * entries in property_entries.c; here are the operations and the whole.
 */
#include "tests/unit/audit.h"
#include "tests/unit/environment.h"
#include "tests/unit/property.h"
#include "vmm/pager/swap_pager.h"
#include "vmm/vpagetable/vm_page.h"
#include "vmm/vpagetable/vm_pageout.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUDGET 96u
#define WIRED_MAX 24u
#define SWAP_PAGES 16384u
#define OPS_DEFAULT 1000000u
#define AUDIT_EVERY 256u

static void
do_setmap(void)
{
    struct range r = property_range_mapped(MEMORY_MAX);
    vpte_t root = property_any_root(property_chance(2) != 0 ? &vpte64_format : &vpte32_format);
    int want = 0;

    for (uint64_t c = r.first; c < r.end; c++) {
        const struct cell *cell = &prop.cells[r.m][c];

        if (cell->kind == WINDOW && (root & VPTE_PS) == 0)
            root = property_any_root(cell->format);
    }
    for (uint64_t c = r.first; c < r.end; c++) {
        const struct cell *cell = &prop.cells[r.m][c];

        if (cell->kind == WINDOW && (root & VPTE_PS) == 0 &&
            (root & cell->format->frame_mask) >> PAGE_SHIFT !=
                (cell->format == &vpte64_format ? TREE64 : TREE32))
            return;
    }
    if (!property_range_covered(&r))
        want = -ENOENT;
    else if (property_range_count(&r, WINDOW) != r.end - r.first)
        want = -EINVAL;
    EXPECT(vm_map_setmap(&prop.map[r.m], START(&r), END(&r), root), want);
    for (uint64_t c = r.first; want == 0 && c < r.end; c++)
        prop.cells[r.m][c].root = root;
}

/* --- What is done to ranges ---------------------------------------------- */

static void
do_inval(void)
{
    struct range r = property_range_mapped(2 * MEMORY_MAX);

    EXPECT(vm_map_inval(&prop.map[r.m], START(&r), END(&r)),
           property_range_covered(&r) ? 0 : -ENOENT);
}

static void
do_advise(void)
{
    struct range r = property_range_mapped(MEMORY_MAX);
    bool any = property_range_any(&r);

    EXPECT(vm_map_advise(&prop.map[r.m], START(&r), END(&r),
                         (enum vm_map_advice)property_chance(3)),
           any ? 0 : -ENOENT);
}

/* Space that an entry could grow into goes with the entry's lowest page. */
static void
clear_growth(unsigned m)
{
    bool gone = true;

    for (uint64_t c = CELLS; c-- > 0;) {
        struct cell *cell = &prop.cells[m][c];

        if (cell->kind == GROWTH && gone)
            property_cell_clear(cell);
        gone = cell->kind == NOTHING;
    }
}

/* What is lost when an object of a file ends is lost: let no I/O fail now. */
static void
remove_range(const struct range *r)
{
    bool any = property_range_any(r);

    prop.breaking.after = 0;
    EXPECT(vm_map_remove(&prop.map[r->m], START(r), END(r)), any ? 0 : -ENOENT);
    for (uint64_t c = r->first; c < r->end; c++) {
        if (property_is_entry(&prop.cells[r->m][c]))
            property_cell_clear(&prop.cells[r->m][c]);
    }
    clear_growth(r->m);
}

static void
do_remove(void)
{
    struct range r = property_range_mapped(2 * MEMORY_MAX);

    remove_range(&r);
}

static void
do_protect(void)
{
    struct range r = property_range_mapped(MEMORY_MAX);
    vm_prot_t prot = property_any_prot();
    int want = property_range_covered(&r) ? 0 : -EINVAL;

    for (uint64_t c = r.first; want == 0 && c < r.end; c++) {
        if ((prot & ~prop.cells[r.m][c].max) != 0)
            want = -EACCES;
    }
    EXPECT(vm_map_protect(&prop.map[r.m], START(&r), END(&r), prot), want);
    for (uint64_t c = r.first; want == 0 && c < r.end; c++)
        prop.cells[r.m][c].prot = prot;
}

static unsigned
wired_cells(void)
{
    unsigned count = 0;

    for (unsigned m = 0; m < MAPS; m++)
        for (unsigned c = 0; c < CELLS; c++)
            count += prop.cells[m][c].wired != 0;
    return count;
}

static int
wire_want(const struct range *r, bool user)
{
    if (!property_range_covered(r))
        return -ENOENT;
    for (uint64_t c = r->first; c < r->end; c++) {
        const struct cell *cell = &prop.cells[r->m][c];

        if (cell->kind == GUARD)
            return -ENOENT;
        if (cell->kind == WINDOW)
            return -EOPNOTSUPP;
        if (user ? (cell->max & VM_PROT_READ) == 0 : (cell->prot & VM_PROT_WRITE) == 0)
            return -EACCES;
    }
    return 0;
}

static void
do_wire(void)
{
    struct range r = property_range_mapped(8);
    bool user = property_chance(2) != 0;
    int want = wire_want(&r, user);

    if (wired_cells() + r.end - r.first > WIRED_MAX)
        return;
    EXPECT(vm_map_wire(&prop.map[r.m], START(&r), END(&r), user), want);
    for (uint64_t c = r.first; want == 0 && c < r.end; c++) {
        struct cell *cell = &prop.cells[r.m][c];

        if (user && cell->user_wired)
            continue;
        cell->wired++;
        cell->user_wired = cell->user_wired || user;
        if (user && (cell->prot & VM_PROT_WRITE) == 0)
            cell->max &= (vm_prot_t)~VM_PROT_WRITE;
    }
}

static void
do_unwire(void)
{
    struct range r = property_range_mapped(8);
    bool user = property_chance(2) != 0;
    int want = 0;

    for (unsigned i = 0; i < CELLS && prop.cells[r.m][r.first].wired == 0; i++)
        r.first = (r.first + 1) % CELLS;
    r.end = r.first + 1;
    while (r.end < CELLS && prop.cells[r.m][r.end].wired != 0 && property_chance(8) != 0)
        r.end++;
    for (uint64_t c = r.first; c < r.end; c++) {
        const struct cell *cell = &prop.cells[r.m][c];

        if (user ? !cell->user_wired : cell->wired == cell->user_wired)
            want = -EINVAL;
    }
    if (!property_range_covered(&r))
        want = -ENOENT;
    EXPECT(vm_map_unwire(&prop.map[r.m], START(&r), END(&r), user), want);
    for (uint64_t c = r.first; want == 0 && c < r.end; c++) {
        prop.cells[r.m][c].wired--;
        if (user)
            prop.cells[r.m][c].user_wired = false;
    }
}

/* The model's copies of the windows' memories that one virtual copy makes. */
struct copies {
    struct memory *of[CELLS];
    struct memory *copy[CELLS];
    unsigned count;
};

static struct memory *
copy_memory(struct copies *copies, struct memory *memory)
{
    for (unsigned i = 0; i < copies->count; i++) {
        if (copies->of[i] == memory)
            return copies->copy[i];
    }
    copies->of[copies->count] = memory;
    copies->copy[copies->count] = property_memory_new(memory->npages, memory);
    copies->copy[copies->count]->sealed = true;
    return copies->copy[copies->count++];
}

static void
cell_copy(struct cell *to, const struct cell *from, struct copies *copies)
{
    *to = *from;
    to->wired = 0;
    to->user_wired = false;
    if (from->page != NULL)
        to->page = property_page_new(from->page);
    if (from->memory == NULL)
        return;
    from->memory->sealed = true;
    if (from->kind == WINDOW) {
        to->memory = copy_memory(copies, from->memory);
        to->memory->references++;
    } else {
        to->memory = NULL;
    }
}

/* Does the copy of r have cell c?  Growth only together with the entry that grows. */
static bool
is_copied(const struct range *r, uint64_t c)
{
    while (c < r->end && prop.cells[r->m][c].kind == GROWTH)
        c++;
    return c < r->end;
}

static int
copy_want(const struct range *r, const struct range *d)
{
    if (d->first < r->end && r->first < d->end)
        return -EINVAL;
    if (!property_range_any(r))
        return -ENOENT;
    return property_range_count(d, NOTHING) != d->end - d->first ? -EEXIST : 0;
}

/* Returns whether it was copied: a window on memory that others map is not. */
static bool
copy_range(const struct range *r, const struct range *d)
{
    uint64_t npages = r->end - r->first;
    struct copies copies = { .count = 0 };
    int want = copy_want(r, d), error;

    do {
        error = vm_map_copy(&prop.map[r->m], START(r), START(d), npages << PAGE_SHIFT);
        if (want == 0 && error == -EOPNOTSUPP && property_range_count(r, WINDOW) != 0)
            return false;
    } while (error != want && property_io_failed());
    CHECK(error == want, "%d, not %d", error, want);
    for (uint64_t i = 0; want == 0 && i < npages; i++) {
        if (is_copied(r, r->first + i))
            cell_copy(&prop.cells[r->m][d->first + i], &prop.cells[r->m][r->first + i], &copies);
    }
    return want == 0;
}

static void
do_copy(void)
{
    struct range r = property_range_mapped(2 * MEMORY_MAX), d;
    uint64_t npages = r.end - r.first;

    if (property_chance(16) == 0) {
        d = (struct range){ .m = r.m, .first = property_chance(CELLS - npages + 1) };
        d.end = d.first + npages;
    } else if (!property_range_free(r.m, (unsigned)npages, &d)) {
        return;
    }
    (void)copy_range(&r, &d);
}

/* Hold the page that a cell shows. */
static struct vm_page *
hold_cell(unsigned m, uint64_t c)
{
    struct vm_page *page = NULL;
    enum vm_result result;

    do
        result = vm_fault_page_quick(&prop.map[m], property_cell_gpa(c), VM_PROT_READ, &page);
    while (result != VM_OK && property_io_failed());
    CHECK(result == VM_OK, "%s", vm_result_name(result));
    return page;
}

/*
 * Pages that are moved, not copied: two copies, both written to, have a common object behind
 * them; one of them goes while a page is held, so that the object stays behind the other.
 */
static void
do_move(void)
{
    struct range r = property_range_mapped(16), d;
    struct vm_page *held;

    for (uint64_t c = r.first; c < r.end; c++) {
        if (prop.cells[r.m][c].kind != NORMAL ||
            (prop.cells[r.m][c].prot & VM_PROT_RW) != VM_PROT_RW)
            return;
    }
    if (r.end - r.first < 2 || !property_range_free(r.m, (unsigned)(r.end - r.first), &d) ||
        !copy_range(&r, &d))
        return;
    property_write_cell(r.m, r.first);
    property_write_cell(d.m, d.first);
    held = hold_cell(r.m, r.end - 1);
    remove_range(&d);
    vm_page_unhold(held);
    for (uint64_t c = r.first; c < r.end; c++)
        property_write_cell(r.m, c);
}

/* Soon some I/O fails. */
static void
do_break(void)
{
    prop.breaking.after = 1 + (unsigned)property_chance(64);
    prop.breaking.length = 1 + (unsigned)property_chance(8);
}

static void
do_map(void)
{
    struct range r = property_range_mapped(1);

    switch (property_chance(12)) {
    case 0:
        property_map_guard(r.m);
        break;
    case 1:
        property_map_file(r.m);
        break;
    case 2:
    case 3:
        property_map_window(r.m);
        break;
    case 4:
        property_map_window_again(r.m, r.first);
        break;
    case 5:
        property_map_again(r.m, r.first);
        break;
    case 6:
    case 7:
        property_map_stack(r.m);
        break;
    default:
        property_map_new(r.m);
        break;
    }
}

static void
do_pageout(void)
{
    (void)vm_pageout_scan(&prop.sys, 1 + property_chance(BUDGET));
}

/* What was flushed of a shared file is in the file; a private one stays what it was. */
static void
do_flush(void)
{
    struct range r = property_range_mapped(1);
    const struct memory *memory = prop.cells[r.m][r.first].memory;
    struct vm_object *object;
    unsigned first, end;

    if (memory == NULL || memory->fd < 0)
        return;
    first = (unsigned)property_chance(memory->npages);
    end = first + 1 + (unsigned)property_chance(memory->npages - first);
    object = property_object_at(r.m, r.first);
    if (property_chance(2) != 0) {
        EXPECT(vm_object_page_clean(object), 0);
        property_file_check(memory, 0, memory->npages);
    } else {
        EXPECT(vm_object_flush(object, first, end, 0, NULL), 0); /* all but what is NOSYNC */
        EXPECT(vm_object_flush(object, first, end, VM_FLUSH_FORCE, NULL), 0);
        property_file_check(memory, first, end);
    }
    vm_object_unref(object);
}

static void
do_access(void (*access)(unsigned m, uint64_t c))
{
    struct range r = property_range_mapped(16);

    for (uint64_t c = r.first; c < r.end; c++) {
        if (prop.cells[r.m][c].prot != VM_PROT_NONE || property_chance(8) == 0)
            access(r.m, c);
    }
}

static void
do_vpte(void)
{
    struct range r = property_range_mapped(1);

    property_write_vpte(r.m, r.first);
}

#define DO(name, call)       \
    do {                     \
        prop.op_name = name; \
        call;                \
    } while (0)

static void
operation(void)
{
    uint64_t dice = property_chance(100);

    if (dice < 22)
        DO("read", do_access(property_read_cell));
    else if (dice < 48)
        DO("write", do_access(property_write_cell));
    else if (dice < 51)
        DO("copy in", do_access(property_copy_in));
    else if (dice < 54)
        DO("copy out", do_access(property_copy_out));
    else if (dice < 61)
        DO("virtual copy", do_copy());
    else if (dice < 67)
        DO("page-out", do_pageout());
    else if (dice < 72)
        DO("protect", do_protect());
    else if (dice < 75)
        DO("INVAL", do_inval());
    else if (dice < 78)
        DO("SETMAP", do_setmap());
    else if (dice < 83)
        DO("vpte", do_vpte());
    else if (dice < 86)
        DO("wire", do_wire());
    else if (dice < 89)
        DO("unwire", do_unwire());
    else if (dice < 91)
        DO("flush", do_flush());
    else if (dice < 92)
        DO("advise", do_advise());
    else if (dice < 93 && property_chance(2) != 0)
        DO("break", do_break());
    else if (dice < 94 && property_chance(2) != 0)
        DO("move", do_move());
    else if (dice < 96)
        DO("map", do_map());
    else
        DO("remove", do_remove());
}

/* --- The whole ----------------------------------------------------------- */

static void
audit(bool frames)
{
    struct vm_map *maps[MAPS] = { &prop.map[0], &prop.map[1] };
    struct audit args = { .sys = &prop.sys, .maps = maps, .nmaps = MAPS, .frames = frames };

    prop.op_name = "audit";
    audit_engine(&args);
    for (unsigned m = 0; m < MAPS; m++)
        fake_pmap_audit(&prop.fake[m]);
}

static ssize_t
swap_read(int fd, const struct iovec *iov, int count, off_t offset)
{
    return property_io_breaks() ? -1 : preadv(fd, iov, count, offset);
}

static ssize_t
swap_write(int fd, const struct iovec *iov, int count, off_t offset)
{
    return property_io_breaks() ? -1 : pwritev(fd, iov, count, offset);
}

static const struct swap_device_io swap_io = { .read = swap_read, .write = swap_write };

static struct swap_device *
world_init(void)
{
    struct vm_system_config config = { .store_pages = 1 << 16, .ram_budget = BUDGET };
    struct swap_device *device;
    char path[64];
    int fd = memfd_create("swap", MFD_CLOEXEC);

    cr_assert(zero(int, vm_system_init(&prop.sys, &config)));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    cr_assert(zero(int, swap_device_open_io(path, SWAP_PAGES, &swap_io, &device)));
    close(fd);
    swap_device_attach(device, &prop.sys);
    for (unsigned m = 0; m < MAPS; m++) {
        fake_pmap_init(&prop.fake[m]);
        cr_assert(zero(int, pmap_init(&prop.pmap[m], &prop.sys, &fake_pmap_ops, &prop.fake[m])));
        vm_map_init(&prop.map[m], &prop.sys, &prop.pmap[m]);
    }
    return device;
}

static void
world_fini(struct swap_device *device)
{
    prop.breaking.after = 0;
    for (unsigned m = 0; m < MAPS; m++) {
        vm_map_fini(&prop.map[m]);
        pmap_fini(&prop.pmap[m]);
        fake_pmap_fini(&prop.fake[m]);
        for (unsigned c = 0; c < CELLS; c++)
            property_cell_clear(&prop.cells[m][c]);
    }
    cr_assert(zero(u64, vm_budget_resident(&prop.sys)));
    cr_assert(zero(u64, swap_device_used(device)));
    vm_system_fini(&prop.sys);
    swap_device_close(device);
}

#define PRINT_MAP_METER(name, text)     \
    fprintf(stderr, " " #name "=");     \
    for (unsigned m = 0; m < MAPS; m++) \
        fprintf(stderr, "%s%" PRIu64, m == 0 ? "" : "+", vm_meter_get(&prop.map[m].meter, name));
#define PRINT_SYSTEM_METER(name, text) \
    fprintf(stderr, " " #name "=%" PRIu64, vm_meter_get(&prop.sys.meter, name));

Test(property, random_operations_leave_what_a_plain_model_of_memory_has, .timeout = 3600)
{
    uint64_t ops = environment_number("VKVM_PROPERTY_OPS", OPS_DEFAULT);
    struct swap_device *device = world_init();

    prop.seed = environment_number("VKVM_SEED", 1);
    prop.random = prop.seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    fprintf(stderr, "property: VKVM_SEED=%" PRIu64 " VKVM_PROPERTY_OPS=%" PRIu64 "\n", prop.seed,
            ops);
    for (uint64_t i = 0; prop.op < ops; i++) {
        prop.op++;
        operation();
        if (i % AUDIT_EVERY == 0)
            audit(false);
    }
    prop.op_name = "last look";
    for (unsigned m = 0; m < MAPS; m++)
        for (unsigned c = 0; c < CELLS; c++)
            property_read_cell(m, c);
    audit(true);
    fprintf(stderr, "property:");
    VM_MAP_METER_FIELDS(PRINT_MAP_METER)
    VM_SYSTEM_METER_FIELDS(PRINT_SYSTEM_METER)
    fprintf(stderr, "\n");
    world_fini(device);
}
