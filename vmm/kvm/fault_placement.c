/* SPDX-License-Identifier: BSD-2-Clause */
/* See fault_placement.h. */
#include "vmm/kvm/fault_placement.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A fault thread that spins serves this many vCPUs. */
#define VCPUS_PER_THREAD 4u

/* A thread feeds the tuner after so many messages: it has a lock. */
#define FEED_AFTER 16u

/* Of /proc/PID/stat, counted from the state as 3: the processor it last ran on. */
#define STAT_PROCESSOR 39

/* Entries of the delay line.  Each costs a fault some 20 ns; docs/hosts.md has what others gave. */
static const unsigned line_lengths[FAULT_WAYS] = {
    [FAULT_WAY_SHORT_LINE] = 64,
    [FAULT_WAY_LINE] = 192,
};

static bool
way_spins(enum fault_way way)
{
    return way >= FAULT_WAY_SPIN;
}

/* --- What there is to choose from ---------------------------------------- */

unsigned
fault_placement_cores(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* Threads that block: one for each vCPU, as many as can run at most. */
static unsigned
blocking_threads(const struct fault_service_config *config, unsigned cores)
{
    if (config->nthreads != 0)
        return config->nthreads;
    return config->nvcpus < cores ? config->nvcpus : cores;
}

static unsigned
spinning_threads(const struct fault_service_config *config)
{
    if (config->nthreads != 0)
        return config->nthreads;
    return (config->nvcpus + VCPUS_PER_THREAD - 1) / VCPUS_PER_THREAD;
}

/* Sharing a core needs a thread for each vCPU; spinning takes one that no vCPU needs. */
static unsigned
ways_here(const struct fault_service_config *config, unsigned cores, uint64_t look_ns)
{
    unsigned ways = FAULT_WAY_BIT(FAULT_WAY_BLOCK);

    if (cores > 1 && blocking_threads(config, cores) >= config->nvcpus)
        ways |= FAULT_WAY_BIT(FAULT_WAY_SAME);
    if (cores > config->nvcpus && look_ns <= FAULT_LATE_NS)
        ways |= FAULT_WAY_BIT(FAULT_WAY_SPIN) | FAULT_WAY_BIT(FAULT_WAY_SHORT_LINE) |
                FAULT_WAY_BIT(FAULT_WAY_LINE);
    return ways;
}

unsigned
fault_placement_ways(const struct fault_service_config *config, unsigned cores, uint64_t look_ns)
{
    switch (config->placement) {
    case FAULT_PLACE_SPIN:
        return FAULT_WAY_BIT(FAULT_WAY_LINE);
    case FAULT_PLACE_SPIN_SHORT:
        return FAULT_WAY_BIT(FAULT_WAY_SHORT_LINE);
    case FAULT_PLACE_SPIN_BARE:
        return FAULT_WAY_BIT(FAULT_WAY_SPIN);
    case FAULT_PLACE_SAME_CORE:
        return FAULT_WAY_BIT(FAULT_WAY_SAME);
    case FAULT_PLACE_BLOCK:
        return FAULT_WAY_BIT(FAULT_WAY_BLOCK);
    case FAULT_PLACE_AUTO:
        break;
    }
    return ways_here(config, cores, look_ns);
}

/* --- The way in use ------------------------------------------------------ */

/* Make the delay line of the tuner's way, or find another way. */
static void
placing_change(struct fault_placing *placing) VM_REQUIRES(placing->lock)
{
    bool again = true;

    while (again) {
        enum fault_way way = placing->tuner.way;
        unsigned length = line_lengths[way];

        again = false;
        if (placing->delay.length != length) {
            delay_line_fini(&placing->delay);
            delay_line_init(&placing->delay, placing->uffd, length);
            if (placing->delay.length < length && placing->tunes)
                again = fault_tuner_refuse(&placing->tuner, way);
        }
    }
    atomic_store(&placing->way, placing->tuner.way);
    vm_cond_broadcast(&placing->changed);
}

/* A way cannot be used. */
static void
placing_refuse(struct fault_placing *placing, enum fault_way way)
{
    if (!placing->tunes)
        return;
    vm_mutex_lock(&placing->lock);
    if ((placing->tuner.candidates & FAULT_WAY_BIT(way)) != 0 &&
        fault_tuner_refuse(&placing->tuner, way))
        placing_change(placing);
    vm_mutex_unlock(&placing->lock);
}

void
fault_placing_init(struct fault_placing *placing, const struct fault_service_config *config,
                   unsigned cores)
{
    unsigned ways = fault_placement_ways(config, cores, fault_reader_look_ns(config->kvm->uffd));
    enum fault_way first = (enum fault_way)__builtin_ctz(ways);
    unsigned nspin = spinning_threads(config);

    *placing = (struct fault_placing){ .uffd = config->kvm->uffd,
                                       .tunes = (ways & (ways - 1)) != 0,
                                       .nspin = nspin };
    placing->nthreads = way_spins(first) ? nspin : blocking_threads(config, cores);
    placing->delay.epoll_fd = -1;
    vm_mutex_init(&placing->lock);
    vm_cond_init(&placing->changed);
    fault_tuner_init(&placing->tuner, ways, first);
    vm_mutex_lock(&placing->lock);
    placing_change(placing);
    vm_mutex_unlock(&placing->lock);
}

void
fault_placing_fini(struct fault_placing *placing)
{
    delay_line_fini(&placing->delay);
    vm_cond_fini(&placing->changed);
    vm_mutex_fini(&placing->lock);
}

unsigned
fault_placing_nserving(const struct fault_placing *placing)
{
    bool spins = way_spins((enum fault_way)atomic_load(&placing->way));

    return spins && placing->nspin < placing->nthreads ? placing->nspin : placing->nthreads;
}

void
fault_placing_wake(struct fault_placing *placing)
{
    vm_mutex_lock(&placing->lock);
    vm_cond_broadcast(&placing->changed);
    vm_mutex_unlock(&placing->lock);
}

void
fault_placing_report(struct fault_placing *placing, struct fault_report *report)
{
    const struct fault_tuner *tuner = &placing->tuner;

    vm_mutex_lock(&placing->lock);
    report->tuned = placing->tunes;
    report->looking = tuner->looking;
    report->looks = tuner->looks;
    report->way = tuner->looking ? tuner->chosen : tuner->way;
    memcpy(report->way_ns, tuner->figure, sizeof(report->way_ns));
    vm_mutex_unlock(&placing->lock);
}

/* --- A thread's seat ----------------------------------------------------- */

void
fault_seat_init(struct fault_seat *seat, struct fault_placing *placing, unsigned index,
                const _Atomic bool *ending)
{
    *seat = (struct fault_seat){
        .placing = placing, .index = index, .ending = ending, .way = FAULT_WAY_BLOCK
    };
}

/* The processor that a thread of this process last ran on, or -1. */
static int
processor_of(pid_t thread)
{
    char path[64], text[1024];
    char *at;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)thread);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return -1;
    text[n] = '\0';
    at = strrchr(text, ')'); /* ends the name, which may have anything in it */
    for (unsigned field = 2; at != NULL && field < STAT_PROCESSOR; field++)
        at = strchr(at + 1, ' ');
    return at != NULL ? (int)strtol(at, NULL, 10) : -1;
}

/* The core for thread and vCPU of that number: where a single vCPU is, each in turn for several. */
static int
seat_core(const struct fault_seat *seat, pid_t vcpu)
{
    unsigned skip = seat->index % (unsigned)CPU_COUNT(&seat->free);

    if (seat->placing->nthreads == 1)
        return processor_of(vcpu);
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (CPU_ISSET(core, &seat->free) && skip-- == 0)
            return core;
    }
    return -1;
}

static void
seat_free(struct fault_seat *seat, struct fault_reader *reader)
{
    reader->idle_ms = -1;
    reader->idle = false;
    seat->busy = false;
    if (seat->bound == 0)
        return;
    (void)sched_setaffinity(seat->bound, sizeof(seat->free), &seat->free);
    (void)sched_setaffinity(0, sizeof(seat->free), &seat->free);
    seat->bound = 0;
}

static void
seat_bind(struct fault_seat *seat, struct fault_reader *reader, pid_t vcpu)
{
    cpu_set_t set;
    int core;

    if (sched_getaffinity(vcpu, sizeof(seat->free), &seat->free) != 0)
        return; /* it has ended */
    core = seat_core(seat, vcpu);
    if (core < 0 || core >= CPU_SETSIZE) {
        placing_refuse(seat->placing, FAULT_WAY_SAME);
        return;
    }
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    seat->bound = vcpu;
    reader->idle_ms = FAULT_IDLE_MS;
    if (sched_setaffinity(0, sizeof(set), &set) == 0 &&
        sched_setaffinity(vcpu, sizeof(set), &set) == 0)
        return;
    seat_free(seat, reader);
    placing_refuse(seat->placing, FAULT_WAY_SAME);
}

static bool
seat_is_surplus(const struct fault_seat *seat)
{
    return way_spins(seat->way) && seat->index >= seat->placing->nspin;
}

/* Sleep while there is no seat for the thread. */
static void
seat_wait(struct fault_seat *seat)
{
    struct fault_placing *placing = seat->placing;

    vm_mutex_lock(&placing->lock);
    while (atomic_load(&placing->way) == (unsigned)seat->way && !atomic_load(seat->ending))
        vm_cond_wait(&placing->changed, &placing->lock);
    vm_mutex_unlock(&placing->lock);
}

void
fault_seat_leave(struct fault_seat *seat, struct fault_reader *reader)
{
    seat_free(seat, reader);
    seat->pace = (struct fault_pace){ 0 };
}

void
fault_seat_take(struct fault_seat *seat, struct fault_reader *reader, pid_t vcpu)
{
    struct fault_placing *placing = seat->placing;

    while (atomic_load(&placing->way) != (unsigned)seat->way && !atomic_load(seat->ending)) {
        fault_seat_leave(seat, reader);
        seat->way = (enum fault_way)atomic_load(&placing->way);
        reader->spin = way_spins(seat->way);
        if (seat_is_surplus(seat))
            seat_wait(seat);
    }
    if (reader->idle)
        seat_free(seat, reader);
    if (seat->way == FAULT_WAY_SAME && seat->busy && seat->bound == 0 && vcpu != 0)
        seat_bind(seat, reader, vcpu);
}

void
fault_seat_served(struct fault_seat *seat, uint64_t ns)
{
    struct fault_placing *placing = seat->placing;

    fault_pace_add(&seat->pace, ns);
    if (seat->pace.count < FEED_AFTER)
        return;
    seat->busy = seat->pace.nlong * 4 <= seat->pace.count;
    if (placing->tunes) {
        vm_mutex_lock(&placing->lock);
        if ((unsigned)placing->tuner.way == (unsigned)seat->way &&
            fault_tuner_feed(&placing->tuner, &seat->pace))
            placing_change(placing);
        vm_mutex_unlock(&placing->lock);
    }
    seat->pace = (struct fault_pace){ 0 };
}
