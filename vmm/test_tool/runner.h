/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The runner: tests as children, several at a time, and everybody told of what comes of them.
 */
#ifndef RUNNER_H
#define RUNNER_H

#include "vmm/test_tool/select.h"
#include "vmm/test_tool/suite_report.h"

#define RUNNER_TIMEOUT_MS 90000u /* of a test that says nothing else, as in kvm-unit-tests */
#define RUNNER_JOBS_MAX 256u

struct runner_request {
    const char *vkvm; /* the program */
    const struct suites *suites;
    const struct selection *selection;
    struct reporter **reporters;
    size_t nreporters;
    unsigned jobs;
    unsigned timeout_ms; /* of each test, whatever it says; 0 = as it says */
    unsigned repeat;     /* 1 = once */
    unsigned retries;    /* of a test that did not pass */
    bool shuffle;
    uint64_t seed;
    bool fail_fast;
    bool bless;
    bool trace;          /* record every test, not only those that need it */
    const char *out;     /* NULL = keep nothing */
    const char *program; /* name and version, for reports */
};

/*
 * Run the selection.  SIGINT, SIGTERM and SIGHUP end the run early; the reporters have told of all that ended when
 * this returns.  They stay blocked then: a second one shall not end the process before its reports are closed.
 * Returns 0 with *totals; with *failure filled -errno: it could not be run, or a report could not be written.
 */
int runner_run(const struct runner_request *request, struct report_totals *totals,
               struct failure *failure) __attribute__((warn_unused_result));

#endif
