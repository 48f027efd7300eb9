/* SPDX-License-Identifier: BSD-2-Clause */
/* See the picture in fault_tuner.h. */
#include "vmm/kvm/fault_tuner.h"

#include <assert.h>
#include <stddef.h>

/* Slower than the best by more than so many per cent: out, after the first turn or a later one. */
#define FAR_BEHIND_FIRST 40u
#define FAR_BEHIND 20u

/* Another way than the one in use must be better by so many per cent. */
#define BETTER_BY 3u

/* The pace is another one: so many per cent more or less than what was settled. */
#define DRIFT 30u

/* Faults until a drift is followed: after a look that changed something, and after many that did
 * not; and faults after which there is a look in any case. */
#define PATIENCE_MIN 4096u
#define PATIENCE_MAX 65536u
#define LOOK_AGAIN 262144u

const char *
fault_way_name(enum fault_way way)
{
    static const char *const names[FAULT_WAYS] = {
        [FAULT_WAY_BLOCK] = "block",    [FAULT_WAY_SAME] = "same-core",
        [FAULT_WAY_SPIN] = "spin-bare", [FAULT_WAY_SHORT_LINE] = "spin-short",
        [FAULT_WAY_LINE] = "spin",
    };

    return names[way];
}

void
fault_pace_add(struct fault_pace *pace, uint64_t ns)
{
    bool is_long = ns >= FAULT_PACE_LONG;

    pace->ns += is_long ? FAULT_PACE_LONG : ns;
    pace->nlong += is_long;
    pace->count++;
}

/* Does the pace say what faults cost?  Not where the guest does something else every eighth time. */
static bool
pace_is_measured(const struct fault_pace *pace)
{
    return pace->nlong * 8 <= pace->count;
}

static bool
is_racing(const struct fault_tuner *tuner, unsigned way)
{
    return (tuner->racing & FAULT_WAY_BIT(way)) != 0;
}

/* The mean of the way's turns up to this round, without the slowest of several. */
static uint64_t
way_figure(const struct fault_tuner *tuner, unsigned way)
{
    uint64_t sum = 0, slowest = 0;
    unsigned n = tuner->round + 1;

    for (unsigned i = 0; i < n; i++) {
        uint64_t ns = tuner->turns[way][i];

        sum += ns;
        slowest = ns > slowest ? ns : slowest;
    }
    return n == 1 ? sum : (sum - slowest) / (n - 1);
}

/* The one in the race with the best figure; in a tie the one that costs the host least. */
static enum fault_way
best_way(const struct fault_tuner *tuner)
{
    unsigned best = FAULT_WAYS;

    for (unsigned way = 0; way < FAULT_WAYS; way++) {
        if (is_racing(tuner, way) &&
            (best == FAULT_WAYS ||
             tuner->figure[way] * 100 < tuner->figure[best] * (100 - (uint64_t)BETTER_BY)))
            best = way;
    }
    assert(best != FAULT_WAYS);
    return (enum fault_way)best;
}

/* Use a way from now on. */
static void
use_way(struct fault_tuner *tuner, enum fault_way way)
{
    tuner->way = way;
    tuner->pace = (struct fault_pace){ 0 };
    tuner->ignore = FAULT_TUNER_IGNORED;
    tuner->again = false;
}

/* The first one in the race after `way`; FAULT_WAYS: there is none. */
static unsigned
next_racing(const struct fault_tuner *tuner, unsigned way)
{
    while (way < FAULT_WAYS && !is_racing(tuner, way))
        way++;
    return way;
}

/* The look ends with this way. */
static void
settle(struct fault_tuner *tuner, enum fault_way way)
{
    bool same = way == tuner->chosen && tuner->looks != 0;

    tuner->chosen = way;
    tuner->looking = false;
    tuner->drifted = false;
    tuner->since = 0;
    tuner->settled = 0;
    if (!same)
        tuner->patience = PATIENCE_MIN;
    else if (tuner->patience < PATIENCE_MAX)
        tuner->patience *= 2;
    tuner->looks++;
    use_way(tuner, way);
}

static void
begin_look(struct fault_tuner *tuner)
{
    tuner->looking = true;
    tuner->racing = tuner->candidates;
    tuner->round = 0;
    tuner->paused = 0;
    use_way(tuner, (enum fault_way)next_racing(tuner, 0));
}

/* Each way in the race has had its turn: the next round without those that are far behind. */
static void
end_round(struct fault_tuner *tuner)
{
    uint64_t behind = 100 + (tuner->round == 0 ? FAR_BEHIND_FIRST : FAR_BEHIND);
    uint64_t best = UINT64_MAX;

    if ((tuner->racing & ~tuner->paused) == 0) { /* the guest does not wait for its faults */
        settle(tuner, tuner->chosen);
        return;
    }
    tuner->paused = 0;
    for (unsigned way = 0; way < FAULT_WAYS; way++) {
        if (!is_racing(tuner, way))
            continue;
        tuner->figure[way] = way_figure(tuner, way);
        best = tuner->figure[way] < best ? tuner->figure[way] : best;
    }
    for (unsigned way = 0; way < FAULT_WAYS; way++) {
        if (is_racing(tuner, way) && tuner->figure[way] * 100 > best * behind)
            tuner->racing &= ~FAULT_WAY_BIT(way);
    }
    if (++tuner->round == FAULT_TUNER_ROUNDS || (tuner->racing & (tuner->racing - 1)) == 0)
        settle(tuner, best_way(tuner));
    else
        use_way(tuner, (enum fault_way)next_racing(tuner, 0));
}

/* Does the turn take longer already than twice the best one of its round? */
static bool
turn_is_lost(const struct fault_tuner *tuner)
{
    uint64_t best = UINT64_MAX;

    for (unsigned way = 0; way < (unsigned)tuner->way; way++) {
        if (is_racing(tuner, way) && tuner->turns[way][tuner->round] < best)
            best = tuner->turns[way][tuner->round];
    }
    return best != UINT64_MAX && tuner->pace.ns > 2 * best * FAULT_TUNER_TURN;
}

static void
end_turn(struct fault_tuner *tuner, bool lost)
{
    unsigned next;

    if (!lost && !pace_is_measured(&tuner->pace)) {
        if (!tuner->again) {
            tuner->pace = (struct fault_pace){ 0 };
            tuner->again = true;
            return;
        }
        tuner->paused |= FAULT_WAY_BIT(tuner->way);
    }
    tuner->turns[tuner->way][tuner->round] = tuner->pace.ns / tuner->pace.count;
    next = next_racing(tuner, (unsigned)tuner->way + 1);
    if (next == FAULT_WAYS)
        end_round(tuner);
    else
        use_way(tuner, (enum fault_way)next);
}

/* Is the window's pace far from what was settled? */
static bool
window_drifted(const struct fault_tuner *tuner, uint64_t ns)
{
    return ns * 100 > tuner->settled * (100 + (uint64_t)DRIFT) ||
           ns * 100 < tuner->settled * (100 - (uint64_t)DRIFT);
}

static void
end_window(struct fault_tuner *tuner)
{
    uint64_t ns = tuner->pace.ns / tuner->pace.count;
    bool measured = pace_is_measured(&tuner->pace);
    bool drifted;

    tuner->pace = (struct fault_pace){ 0 };
    if (tuner->settled == 0) {
        tuner->settled = measured ? ns : tuner->figure[tuner->way];
        return;
    }
    drifted = !measured || window_drifted(tuner, ns);
    if ((drifted && tuner->drifted && tuner->since >= tuner->patience) ||
        tuner->since >= LOOK_AGAIN)
        begin_look(tuner);
    else
        tuner->drifted = drifted;
}

void
fault_tuner_init(struct fault_tuner *tuner, unsigned candidates, enum fault_way first)
{
    assert((candidates & FAULT_WAY_BIT(first)) != 0);
    *tuner = (struct fault_tuner){ .candidates = candidates, .way = first, .chosen = first };
    if ((candidates & (candidates - 1)) != 0)
        begin_look(tuner);
}

bool
fault_tuner_feed(struct fault_tuner *tuner, const struct fault_pace *pace)
{
    enum fault_way before = tuner->way;
    bool lost;

    if ((tuner->candidates & (tuner->candidates - 1)) == 0)
        return false;
    tuner->since += pace->count;
    if (tuner->ignore != 0) {
        tuner->ignore -= pace->count < tuner->ignore ? pace->count : tuner->ignore;
        return false;
    }
    tuner->pace.ns += pace->ns;
    tuner->pace.count += pace->count;
    tuner->pace.nlong += pace->nlong;
    lost = tuner->looking && turn_is_lost(tuner);
    if (lost || (tuner->looking && tuner->pace.count >= FAULT_TUNER_TURN))
        end_turn(tuner, lost);
    else if (!tuner->looking && tuner->pace.count >= FAULT_TUNER_WINDOW)
        end_window(tuner);
    return tuner->way != before;
}

bool
fault_tuner_refuse(struct fault_tuner *tuner, enum fault_way way)
{
    enum fault_way before = tuner->way;

    tuner->candidates &= ~FAULT_WAY_BIT(way);
    assert(tuner->candidates != 0);
    tuner->figure[way] = 0;
    if ((tuner->candidates & FAULT_WAY_BIT(tuner->chosen)) == 0)
        tuner->chosen = (enum fault_way)__builtin_ctz(tuner->candidates);
    if ((tuner->candidates & (tuner->candidates - 1)) == 0)
        settle(tuner, tuner->chosen);
    else if (before == way || tuner->looking)
        begin_look(tuner);
    return tuner->way != before;
}
