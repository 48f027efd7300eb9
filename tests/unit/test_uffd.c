/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uffd.c against a kernel made of arrays, whose answers are exchanged for odd ones: every
 * operation, every answer, at each of the first calls, once, several times and for ever.
 *
 * The kernel knows for each page whether its frame is filled, whether it is in the page
 * table, protected, and waited for.  An exchanged answer changes none of these, but for the
 * partial ones.
 */
#include "vmm/kvm/kvm_compat.h"
#include "vmm/kvm/uffd.h"
#include "vmm/vpagetable/vm_types.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FD 42
#define START UINT64_C(0x700000000000)
#define PAGES UFFD_RUN_MAX
#define EVER UINT32_MAX
#define CALLS_MAX 200000u

/* How an answer is given. */
enum form {
    FORM_ERRNO,      /* -1 and errno, the count field as it was */
    FORM_BOTH,       /* -1 and errno, and the field */
    FORM_FIELD,      /* 0, the error in the field only */
    FORM_NOTHING,    /* 0 and a count of 0 */
    FORM_PART,       /* a part is done; -1 and EAGAIN, the field has how much */
    FORM_QUIET_PART, /* a part is done; 0, the field has how much */
    FORM_COUNT
};

static const char *const form_names[FORM_COUNT] = {
    "errno", "errno and field", "field", "count 0", "partial", "partial without errno",
};

struct page {
    bool filled;
    bool present;
    bool protected;
    bool waiting;
    bool registered;
};

static struct page pages[PAGES];
static unsigned calls;
static unsigned wakes;

/* The answer that is given instead: to calls [first, first + times). */
static enum form script_form;
static int script_error;
static uint32_t script_first, script_times;
static unsigned long script_request; /* only to this one; 0 = any */
static bool holes_and_back;          /* every frame is what the operation does not want */

static char where[160];

#define CHECK(condition, ...)                                      \
    do {                                                           \
        if (!(condition)) {                                        \
            char what[160];                                        \
                                                                   \
            snprintf(what, sizeof(what), __VA_ARGS__);             \
            cr_assert_fail("%s: %s: %s", where, #condition, what); \
        }                                                          \
    } while (0)

/* --- The kernel ---------------------------------------------------------- */

static unsigned
index_of(uint64_t address, uint64_t length, unsigned *count)
{
    CHECK(address % PAGE_SIZE == 0 && length % PAGE_SIZE == 0 && length != 0, "alignment");
    CHECK(address >= START && length <= PAGES * PAGE_SIZE &&
              address - START <= PAGES * PAGE_SIZE - length,
          "range 0x%" PRIx64, address);
    *count = (unsigned)(length / PAGE_SIZE);
    return (unsigned)((address - START) / PAGE_SIZE);
}

static int
fail(int error)
{
    errno = error;
    return -1;
}

/* Enter one page.  Returns 0 or an errno. */
static int
enter_page(struct page *p, bool fill, bool protect, bool quiet)
{
    if (!p->registered)
        return ENOENT;
    if (holes_and_back)
        return fill ? EEXIST : EFAULT;
    if (fill ? p->filled || p->present : p->present)
        return EEXIST;
    if (!fill && !p->filled)
        return EFAULT;
    p->filled = p->present = true;
    p->protected = protect;
    p->waiting = p->waiting && quiet;
    return 0;
}

static bool
scripted(unsigned long request)
{
    return calls >= script_first && calls - script_first < script_times &&
           (script_request == 0 || script_request == request);
}

/* ZEROPAGE, COPY and CONTINUE: a run and its count field. */
static int
enter_run(unsigned long request, uint64_t start, uint64_t length, long long *field, bool protect,
          bool quiet)
{
    bool fill = request != UFFDIO_CONTINUE;
    unsigned count, done = 0, limit;
    struct page *p = &pages[index_of(start, length, &count)];
    bool odd = scripted(request);
    int error = 0;

    if (odd && script_form < FORM_PART) {
        if (script_form == FORM_BOTH || script_form == FORM_FIELD)
            *field = -script_error;
        else if (script_form == FORM_NOTHING)
            *field = 0;
        return script_form == FORM_FIELD || script_form == FORM_NOTHING ? 0 : fail(script_error);
    }
    limit = odd ? (count + 1) / 2 : count;
    while (done < limit && error == 0) {
        error = enter_page(&p[done], fill, protect, quiet);
        done += error == 0;
    }
    *field = done != 0 ? (long long)(done * PAGE_SIZE) : -error;
    if (done == count || (odd && script_form == FORM_QUIET_PART && done != 0))
        return 0;
    return fail(done != 0 ? EAGAIN : error);
}

/* REGISTER, WAKE, WRITEPROTECT: all or nothing. */
static int
plain_fails(unsigned long request)
{
    return scripted(request) ? fail(script_error) : 0;
}

static int
write_protect(const struct uffdio_writeprotect *op)
{
    unsigned count;
    struct page *p = &pages[index_of(op->range.start, op->range.len, &count)];
    bool protect = (op->mode & UFFDIO_WRITEPROTECT_MODE_WP) != 0;

    CHECK(!protect || (op->mode & UFFDIO_WRITEPROTECT_MODE_DONTWAKE) == 0, "EINVAL");
    if (plain_fails(UFFDIO_WRITEPROTECT) != 0)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        if (!p[i].registered)
            return fail(ENOENT);
    }
    for (unsigned i = 0; i < count; i++) {
        p[i].protected = protect;
        if (!protect && (op->mode & UFFDIO_WRITEPROTECT_MODE_DONTWAKE) == 0)
            p[i].waiting = false;
    }
    return 0;
}

static int
wake(const struct uffdio_range *range)
{
    unsigned count;
    struct page *p = &pages[index_of(range->start, range->len, &count)];

    if (plain_fails(UFFDIO_WAKE) != 0)
        return -1;
    wakes++;
    for (unsigned i = 0; i < count; i++)
        p[i].waiting = false;
    return 0;
}

static int
register_range(const struct uffdio_register *op)
{
    unsigned count;
    struct page *p = &pages[index_of(op->range.start, op->range.len, &count)];

    CHECK(op->mode ==
              (UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP),
          "mode 0x%" PRIx64, (uint64_t)op->mode);
    if (plain_fails(UFFDIO_REGISTER) != 0)
        return -1;
    for (unsigned i = 0; i < count; i++)
        p[i].registered = true;
    return 0;
}

static int
kernel(int fd, unsigned long request, void *argument)
{
    struct uffdio_zeropage *zero = argument;
    struct uffdio_copy *copy = argument;
    struct uffdio_continue *go = argument;

    CHECK(fd == FD, "fd %d", fd);
    CHECK(++calls < CALLS_MAX, "called without end");
    switch (request) {
    case UFFDIO_REGISTER:
        return register_range(argument);
    case UFFDIO_WAKE:
        return wake(argument);
    case UFFDIO_WRITEPROTECT:
        return write_protect(argument);
    case UFFDIO_ZEROPAGE:
        return enter_run(request, zero->range.start, zero->range.len, &zero->zeropage, false,
                         (zero->mode & UFFDIO_ZEROPAGE_MODE_DONTWAKE) != 0);
    case UFFDIO_COPY:
        CHECK((copy->mode & UFFDIO_COPY_MODE_WP) != 0, "a copy that could be written");
        return enter_run(request, copy->dst, copy->len, &copy->copy, true,
                         (copy->mode & UFFDIO_COPY_MODE_DONTWAKE) != 0);
    case UFFDIO_CONTINUE:
        return enter_run(request, go->range.start, go->range.len, &go->mapped,
                         (go->mode & UFFDIO_CONTINUE_MODE_WP) != 0,
                         (go->mode & UFFDIO_CONTINUE_MODE_DONTWAKE) != 0);
    default:
        return fail(ENOTTY);
    }
}

/* --- Set-up -------------------------------------------------------------- */

struct operation {
    const char *name;
    unsigned how;
    bool filled;  /* the frames */
    bool present; /* and in the page table, with the other protection */
    unsigned long request;
};

static const struct operation operations[] = {
    { "ZEROPAGE", UFFD_FILL | UFFD_WRITE, false, false, UFFDIO_ZEROPAGE },
    { "ZEROPAGE, quiet", UFFD_FILL | UFFD_WRITE | UFFD_QUIET, false, false, UFFDIO_ZEROPAGE },
    { "COPY", UFFD_FILL, false, false, UFFDIO_COPY },
    { "COPY, quiet", UFFD_FILL | UFFD_QUIET, false, false, UFFDIO_COPY },
    { "CONTINUE", UFFD_WRITE, true, false, UFFDIO_CONTINUE },
    { "CONTINUE, quiet", UFFD_WRITE | UFFD_QUIET, true, false, UFFDIO_CONTINUE },
    { "CONTINUE protected", 0, true, false, UFFDIO_CONTINUE },
    { "ZEROPAGE of filled frames", UFFD_FILL | UFFD_WRITE, true, false, UFFDIO_ZEROPAGE },
    { "CONTINUE of holes", UFFD_WRITE, false, false, UFFDIO_CONTINUE },
    { "CONTINUE of holes, protected", 0, false, false, UFFDIO_CONTINUE },
    { "CONTINUE of what is there", UFFD_WRITE, true, true, UFFDIO_CONTINUE },
    { "CONTINUE protected of what is there", 0, true, true, UFFDIO_CONTINUE },
    { "COPY of what is there", UFFD_FILL, true, true, UFFDIO_COPY },
};
#define NOPERATIONS (sizeof(operations) / sizeof(operations[0]))

static struct uffd
kernel_init(const struct operation *op)
{
    struct uffd u;

    cr_assert_eq(uffd_init(&u, FD, true), 0);
    u.ioctl = kernel;
    for (unsigned i = 0; i < PAGES; i++)
        pages[i] = (struct page){
            .filled = op->filled,
            .present = op->present,
            .protected = op->present && (op->how & UFFD_WRITE) != 0,
            .waiting = true,
            .registered = true,
        };
    calls = wakes = 0;
    script_times = 0;
    script_request = 0;
    holes_and_back = false;
    return u;
}

static void
script(enum form form, int error, uint32_t first, uint32_t times)
{
    script_form = form;
    script_error = error;
    script_first = first;
    script_times = times;
}

/*
 * What is promised whatever the answers are: pages counted as done are entered with the
 * protection asked for and woken; no other page lets a write through that should be seen.
 */
static void
expect_promise(const struct operation *op, unsigned npages, int error, unsigned done)
{
    bool protect = (op->how & UFFD_WRITE) == 0;
    bool lie = script_times != 0 && script_form < FORM_NOTHING && script_error == EEXIST;

    CHECK(error <= 0 && done <= npages, "%d with %u pages", error, done);
    CHECK((error == 0) == (done == npages), "%d with %u of %u pages", error, done, npages);
    for (unsigned i = 0; i < done; i++) {
        /* Where it was there a moment ago and is not any more, the waiter finds out. */
        CHECK(pages[i].present || lie, "page %u is not entered", i);
        CHECK(pages[i].protected == protect, "protection of page %u", i);
        CHECK(!pages[i].waiting || (op->how & UFFD_QUIET) != 0, "page %u is not woken", i);
    }
    for (unsigned i = done; i < PAGES; i++)
        CHECK(op->present || !pages[i].present || !protect || pages[i].protected, "page %u", i);
}

/* --- The table ----------------------------------------------------------- */

/* Is it an answer after which the same is tried again, or smaller? */
static bool
is_transient(enum form form, int error, const struct operation *op)
{
    if (form == FORM_NOTHING || form == FORM_PART || form == FORM_QUIET_PART || error == EAGAIN)
        return true;
    if (error == EEXIST || error == ENOENT)
        return true;
    return error == EFAULT && op->request == UFFDIO_CONTINUE;
}

static const int errors[] = { EAGAIN, EEXIST, ENOENT, ESRCH, EFAULT, ENOMEM, ENOSPC, EINVAL };
#define NERRORS (sizeof(errors) / sizeof(errors[0]))

static void
run_case(const struct operation *op, enum form form, int error, unsigned npages, uint32_t first,
         uint32_t times)
{
    struct uffd u = kernel_init(op);
    unsigned done = 12345;
    int result;

    snprintf(where, sizeof(where), "%s, %u pages, %s %s from call %u on, %u times", op->name,
             npages, form_names[form], form < FORM_NOTHING ? strerrorname_np(error) : "", first,
             times);
    script(form, error, first, times);
    result = uffd_enter(&u, (void *)START, npages, op->how, &done);
    expect_promise(op, npages, result, done);
    CHECK(calls <= 12 * npages + 40 || error == EAGAIN || form == FORM_NOTHING, "%u calls", calls);
    if (calls < first)
        CHECK(result == 0, "%d without an odd answer", result);
    else if (times == 1 && first == 1 && is_transient(form, error, op))
        CHECK(result == 0, "%d", result);
    else if (times == 1 && first == 1)
        CHECK(result == -error && done == 0, "%d, %u done", result, done);
    uffd_fini(&u);
}

Test(uffd, every_answer_to_every_operation_enters_the_pages_or_says_why_not)
{
    static const unsigned counts[] = { 1, 2, 5, PAGES };

    for (unsigned o = 0; o < NOPERATIONS; o++)
        for (enum form form = 0; form < FORM_COUNT; form++)
            for (unsigned e = 0; e < (form < FORM_NOTHING ? NERRORS : 1); e++)
                for (unsigned c = 0; c < 4; c++)
                    for (uint32_t first = 1; first <= 4; first++)
                        for (uint32_t times = 1; times <= 3; times++)
                            run_case(&operations[o], form, errors[e], counts[c], first, times);
}

/* An answer without end, but for EAGAIN, which is waited for long: the test below. */
Test(uffd, no_answer_is_asked_for_without_end)
{
    for (unsigned o = 0; o < NOPERATIONS; o++)
        for (enum form form = 0; form < FORM_COUNT; form++)
            for (unsigned e = 1; e < (form < FORM_NOTHING ? NERRORS : 2); e++)
                for (uint32_t first = 1; first <= 3 && form != FORM_NOTHING; first++)
                    run_case(&operations[o], form, errors[e], 5, first, EVER);
}

Test(uffd, eagain_without_end_is_given_up_with_eagain)
{
    static const struct operation *const op = &operations[0];
    static const enum form forms[] = { FORM_ERRNO, FORM_BOTH, FORM_NOTHING };

    for (unsigned f = 0; f < 3; f++) {
        struct uffd u = kernel_init(op);
        unsigned done = 12345;

        snprintf(where, sizeof(where), "%s", form_names[forms[f]]);
        script(forms[f], EAGAIN, 1, EVER);
        CHECK(uffd_enter(&u, (void *)START, 4, op->how, &done) == -EAGAIN, "%u calls", calls);
        CHECK(done == 0 && calls > 1000, "%u done, %u calls", done, calls);
        uffd_fini(&u);
    }
}

Test(uffd, a_frame_that_is_always_what_it_should_not_be_ends_with_an_error)
{
    for (unsigned o = 0; o < NOPERATIONS; o++) {
        struct uffd u = kernel_init(&operations[o]);
        unsigned done = 12345;

        snprintf(where, sizeof(where), "%s", operations[o].name);
        holes_and_back = true;
        CHECK(uffd_enter(&u, (void *)START, 3, operations[o].how, &done) == -EIO, "%u", calls);
        CHECK(done == 0 && calls < 32, "%u done, %u calls", done, calls);
        uffd_fini(&u);
    }
}

/* --- Runs of mixed pages, and of a part of the address space ------------- */

Test(uffd, each_page_of_a_mixed_run_is_entered_by_what_suits_it)
{
    for (unsigned o = 0; o < NOPERATIONS; o++) {
        const struct operation *op = &operations[o];
        struct uffd u = kernel_init(op);
        unsigned done = 0;

        snprintf(where, sizeof(where), "%s", op->name);
        for (unsigned i = 0; i < PAGES; i++) {
            pages[i].filled = i % 3 != 0;
            pages[i].present = i % 3 == 2;
            pages[i].protected = i % 2 != 0;
        }
        CHECK(uffd_enter(&u, (void *)START, PAGES, op->how, &done) == 0, "%u done", done);
        expect_promise(op, PAGES, 0, done);
        uffd_fini(&u);
    }
}

Test(uffd, a_run_ends_where_nothing_is_registered)
{
    for (unsigned o = 0; o < NOPERATIONS; o++) {
        for (unsigned end = 0; end < 9; end++) {
            const struct operation *op = &operations[o];
            struct uffd u = kernel_init(op);
            unsigned done = 12345;
            int error;

            snprintf(where, sizeof(where), "%s, %u registered", op->name, end);
            for (unsigned i = end; i < PAGES; i++)
                pages[i].registered = false;
            error = uffd_enter(&u, (void *)START, 9, op->how, &done);
            CHECK(error == -ENOENT && done == end, "%d, %u done", error, done);
            uffd_fini(&u);
        }
    }
}

Test(uffd, a_filled_frame_is_not_entered_protected_where_the_kernel_cannot)
{
    static const struct operation *const op = &operations[6];
    struct uffd u = kernel_init(op);
    unsigned done = 12345;

    u.continue_wp = false;
    cr_assert_eq(uffd_enter(&u, (void *)START, 3, op->how, &done), -EOPNOTSUPP);
    cr_assert_eq(done, 0);
    cr_assert_eq(calls, 0);
    for (unsigned i = 0; i < 2; i++)
        pages[i].filled = false;
    cr_assert_eq(uffd_enter(&u, (void *)START, 3, UFFD_FILL, &done), -EOPNOTSUPP);
    cr_assert_eq(done, 2);
    cr_assert(pages[1].present && pages[1].protected && !pages[2].present && pages[2].waiting);
    uffd_fini(&u);
}

/* --- The operations without a count -------------------------------------- */

Test(uffd, registering_and_waking_give_the_errors_as_they_are)
{
    for (unsigned e = 0; e < NERRORS; e++) {
        struct uffd u = kernel_init(&operations[0]);

        pages[3].registered = false;
        script(FORM_ERRNO, errors[e], 1, 2);
        cr_assert_eq(uffd_register(&u, (void *)START, 8), -errors[e]);
        cr_assert_eq(uffd_wake(&u, (void *)START, 8), -errors[e]);
        cr_assert(!pages[3].registered && pages[3].waiting);
        cr_assert_eq(uffd_register(&u, (void *)START, 8), 0);
        cr_assert_eq(uffd_wake(&u, (void *)START, 4), 0);
        cr_assert(pages[3].registered && !pages[3].waiting && pages[4].waiting);
        cr_assert_eq(calls, 4);
        uffd_fini(&u);
    }
}

/* What adjusting a page that is there needs, WRITEPROTECT and WAKE, fails the run with it. */
Test(uffd, an_error_while_a_page_that_is_there_is_adjusted_ends_the_run)
{
    static const unsigned long requests[] = { UFFDIO_WRITEPROTECT, UFFDIO_WAKE };

    for (unsigned r = 0; r < 2; r++) {
        for (unsigned e = 1; e < NERRORS; e++) {
            const struct operation *op = &operations[11];
            struct uffd u = kernel_init(op);
            unsigned done = 12345;

            snprintf(where, sizeof(where), "request %u, %s", r, strerrorname_np(errors[e]));
            script(FORM_ERRNO, errors[e], 1, EVER);
            script_request = requests[r];
            CHECK(uffd_enter(&u, (void *)START, 3, op->how, &done) == -errors[e], "%u", done);
            CHECK(done == 0 && pages[0].waiting && calls <= 3, "%u done, %u calls", done, calls);
            uffd_fini(&u);
        }
    }
}

Test(uffd, protecting_waits_for_eagain_and_gives_other_errors_as_they_are)
{
    for (unsigned e = 0; e < NERRORS; e++) {
        struct uffd u = kernel_init(&operations[10]);
        int error;

        for (unsigned i = 0; i < PAGES; i++)
            pages[i].protected = false;
        script(FORM_ERRNO, errors[e], 1, 3);
        error = uffd_protect(&u, (void *)START, 9);
        if (errors[e] == EAGAIN || errors[e] == ENOENT)
            cr_assert_eq(error, 0);
        else
            cr_assert_eq(error, -errors[e]);
        for (unsigned i = 0; errors[e] == EAGAIN && i < 9; i++)
            cr_assert(pages[i].protected && pages[i].waiting);
        uffd_fini(&u);
    }
}

Test(uffd, protecting_gives_up_eagain_that_does_not_end)
{
    struct uffd u = kernel_init(&operations[10]);

    script(FORM_ERRNO, EAGAIN, 1, EVER);
    cr_assert_eq(uffd_protect(&u, (void *)START, 9), -EAGAIN);
    uffd_fini(&u);
}

Test(uffd, protecting_passes_over_what_is_not_registered)
{
    for (unsigned gap = 0; gap < 13; gap++) {
        struct uffd u = kernel_init(&operations[10]);

        pages[gap].registered = false;
        cr_assert_eq(uffd_protect(&u, (void *)START, 13), 0);
        for (unsigned i = 0; i < 13; i++)
            cr_assert(pages[i].protected || i == gap, "gap %u, page %u", gap, i);
        cr_assert_lt(calls, 60);
        uffd_fini(&u);
    }
}
