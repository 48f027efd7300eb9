/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of a VM share with each other, and with what stands above it and is part of
 * the VM all the same (the guest's calls): struct vm_host and struct vm.
 *
 * Letters beside fields: (c) constant after vm_create, (a) atomic, `end` vm->end_lock, innermost,
 * `trace` host->trace_lock.
 */
#ifndef VM_INTERNAL_H
#define VM_INTERNAL_H

#include "vmm/device/bus.h"
#include "vmm/device/console.h"
#include "vmm/trace/trace_writer.h"
#include "vmm/vm/file_map.h"
#include "vmm/vm/pageout_thread.h"
#include "vmm/vm/pc.h"
#include "vmm/vm/sandbox.h"
#include "vmm/vm/vcpu.h"
#include "vmm/vm/vm.h"
#include "vmm/vm/vm_balloon.h"
#include "vmm/vm/vm_disk.h"
#include "vmm/vm/vm_host.h"
#include "vmm/vm/vm_kernel_events.h"
#include "vmm/vpagetable/vm_fault_trace.h"
#include "vmm/vpagetable/vm_pageout.h"

/* A VM's trace (vm_trace.h). */
struct vm_trace {
    struct trace *writer;       /* (c) owned; NULL = the VM has none */
    struct vm_fault_trace hook; /* (c) */
    _Atomic bool on;            /* (a) */
    _Atomic bool entry_told;    /* (a) where the guest's SYSCALL goes is recorded */
    struct vm_kernel_events kernel;
    LIST_ENTRY(vm_trace) link; /* trace: while it is on */
};
LIST_HEAD(vm_trace_list, vm_trace);

struct vm_host {
    struct vm_host_config config;          /* (c) */
    struct failure sandbox_failure;        /* (c) why there is no sandbox */
    struct kvm_host kvm;                   /* (c) owned */
    struct swap_device *swap;              /* (c) owned; NULL = none */
    struct vm_system sys;                  /* owned */
    struct pageout_thread pageout;         /* (c) owned */
    struct vm_mutex trace_lock;            /* trace, innermost */
    struct vm_trace_list traces;           /* trace: that are told of page-out */
    struct vm_pageout_trace pageout_trace; /* (c) */
    _Atomic unsigned nvms;                 /* (a) */
    _Atomic unsigned quiet;       /* (a) VMs that told what they lose and are about to go */
    _Atomic(const char *) warned; /* (a) borrowed: the last warning; NULL = none yet */
};

struct vm {
    struct vm_config config;    /* (c) */
    struct vm_host *host;       /* (c) borrowed */
    struct kvm_vm kvm;          /* (c) owned */
    struct kvm_pmap *kpmap;     /* (c) owned */
    struct pmap pmap;           /* owned */
    struct vm_map map;          /* owned */
    struct vm_object *ram;      /* (c) counted: all of RAM, mapped at GPA 0 */
    struct file_maps files;     /* (c) owned */
    struct vcpu *vcpus;         /* (c) owned, config.machine.nvcpus */
    struct bus bus;             /* owned */
    struct pc *pc;              /* (c) owned; NULL = the machine is no PC */
    struct vm_disks *disks;     /* (c) owned; NULL = none */
    struct vm_balloon *balloon; /* (c) owned; NULL = none */
    struct console console;     /* owned */
    void *guest;                /* (c) what config.guest made */
    struct vm_trace trace;
    struct vcpu_vm shared; /* what the vCPUs see; its service is owned, while vm_run runs */

    bool lost_told; /* vm_run's: it is known that pages of a file are lost; counts in host->quiet */

    int ended_fd;              /* (c) owned: eventfd, readable when the VM has ended */
    int rested_fd;             /* (c) owned: eventfd, readable when the vCPUs have come to rest */
    _Atomic unsigned nparked;  /* (a) vCPUs that halted or wait for others for ever */
    struct vm_mutex end_lock;  /* end */
    struct vm_outcome outcome; /* end */

    uint64_t started_ns;        /* (c) when vm_create began */
    uint64_t create_ns;         /* (c) */
    uint64_t run_started_ns;    /* vm_run's; 0 = not running */
    uint64_t run_ns;            /* vm_run's */
    struct fault_report faults; /* vm_run's */
};

/*
 * Tell a configuration's `warn`, if there is one: `message`, and behind it what the negative errno
 * `error` stands for, unless that is 0.  Any thread.
 */
void vm_warn_line(void (*warn)(void *context, const char *message), void *context,
                  const char *message, int error);

/*
 * Write what the guest says to the console, waiting as long as it takes or until the VM ends;
 * a failure ends the VM.  A vCPU's thread, no locks held.
 */
void vm_console_write(struct vm *vm, const void *bytes, size_t size);

/* The same for who writes byte by byte: a line at a time, or what came within a moment. */
void vm_console_collect(struct vm *vm, const void *bytes, size_t size);

/* Write what is collected, waiting at most so long for a reader.  Any thread, no locks held. */
void vm_console_flush(struct vm *vm, int wait_ms);

/*
 * A vCPU waits for what only another one can do, with no time-out, and for HLT's end, which never
 * comes; or it does no more.  Before a waker could itself park it counts the vCPU that it wakes out.
 * vm_park returns whether all vCPUs are parked now: then vm_end_parked ends the VM, whose last vCPU
 * that was; by its thread, without locks.
 */
bool vm_park(struct vm *vm) __attribute__((warn_unused_result));
void vm_unpark(struct vm *vm);
void vm_end_parked(struct vm *vm, unsigned cpu);

/* Does the VM end, or is it to pause?  A call that takes long returns to the guest then. */
bool vm_is_stopping(struct vm *vm);

/* Confine the calling thread if that is wanted; a failure ends the VM. */
void vm_confine(struct vm *vm, enum sandbox_thread kind);

/* How many exceptions all vCPUs were given because of faults.  Any thread. */
uint64_t vm_exceptions(struct vm *vm);

#endif
