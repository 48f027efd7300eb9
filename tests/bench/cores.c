/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How far apart are two processors?  A fault thread that spins and a vCPU hand each other
 * cache lines, so this decides what their faults cost; on a virtual machine it changes
 * whenever the host puts its processors elsewhere.
 */
#include "tests/bench/bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define ROUND_TRIPS 20000u

static _Atomic unsigned ball;

static void
pin_to(int processor)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        bench_fail("cores", "sched_setaffinity");
}

static void
wait_for(unsigned value)
{
    while (atomic_load_explicit(&ball, memory_order_acquire) != value)
        ;
}

static void *
throw_back(void *argument)
{
    pin_to(*(const int *)argument);
    for (unsigned i = 0; i < ROUND_TRIPS; i++) {
        wait_for(2 * i + 1);
        atomic_store_explicit(&ball, 2 * i + 2, memory_order_release);
    }
    return NULL;
}

static double
throw_ns(int there)
{
    pthread_t thread;
    double start;

    atomic_store(&ball, 0);
    if (pthread_create(&thread, NULL, throw_back, &there) != 0)
        bench_fail("cores", "pthread_create");
    atomic_store(&ball, 1); /* the first round trip waits for the thread to run */
    wait_for(2);
    start = bench_now_ns();
    for (unsigned i = 1; i < ROUND_TRIPS; i++) {
        atomic_store_explicit(&ball, 2 * i + 1, memory_order_release);
        wait_for(2 * i + 2);
    }
    start = bench_now_ns() - start;
    pthread_join(thread, NULL);
    return start / (ROUND_TRIPS - 1);
}

double
bench_measure_cores(const struct bench_row *row)
{
    int processors[2], n = 0;
    cpu_set_t allowed;
    double ns;

    (void)row;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        bench_fail("cores", "sched_getaffinity");
    for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
        if (CPU_ISSET(i, &allowed))
            processors[n++] = i;
    if (n < 2)
        return BENCH_NONE;
    pin_to(processors[0]);
    ns = throw_ns(processors[1]);
    if (sched_setaffinity(0, sizeof(allowed), &allowed) != 0)
        bench_fail("cores", "sched_setaffinity");
    return ns;
}
