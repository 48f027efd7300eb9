/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What KVM_RUN came back with: exits and errors, and the faults the guest must handle among them.
 * Internal to vcpu.c; all of it runs in the vCPU's thread.
 */
#ifndef VCPU_EXIT_H
#define VCPU_EXIT_H

#include "vmm/vm/vcpu.h"

/* End the VM, with where the vCPU is behind the reason. */
void vcpu_end(struct vcpu *vcpu, enum vcpu_end_cause cause, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A check was asked for (vcpu_request_check): end the VM where there is no progress. */
void vcpu_check_progress(struct vcpu *vcpu);

/* KVM_RUN returned 0: do what the guest wants, or end the VM. */
void vcpu_handle_exit(struct vcpu *vcpu);

/*
 * KVM_RUN failed with that errno, positive: hand the guest its fault, have KVM_RUN tried again, or
 * end the VM.  May sleep for a moment, until a kick.
 */
void vcpu_handle_error(struct vcpu *vcpu, int error);

#endif
