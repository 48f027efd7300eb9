/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One attempt at a test: its process, from the start to the verdict.
 *
 * Whatever the test does the attempt ends: vkvm run has a time-out of its own; what is not done
 * TRIAL_GRACE_MS later is asked to end, and ended after as long again.
 */
#ifndef TRIAL_H
#define TRIAL_H

#include "vmm/base/event_loop.h"
#include "vmm/test_tool/child.h"
#include "vmm/test_tool/places.h"
#include "vmm/test_tool/transcript.h"
#include "vmm/test_tool/verdict.h"

#include <stdbool.h>

#define TRIAL_GRACE_MS 5000u

struct trial;

/* The attempt is over: the process is gone, its result is filled.  May start another one with it. */
typedef void trial_done_fn(void *context, struct trial *trial);

struct trial_request {
    const struct suite_test *test;
    struct test_result *result; /* filled; has its name */
    unsigned number;            /* 0 = the first */
    char *const *argv;          /* borrowed until it is done */
    unsigned timeout_ms;
    bool keep; /* the console in a file */
};

struct trial {
    struct event_loop *loop; /* borrowed */
    trial_done_fn *done;
    void *context;
    struct trial_request request;
    struct place place; /* owned, until the next attempt or trial_fini */
    struct child child;
    struct transcript console;
    struct verdict_watch watch;
    struct event_source *output; /* NULL = none: its pipe is at its end */
    struct event_source *ended;
    struct event_source *timer;
    uint64_t start_ns;
    bool running;
    bool overdue;
    bool stopped; /* by trial_stop: there is no verdict */
};

/* For nothing yet; the request's files are made by trial_place. */
void trial_init(struct trial *trial, struct event_loop *loop, trial_done_fn *done, void *context);
void trial_fini(struct trial *trial);

/*
 * Make the folder of an attempt, before its words are known.  Returns 0, or -errno with *failure filled.
 */
int trial_place(struct trial *trial, const struct places *places, const char *name, unsigned number,
                struct failure *failure) __attribute__((warn_unused_result));

/*
 * Start it; `done` is called by the loop.  Returns 0, or -errno with *failure filled: it is not called.
 */
int trial_start(struct trial *trial, const struct trial_request *request, struct failure *failure)
    __attribute__((warn_unused_result));

/* End it early; at once if asked twice. */
void trial_stop(struct trial *trial);

#endif
