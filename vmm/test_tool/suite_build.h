/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One test while its section's keys are read.  What the keys' files share.
 */
#ifndef SUITE_BUILD_H
#define SUITE_BUILD_H

#include "vmm/test_tool/suite.h"
#include "vmm/test_tool/suite_text.h"

struct suite_build {
    struct arena *arena; /* borrowed: the suite's */
    const char *file;    /* the configuration, as messages call it */
    const char *folder;  /* ... and where it is, absolute */
    const char *images;  /* where images are, absolute */
    bool foreign;        /* kvm-unit-tests' own configuration: its machines' defaults */
    const struct suite_section *section;
    const struct suite_pair *pair; /* the key that is being read */
    struct suite_test *test;       /* it */
    size_t noptions;
    size_t room; /* for options */
};

/* Fills *failure as "FILE:LINE: KEY: ..." and returns -EINVAL. */
int suite_build_fail(const struct suite_build *build, struct failure *failure, const char *format,
                     ...) __attribute__((format(printf, 3, 4)));

/* Add a word to vkvm run's options.  NULL is nothing: the arena knows that there was no memory. */
void suite_build_option(struct suite_build *build, const char *word);

/* "here/name", or the name if it is absolute. */
const char *suite_build_path(const struct suite_build *build, const char *here, const char *name);

/* Read a value of suite_build's key: a number of processors, 1 to 64. */
int suite_build_cpus(struct suite_build *build, const char *value, struct failure *failure)
    __attribute__((warn_unused_result));

/* Read build->pair's value as options of QEMU's: suite_qemu.c. */
int suite_qemu_options(struct suite_build *build, struct failure *failure)
    __attribute__((warn_unused_result));

/* Read the keys of build->section into build->test: suite_keys.c. */
int suite_keys_read(struct suite_build *build, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
