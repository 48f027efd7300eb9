/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One expectation, understood: a comparison of sums of figures.
 *
 *   comparison  sum relation sum               relation  == != < <= > >=
 *   sum         term { (+|-) term }
 *   term        factor { * factor }
 *   factor      NUMBER | FIGURE | FIGURE(TEST) | floor
 *
 * FIGURE is as in expect_figures.h; TEST is another test of the run, in the same suite unless it is written
 * SUITE/TEST; floor is what expect_floor.h measures.  Counts are compared with counts, times with
 * times: what is 50 us on one host is 20 us on another, so a time is compared with a time of the same
 * run, times a number.
 */
#ifndef EXPECT_PARSE_H
#define EXPECT_PARSE_H

#include "vmm/base/failure.h"
#include "vmm/test_tool/expect_figures.h"

#define EXPECT_TERMS_MAX 32

enum expect_kind {
    EXPECT_NUMBER,
    EXPECT_FIGURE,
    EXPECT_FLOOR
};

struct expect_factor {
    enum expect_kind kind;
    char sign;  /* '+' or '-': begins a term; '*': goes on with it */
    bool right; /* of the relation */
    double number;
    size_t figure;
    const char *test; /* NULL = the test's own; else a part of the text, ... */
    size_t length;    /* ... of this length */
};

enum expect_relation {
    EXPECT_EQUAL,
    EXPECT_UNEQUAL,
    EXPECT_LESS,
    EXPECT_AT_MOST,
    EXPECT_MORE,
    EXPECT_AT_LEAST
};

struct expectation {
    enum expect_relation relation;
    bool time; /* both sides are */
    size_t nfactors;
    struct expect_factor factors[EXPECT_TERMS_MAX];
};

/*
 * Understand `text`, which must stay.
 * Returns 0; with *failure filled, without a place: -EINVAL (it is no such comparison, and where), -ENOENT
 * (no such figure).
 */
int expect_parse(const char *text, struct expectation *expectation, struct failure *failure)
    __attribute__((warn_unused_result));

/* "==", ... */
const char *expect_relation_text(enum expect_relation relation);

/* Does the relation hold? */
bool expect_holds(enum expect_relation relation, double left, double right);

#endif
