/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the benchmark share: rows, groups, clocks.
 *
 * A group is one table.  Its rows are measured round after round, each once per
 * round, so that a drift of the machine hits all of them; printed are minimum, median
 * and maximum, or, in a group with columns, medians alone.  Nothing here judges: a
 * goal is printed beside its figure and missed or reached by the reader.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_MAX_ROUNDS 64
#define BENCH_MAX_ROWS 64

/* What a row gives where it cannot be measured here: it is left out. */
#define BENCH_NONE (-1.0)

struct bench_row {
    const char *name;
    double (*measure)(const struct bench_row *row); /* one figure, or BENCH_NONE */
    uint64_t a, b;                                  /* for `measure` */
};

/* A line below the table: the median of one row, over that of another if there is one. */
struct bench_ratio {
    const char *name;
    unsigned row;
    unsigned base; /* BENCH_NO_BASE: the figure itself */
    double goal;   /* at most; 0 = none */
};

#define BENCH_NO_BASE UINT32_MAX

struct bench_group {
    const char *name; /* how the command line selects it */
    const char *title;
    const struct bench_row *rows; /* with columns: line by line */
    unsigned nrows;
    const char *const *columns; /* the headings; NULL = minimum, median, maximum */
    unsigned ncolumns;
    const struct bench_ratio *ratios;
    unsigned nratios;
    unsigned nbases; /* a ratio is over the least of so many rows from its base on; 0 = of one */
    unsigned max_rounds; /* 0 = as many as were asked for */
};

extern const struct bench_group bench_touch_group;
extern const struct bench_group bench_huge_group;
extern const struct bench_group bench_fault_group;
extern const struct bench_group bench_rate_group;
extern const struct bench_group bench_engine_group;
extern const struct bench_group bench_threads_group;
extern const struct bench_group bench_walk_group;
extern const struct bench_group bench_copy_group;
extern const struct bench_group bench_pages_group;
extern const struct bench_group bench_entries_group;
extern const struct bench_group bench_chain_group;
extern const struct bench_group bench_memory_group;
extern const struct bench_group bench_pressure_group;
extern const struct bench_group bench_process_group;
extern const struct bench_group bench_fork_group;
extern const struct bench_group bench_trace_group;
extern const struct bench_group bench_placement_group;

/* Where vkvm and guest/NAME.elf are, for the rows that run them; NULL = they are left out. */
extern const char *bench_programs;

/* Print the reason and end the program. */
_Noreturn void bench_fail(const char *what, const char *why);

/* bench_fail with the reason of a negative errno, unless it is 0. */
void bench_check(int error, const char *what);

/* The time; and how long the calling thread had a processor, for what never sleeps. */
double bench_now_ns(void);
double bench_cpu_ns(void);

/* TSC cycles per nanosecond; measured once, at the start. */
double bench_cycles_per_ns(void);

/* cores.c: nanoseconds a cache line takes from the first allowed processor to the second and back. */
#define BENCH_CORES_NAME "(a cache line to the other processor and back, ns)"
double bench_measure_cores(const struct bench_row *row);

/* A number that looks random and is the same in every run; all i < 2^32 give different ones. */
static inline uint64_t
bench_scatter(uint64_t i)
{
    return (uint32_t)(i * 2654435761u);
}

#endif
