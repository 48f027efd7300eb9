/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a device asks of the machine as a whole: that it ends.
 */
#ifndef POWER_H
#define POWER_H

enum power_request {
    POWER_OFF,   /* the guest switched itself off */
    POWER_RESET, /* the guest wants to be started anew */
    POWER_EXIT,  /* the guest ends with `status` */
    POWER_SLEEP  /* the guest wants a sleep state that the machine does not have: `status` */
};

/* Called under the device's locks, from a vCPU's thread. */
struct power {
    void (*request)(void *context, enum power_request request, unsigned status, const char *by);
    void *context; /* borrowed */
};

#endif
