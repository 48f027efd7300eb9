/* SPDX-License-Identifier: BSD-2-Clause */
/* See injection.h. */
#include "tests/unit/injection.h"

#include "tests/unit/alloc_failure.h"
#include "vmm/vpagetable/vm_budget.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- Kinds of failures --------------------------------------------------- */

enum point {
    POINT_ALLOC,
    POINT_MAP,
    POINT_FILE,
    POINT_HOLE,
    POINT_READ,
    POINT_WRITE,
    POINT_SIZE,
    POINT_WINDOW,
    POINT_REBASE,
    POINT_ENTER,
    POINT_SWAP_SLOTS, /* a want, not a call */
    POINT_MEMORY
};

enum manner {
    MANNER_ERROR,
    MANNER_PART,    /* a part is done; an enter fails then, I/O goes on */
    MANNER_NOTHING, /* I/O: 0 bytes */
    MANNER_TRUNCATE /* the file ends in the middle from now on, until the step failed */
};

struct kind {
    const char *name;
    enum point point;
    enum manner manner;
    int error; /* errno */
    bool pair; /* also run in pairs */
};

static const struct kind kinds[] = {
    { "allocation", POINT_ALLOC, MANNER_ERROR, ENOMEM, true },
    { "mapping", POINT_MAP, MANNER_ERROR, ENOMEM, false },
    { "frame store", POINT_FILE, MANNER_ERROR, EMFILE, false },
    { "hole that is not punched", POINT_HOLE, MANNER_ERROR, ENOMEM, false },
    { "hole, interrupted", POINT_HOLE, MANNER_ERROR, EINTR, false },
    { "read, EIO", POINT_READ, MANNER_ERROR, EIO, true },
    { "read, interrupted", POINT_READ, MANNER_ERROR, EINTR, false },
    { "read, short", POINT_READ, MANNER_PART, EIO, false },
    { "read of nothing", POINT_READ, MANNER_NOTHING, EIO, false },
    { "write, EIO", POINT_WRITE, MANNER_ERROR, EIO, true },
    { "write, ENOSPC", POINT_WRITE, MANNER_ERROR, ENOSPC, false },
    { "write, interrupted", POINT_WRITE, MANNER_ERROR, EINTR, false },
    { "write, short", POINT_WRITE, MANNER_PART, EIO, false },
    { "write of nothing", POINT_WRITE, MANNER_NOTHING, EIO, false },
    { "size of the file", POINT_SIZE, MANNER_ERROR, EIO, false },
    { "truncation", POINT_SIZE, MANNER_TRUNCATE, EIO, false },
    { "truncation before a read", POINT_READ, MANNER_TRUNCATE, EIO, false },
    { "window", POINT_WINDOW, MANNER_ERROR, ENOSPC, true },
    { "rebase", POINT_REBASE, MANNER_ERROR, ENOMEM, false },
    { "enter, ENOMEM", POINT_ENTER, MANNER_ERROR, ENOMEM, true },
    { "enter, EFAULT", POINT_ENTER, MANNER_ERROR, EFAULT, false },
    { "enter of a part", POINT_ENTER, MANNER_PART, EAGAIN, false },
    { "slots of swap", POINT_SWAP_SLOTS, MANNER_ERROR, EIO, false },
    { "pages of memory", POINT_MEMORY, MANNER_PART, ENOMEM, false },
    { "pages of memory, no swap", POINT_MEMORY, MANNER_NOTHING, ENOMEM, false },
};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

/* The failures of a run, in order: each counts from the moment the one before it happened. */
struct failure {
    const struct kind *kind;
    unsigned n;
};

struct injection {
    const char *scenario;
    struct world *world;
    struct failure failures[2];
    unsigned count;
    unsigned fired; /* of failures */
    unsigned left;  /* calls to the next one; 0 = none */
    unsigned step;
    bool on;
    bool truncated;
    uint64_t slots[WORLD_SWAP]; /* that are taken for a want of swap */
    unsigned nslots;
    char tail[WORLD_FILE * PAGE_SIZE]; /* what truncation cut off */
};

static struct injection now;

static void
say_where(void)
{
    char text[256];
    int length = snprintf(text, sizeof(text), "injection: %s, step %u", now.scenario, now.step);

    for (unsigned i = 0; i < now.count; i++)
        length += snprintf(text + length, sizeof(text) - (size_t)length, ", %s %u%s",
                           now.failures[i].kind->name, now.failures[i].n,
                           i < now.fired ? " (happened)" : "");
    dprintf(STDERR_FILENO, "%s\n", text);
}

/* Does this call fail?  Returns how, or NULL. */
static const struct kind *
call_fails(enum point point)
{
    const struct kind *kind;

    if (!now.on || now.fired == now.count)
        return NULL;
    kind = now.failures[now.fired].kind;
    if (kind->point != point || --now.left != 0)
        return NULL;
    if (++now.fired < now.count)
        now.left = now.failures[now.fired].n;
    return kind;
}

static int
allocation_fails(enum alloc_call call)
{
    static const enum point points[] = {
        [ALLOC_HEAP] = POINT_ALLOC,
        [ALLOC_MAP] = POINT_MAP,
        [ALLOC_FILE] = POINT_FILE,
        [ALLOC_HOLE] = POINT_HOLE,
    };
    /* The others have no point: they are not made to fail here. */
    const struct kind *kind = call <= ALLOC_HOLE ? call_fails(points[call]) : NULL;

    return kind != NULL ? kind->error : 0;
}

static int
machine_refuses(enum fake_operation operation, unsigned npages, unsigned *entered)
{
    static const enum point points[] = {
        [FAKE_WINDOW_CREATE] = POINT_WINDOW,
        [FAKE_WINDOW_REBASE] = POINT_REBASE,
        [FAKE_ENTER] = POINT_ENTER,
    };
    const struct kind *kind = call_fails(points[operation]);

    if (kind != NULL && kind->manner == MANNER_PART)
        *entered = npages / 2;
    return kind != NULL ? -kind->error : 0;
}

/* --- I/O ----------------------------------------------------------------- */

static void
file_truncate(void)
{
    WORLD_CHECK(pread(now.world->file, now.tail, sizeof(now.tail), 0) == sizeof(now.tail), "pread");
    WORLD_CHECK(ftruncate(now.world->file, sizeof(now.tail) / 2) == 0, "ftruncate");
    now.truncated = true;
}

/* The file has its end again; what was written in front of it meanwhile stays. */
static void
file_restore(void)
{
    const size_t half = sizeof(now.tail) / 2;

    if (!now.truncated)
        return;
    WORLD_CHECK(pwrite(now.world->file, now.tail + half, half, (off_t)half) == (ssize_t)half,
                "pwrite");
    now.truncated = false;
}

typedef ssize_t (*transfer)(int fd, const struct iovec *iov, int count, off_t offset);

static ssize_t
moved(enum point point, transfer real, int fd, const struct iovec *iov, int count, off_t offset)
{
    const struct kind *kind = call_fails(point);
    struct iovec part = iov[0];

    if (kind != NULL && kind->manner == MANNER_ERROR) {
        errno = kind->error;
        return -1;
    }
    if (kind != NULL && kind->manner == MANNER_NOTHING)
        return 0;
    if (kind != NULL && kind->manner == MANNER_PART) {
        part.iov_len -= part.iov_len / 3;
        return real(fd, &part, 1, offset);
    }
    if (kind != NULL && kind->manner == MANNER_TRUNCATE)
        file_truncate();
    return real(fd, iov, count, offset);
}

static ssize_t
injected_read(int fd, const struct iovec *iov, int count, off_t offset)
{
    return moved(POINT_READ, preadv, fd, iov, count, offset);
}

static ssize_t
injected_write(int fd, const struct iovec *iov, int count, off_t offset)
{
    return moved(POINT_WRITE, pwritev, fd, iov, count, offset);
}

static off_t
injected_size(int fd)
{
    const struct kind *kind = call_fails(POINT_SIZE);

    if (kind != NULL && kind->manner == MANNER_TRUNCATE) {
        file_truncate();
    } else if (kind != NULL) {
        errno = kind->error;
        return -1;
    }
    return lseek(fd, 0, SEEK_END);
}

static const struct world_host host = {
    .file = { injected_read, injected_write, injected_size },
    .swap = { .read = injected_read, .write = injected_write },
    .refuse = machine_refuses,
};

/* --- Wants --------------------------------------------------------------- */

static void
want_begin(struct world *w, const struct failure *failure)
{
    uint64_t slots = failure->n - 1;

    if (failure->kind->point == POINT_MEMORY) {
        w->rig.sys.ram_budget = vm_budget_resident(&w->rig.sys) + failure->n - 1;
        if (failure->kind->manner == MANNER_PART)
            return;
        slots = 0;
    }
    while (swap_device_pages(w->swap) - swap_device_used(w->swap) > slots) {
        WORLD_CHECK(swap_slots_alloc(w->swap, 1, &now.slots[now.nslots]) == 1, "a slot");
        now.nslots++;
    }
}

static void
want_end(struct world *w)
{
    w->rig.sys.ram_budget = WORLD_BUDGET;
    while (now.nslots != 0)
        swap_slot_free(w->swap, now.slots[--now.nslots]);
}

static bool
kind_is_want(const struct kind *kind)
{
    return kind->point == POINT_SWAP_SLOTS || kind->point == POINT_MEMORY;
}

/* Did anybody feel the want? */
static bool
want_was_felt(struct world *w, const struct kind *kind)
{
    return kind->point == POINT_MEMORY ? rig_meter(&w->rig, v_pfwait) != 0
                                       : rig_system_meter(&w->rig, v_swap_full) != 0;
}

/* --- A run --------------------------------------------------------------- */

/* May an operation answer so when this was made to fail? */
static bool
error_fits(const struct kind *kind, int error)
{
    bool io = kind->point == POINT_READ || kind->point == POINT_WRITE || kind->point == POINT_SIZE;
    bool want = kind_is_want(kind);

    return error == -kind->error || (io && error == -EIO) || (want && error == -ENOMEM);
}

/* A step failed: with an error that says why, and for a failure that came since it began? */
static void
expect_reason(const struct world *w, unsigned fired)
{
    unsigned count = kind_is_want(now.failures[0].kind) ? 1 : now.fired;
    bool known = w->error == 0; /* it has checked by itself */

    WORLD_CHECK(now.fired > fired || now.truncated || kind_is_want(now.failures[0].kind),
                "failed (%d), and nothing was made to fail", w->error);
    for (unsigned i = 0; i < count; i++)
        known = known || error_fits(now.failures[i].kind, w->error);
    WORLD_CHECK(known, "failed with %d", w->error);
}

/* One step, until it succeeds.  `look`: memory is looked at after a failure. */
static void
step_run(struct world *w, injection_step step, bool look)
{
    for (unsigned tries = 0;; tries++) {
        unsigned fired = now.fired;
        bool good;

        w->error = 0;
        now.on = true;
        good = step(w);
        now.on = false;
        if (good)
            return;
        WORLD_CHECK(tries < 4, "failed for ever: %d", w->error);
        expect_reason(w, fired);
        world_audit(w, now.nslots, false);
        file_restore();
        want_end(w);
        if (look)
            world_look(w);
        world_audit(w, now.nslots, false);
    }
}

static int
lowest_free_descriptor(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd;
}

/* Run the scenario with these failures.  Returns how many of them happened. */
static unsigned
run(const struct scenario *scenario, const struct failure *failures, unsigned count, bool look)
{
    int64_t live = alloc_failure_live();
    struct world *w =
        mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int descriptor = lowest_free_descriptor();
    unsigned happened;

    now = (struct injection){ .scenario = scenario->name, .world = w, .count = count };
    memcpy(now.failures, failures, count * sizeof(*failures));
    now.left = failures[0].n;
    world_init(w, &host);
    if (scenario->setup != NULL)
        scenario->setup(w);
    world_audit(w, now.nslots, false);
    if (kind_is_want(failures[0].kind)) {
        for (unsigned i = 0; i < VM_PARTS; i++) {
            atomic_store(&w->rig.sys.meter.part[i].v_swap_full, 0);
            atomic_store(&w->rig.map.meter.part[i].v_pfwait, 0);
        }
        want_begin(w, &failures[0]);
    }
    for (now.step = 0; now.step < scenario->nsteps; now.step++)
        step_run(w, scenario->steps[now.step], look);
    happened = kind_is_want(failures[0].kind) ? want_was_felt(w, failures[0].kind) : now.fired;
    want_end(w);
    file_restore();
    world_look(w);
    world_audit(w, 0, now.fired == 0);
    world_fini(w);
    munmap(w, sizeof(*w));
    WORLD_CHECK(lowest_free_descriptor() == descriptor, "descriptors are left open");
    WORLD_CHECK(alloc_failure_live() == live, "%" PRId64 " allocations are left",
                alloc_failure_live() - live);
    return happened;
}

static void
abort_handler(int number)
{
    say_where();
    signal(number, SIG_DFL);
    raise(number);
}

/* Each failure alone.  Returns how many runs had one. */
static unsigned
run_singles(const struct scenario *scenario)
{
    unsigned runs = 0;

    for (unsigned k = 0; k < NKINDS; k++) {
        struct failure failure = { &kinds[k], 1 };

        while (run(scenario, &failure, 1, true) != 0) {
            failure.n++;
            runs++;
        }
    }
    return runs;
}

/* For a failure, the first three of each kind that may follow. */
static unsigned
run_seconds(const struct scenario *scenario, const struct failure *first, bool *happened)
{
    unsigned runs = 0;

    for (unsigned k = 0; k < NKINDS; k++) {
        struct failure failures[2] = { *first, { &kinds[k], 1 } };
        unsigned count;

        if (!kinds[k].pair)
            continue;
        do {
            count = run(scenario, failures, 2, false);
            *happened = count != 0;
            runs += count == 2;
        } while (count == 2 && ++failures[1].n <= 3);
    }
    return runs;
}

static unsigned
run_pairs(const struct scenario *scenario)
{
    unsigned runs = 0;

    for (unsigned k = 0; k < NKINDS; k++) {
        struct failure first = { &kinds[k], 1 };
        bool happened = kinds[k].pair;

        for (; happened; first.n++)
            runs += run_seconds(scenario, &first, &happened);
    }
    return runs;
}

void
injection_run(const struct scenario *scenario)
{
    struct sigaction action = { .sa_handler = abort_handler };
    unsigned singles, pairs;

    sigaction(SIGABRT, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    alloc_failure_hook(allocation_fails);
    singles = run_singles(scenario);
    pairs = run_pairs(scenario);
    alloc_failure_hook(NULL);
    fprintf(stderr, "injection: %s: %u failures, %u pairs\n", scenario->name, singles, pairs);
    cr_assert(singles != 0);
}
