/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fault service on the machine of kvm_rig.h, and what it told: each test program has its own.
 */
#ifndef SERVICE_RIG_H
#define SERVICE_RIG_H

#include "tests/kvm/kvm_rig.h"

static _Atomic unsigned fatals;
static _Atomic unsigned suspects;
static _Atomic unsigned kicks;
static _Atomic unsigned stray_kicks; /* of a vCPU that there is not */
static unsigned service_nvcpus;
static _Atomic unsigned warnings;
static char fatal_message[256];
static bool foreign; /* the next service expects threads that are no vCPU's */
static char warning[256];

static inline void
on_fatal(void *context, const char *message)
{
    (void)context;
    snprintf(fatal_message, sizeof(fatal_message), "%s", message);
    printf("    fatal: %s\n", message);
    fatals++;
    machine_abort();
}

static inline void
on_suspect(void *context, unsigned vcpu, gpa_t gpa)
{
    (void)context;
    CHECK(vcpu == 0 && gpa_to_u64(gpa) == WINDOW_GPA);
    if (++suspects == 2)
        machine_abort();
}

static inline void
on_warning(void *context, const char *message, int error)
{
    (void)context;
    snprintf(warning, sizeof(warning), "%s: %s", message, strerror(-error));
    printf("    warning: %s\n", warning);
    warnings++;
}

static inline void
on_kick(void *context, unsigned vcpu)
{
    (void)context;
    kicks += vcpu == 0;
    stray_kicks += vcpu >= service_nvcpus;
}

static inline int
service_start(unsigned nvcpus, unsigned nthreads, enum fault_placement placement,
              struct fault_service **service)
{
    struct fault_service_config config = {
        .kvm = &m.kvm,
        .map = &m.map,
        .kpmap = m.kp,
        .nvcpus = nvcpus,
        .nthreads = nthreads,
        .placement = placement,
        .foreign = foreign,
        .fatal = on_fatal,
        .suspect = on_suspect,
        .warn = on_warning,
        .kick = on_kick,
    };

    fatals = suspects = warnings = kicks = stray_kicks = 0;
    service_nvcpus = nvcpus;
    fatal_message[0] = '\0';
    return fault_service_start(&config, service);
}

static inline struct fault_service *
service_open(unsigned nvcpus, unsigned nthreads, enum fault_placement placement)
{
    struct fault_service *service;

    MUST(service_start(nvcpus, nthreads, placement, &service) == 0);
    return service;
}

/* A map entry on an object, whose reference passes to it, where the test window would be. */
static inline void
add_entry_of(struct vm_object *object, enum vm_maptype maptype, vpte_t root)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(WINDOW_GPA),
        .end = gpa_from_u64(WINDOW_GPA + WINDOW_PAGES * PAGE_SIZE),
        .object = object,
        .maptype = maptype,
        .format = maptype == VM_MAPTYPE_VPAGETABLE ? &vpte64_format : NULL,
        .root = root,
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };
    MUST(vm_map_insert(&m.map, &args) == 0);
}

static inline void
add_entry(enum vm_maptype maptype, vpte_t root)
{
    struct vm_object *object;

    MUST(vm_object_create_default(&m.sys, WINDOW_PAGES, &object) == 0);
    add_entry_of(object, maptype, root);
}

#endif
