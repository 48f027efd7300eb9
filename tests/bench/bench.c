/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * make bench: the driver.  docs/performance.md says what each row means.
 *
 *     bench [-p DIRECTORY] [ROUNDS] [GROUP...]
 *
 * -p: where `make` put vkvm and the guest images, for the rows that run them.
 */
#include "tests/bench/bench.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define DEFAULT_ROUNDS 7

struct figures {
    unsigned count;
    double value[BENCH_MAX_ROUNDS];
};

static const struct bench_group *const groups[] = {
    &bench_touch_group,     &bench_huge_group,  &bench_fault_group,  &bench_rate_group,
    &bench_engine_group,    &bench_walk_group,  &bench_copy_group,   &bench_pages_group,
    &bench_entries_group,   &bench_chain_group, &bench_memory_group, &bench_pressure_group,
    &bench_process_group,   &bench_fork_group,  &bench_trace_group,  &bench_threads_group,
    &bench_placement_group,
};

#define NGROUPS (sizeof(groups) / sizeof(groups[0]))

const char *bench_programs;

static double cycles_per_ns;

void
bench_fail(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

void
bench_check(int error, const char *what)
{
    if (error != 0)
        bench_fail(what, strerror(-error));
}

static double
clock_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double
bench_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

double
bench_cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

double
bench_cycles_per_ns(void)
{
    return cycles_per_ns;
}

static void
calibrate(void)
{
    double start = bench_now_ns();
    uint64_t tsc = __rdtsc();

    while (bench_now_ns() - start < 50e6)
        ;
    cycles_per_ns = (double)(__rdtsc() - tsc) / (bench_now_ns() - start);
}

static void *
no_work(void *context)
{
    return context;
}

/* A process that has had a second thread locks in earnest, as a VM's does. */
static void
become_threaded(void)
{
    pthread_t thread;

    bench_check(-pthread_create(&thread, NULL, no_work, NULL), "starting a thread");
    pthread_join(thread, NULL);
}

/* --- Figures ------------------------------------------------------------- */

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts them. */
static double
figures_median(struct figures *f)
{
    if (f->count == 0)
        return BENCH_NONE;
    qsort(f->value, f->count, sizeof(f->value[0]), compare);
    return f->value[f->count / 2];
}

/* Each row once. */
static void
group_round(const struct bench_group *group, struct figures *figures)
{
    for (unsigned i = 0; i < group->nrows; i++) {
        double value = group->rows[i].measure(&group->rows[i]);

        if (value != BENCH_NONE)
            figures[i].value[figures[i].count++] = value;
    }
}

/* --- Printing ------------------------------------------------------------ */

static void
print_list(const struct bench_group *group, struct figures *figures)
{
    printf("%-58s %9s %9s %9s\n", group->title, "min", "median", "max");
    for (unsigned i = 0; i < group->nrows; i++) {
        struct figures *f = &figures[i];
        double median = figures_median(f);

        if (f->count != 0)
            printf("  %-56s %9.2f %9.2f %9.2f\n", group->rows[i].name, f->value[0], median,
                   f->value[f->count - 1]);
    }
}

static void
print_columns(const struct bench_group *group, struct figures *figures)
{
    printf("%-58s", group->title);
    for (unsigned i = 0; i < group->ncolumns; i++)
        printf(" %9s", group->columns[i]);
    for (unsigned i = 0; i < group->nrows; i++) {
        if (i % group->ncolumns == 0)
            printf("\n  %-56s", group->rows[i].name);
        printf(" %9.1f", figures_median(&figures[i]));
    }
    printf("\n");
}

/* What a ratio divides by, or BENCH_NONE. */
static double
ratio_base(const struct bench_group *group, const struct bench_ratio *ratio,
           struct figures *figures)
{
    double base;

    if (ratio->base == BENCH_NO_BASE)
        return 1;
    base = figures_median(&figures[ratio->base]);
    for (unsigned i = 1; i < group->nbases; i++) {
        double other = figures_median(&figures[ratio->base + i]);

        base = other < base ? other : base;
    }
    return base;
}

static void
print_ratios(const struct bench_group *group, struct figures *figures)
{
    for (unsigned i = 0; i < group->nratios; i++) {
        const struct bench_ratio *ratio = &group->ratios[i];
        double value = figures_median(&figures[ratio->row]);
        double base = ratio_base(group, ratio, figures);

        if (value == BENCH_NONE || base == BENCH_NONE)
            continue;
        printf("  = %-54s %9s %9.2f", ratio->name, "", value / base);
        if (ratio->goal != 0)
            printf(" goal <= %.2f", ratio->goal);
        printf("\n");
    }
}

static void
print_group(const struct bench_group *group, struct figures *figures)
{
    if (group->columns != NULL)
        print_columns(group, figures);
    else
        print_list(group, figures);
    print_ratios(group, figures);
    printf("\n");
    fflush(stdout);
}

/* --- Running ------------------------------------------------------------- */

static _Noreturn void
usage(void)
{
    fprintf(stderr,
            "usage: bench [-p DIRECTORY] [ROUNDS 1..%d] [GROUP...]\ngroups:", BENCH_MAX_ROUNDS);
    for (size_t i = 0; i < NGROUPS; i++)
        fprintf(stderr, " %s", groups[i]->name);
    fprintf(stderr, "\n");
    exit(2);
}

static bool
is_group(const char *name)
{
    for (size_t i = 0; i < NGROUPS; i++) {
        if (strcmp(groups[i]->name, name) == 0)
            return true;
    }
    return false;
}

/* Is the group among the names?  Without names all are. */
static bool
is_selected(const struct bench_group *group, char **names)
{
    if (*names == NULL)
        return true;
    while (*names != NULL && strcmp(*names, group->name) != 0)
        names++;
    return *names != NULL;
}

static void
run_group(const struct bench_group *group, unsigned rounds)
{
    static struct figures figures[BENCH_MAX_ROWS];

    if (group->max_rounds != 0 && rounds > group->max_rounds)
        rounds = group->max_rounds;
    memset(figures, 0, sizeof(figures));
    for (unsigned round = 0; round < rounds; round++)
        group_round(group, figures);
    print_group(group, figures);
}

int
main(int argc, char **argv)
{
    unsigned long rounds = DEFAULT_ROUNDS;
    int option;

    while ((option = getopt(argc, argv, "p:")) != -1) {
        if (option != 'p')
            usage();
        bench_programs = optarg;
    }
    argv += optind;
    if (*argv != NULL && !is_group(*argv)) {
        char *end;

        rounds = strtoul(*argv++, &end, 10);
        if (*end != '\0' || rounds == 0 || rounds > BENCH_MAX_ROUNDS)
            usage();
    }
    for (char **name = argv; *name != NULL; name++) {
        if (!is_group(*name))
            usage();
    }
    calibrate();
    become_threaded();
    for (size_t i = 0; i < NGROUPS; i++) {
        if (is_selected(groups[i], argv))
            run_group(groups[i], (unsigned)rounds);
    }
    return 0;
}
