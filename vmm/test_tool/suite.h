/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A suite: the tests that a configuration file describes (docs/suites.md).
 *
 * The format is kvm-unit-tests' unittests.cfg with keys of ours.  A suite is read whole and checked
 * whole before anything runs; what is wrong with it is said as FILE:LINE: cause: remedy.
 */
#ifndef SUITE_H
#define SUITE_H

#include "vmm/base/failure.h"

#include <stdbool.h>
#include <stddef.h>

struct arena;

/* The longest full name of a test. */
#define SUITE_NAME_MAX 200

/* A value that is checked later, and where it stands. */
struct suite_text {
    const char *text;
    unsigned line;
};

struct suite_check {
    const char *file;
    const char *value;
};

/* All strings and arrays are the suite's. */
struct suite_test {
    const char *name;  /* SUITE/TEST: unique among all tests of a run */
    const char *file;  /* the configuration, as it was named */
    unsigned line;     /* of the section */
    const char *image; /* path; or of a program that runs by itself, without vkvm */
    bool program;
    char **options;        /* of vkvm run; NULL at the end */
    const char *arguments; /* the guest's, as they stand: may hold `commands`; "" = none */
    char **groups;         /* NULL at the end */
    const char *arch;      /* here and below: NULL = not said */
    const char *machine;
    const char *accel;
    const char *kernel;      /* comparisons: kernel_version.h */
    const char *disabled_if; /* a condition of the shell's */
    const char *setup;       /* a command of the shell's, in the test's directory before each run */
    const char *refused;     /* why vkvm cannot run it: FILE:LINE: cause */
    size_t nchecks;
    struct suite_check *checks;
    unsigned timeout_ms; /* 0 = not said */
    int exit_status;    /* what vkvm run must end with; -1 = a pass by the image's own convention */
    const char *output; /* extended regular expression that a line of the console must match */
    size_t nexpectations;
    struct suite_text *expectations; /* one comparison each: "cow_faults == 512" */
    const char *golden;              /* path of the golden trace */
    unsigned golden_line;
};

struct suite {
    const char *name;
    const char *file;
    size_t ntests;
    struct suite_test *tests; /* in the file's order, variants in the order of their words */
    struct arena *arena;      /* owned: everything above */
};

/* Where a suite's files are. */
struct suite_places {
    const char *images; /* instead of the configuration's folder; NULL = there */
};

/* All suites of a run. */
struct suites {
    size_t nsuites;
    struct suite **suites;
};

/*
 * Read a configuration file, or all *.cfg of a directory by their names' order, and add it to *suites.
 * Returns 0; with *failure filled and *suites as it was: -EINVAL (what stands in it, FILE:LINE), -ENOENT
 * (no such file, no *.cfg in the directory), -EEXIST (two tests of one name),
 * -ENOMEM, or what open and read said.
 */
int suites_add(struct suites *suites, const char *path, const struct suite_places *places,
               struct failure *failure) __attribute__((warn_unused_result));

void suites_fini(struct suites *suites);

/* The test of this full name, or NULL. */
const struct suite_test *suites_find(const struct suites *suites, const char *name);

#endif
