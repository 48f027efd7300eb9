/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Systematic failures: a scenario is run again and again, and each time another of the
 * calls that can fail does, until a run comes to its end without.
 *
 *     scenario = setup, then steps; a step is an operation on a world (world.h) that
 *                succeeds, or fails and is tried again
 *     kind     = a sort of failure; "the n-th of kind k": each n from 1 on is a run
 *
 * After a step that failed: its error is that of the failure, nothing but an injected
 * failure made it fail, the engine audit passes, and memory holds what the model says.
 * At the end of a run every step has succeeded, memory and file hold what the model says,
 * every allocation was freed and every descriptor closed.  In a second round pairs of
 * failures are run: the second one meets the recovery from the first, or the next try.
 *
 * Some kinds are no calls but a want that lasts until a step failed: n - 1 slots of swap
 * are left, or n - 1 pages of memory, with swap or without.
 */
#ifndef INJECTION_H
#define INJECTION_H

#include "tests/unit/world.h"

typedef bool (*injection_step)(struct world *w);

struct scenario {
    const char *name;
    void (*setup)(struct world *w); /* succeeds always */
    const injection_step *steps;
    unsigned nsteps;
};

/* Run the scenario with every failure.  Aborts the test, naming the run, when something is wrong. */
void injection_run(const struct scenario *scenario);

#define SCENARIO(title, scenario_setup, ...)                   \
    Test(injection, title, .timeout = 600)                     \
    {                                                          \
        static const injection_step steps[] = { __VA_ARGS__ }; \
        static const struct scenario scenario = {              \
            .name = #title,                                    \
            .setup = scenario_setup,                           \
            .steps = steps,                                    \
            .nsteps = sizeof(steps) / sizeof(steps[0]),        \
        };                                                     \
        injection_run(&scenario);                              \
    }

#endif
