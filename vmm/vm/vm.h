/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One virtual machine: its map, vCPUs and threads, from configuration to report.  What it shares
 * with the other VMs of the process is the host's (vm_host.h).
 *
 *     vm_create -> (image and device tree are loaded) -> vm_set_start -> vm_run -> vm_report_get
 *     -> vm_destroy
 */
#ifndef VM_H
#define VM_H

#include "vmm/device/bus.h"
#include "vmm/kvm/fault_service.h"
#include "vmm/vm/machine.h"
#include "vmm/vm/vcpu_gate.h"
#include "vmm/vpagetable/vm_fault.h"
#include "vmm/vpagetable/vm_inject.h"
#include "vmm/x86_64/arch.h"

#include <stdio.h>

struct vm;      /* vm_internal.h */
struct vm_host; /* vm_host.h */

/*
 * What answers the guest's calls.  It stands above the VM, which knows no more of it than this:
 * whoever makes the VM installs it.
 */
struct vm_guest_ops {
    /*
     * The VM's memory, windows and files are mapped and no vCPU runs: make what is needed and put
     * it on the VM's bus.  Returns 0 and *guest, or -errno with *failure filled and nothing left.
     */
    int (*attach)(struct vm *vm, void **guest, struct failure *failure);
    /* The reverse, after the last vCPU has ended. */
    void (*detach)(void *guest);
};

struct event_loop; /* event_loop.h */
struct vm_outcome;

/*
 * A debugger of the VM, which stands above it as well.  It keeps the vCPUs from running with
 * VCPU_PAUSE_DEBUG, by vm_pause_start and vm_resume.
 */
struct vm_debug_ops {
    /* By vm_run's thread, before a vCPU runs: become a client of the loop.  Returns 0 or -errno. */
    int (*start)(void *debugger, struct vm *vm, struct event_loop *loop);
    /* By the loop: all vCPUs rest, for whatever reason. */
    void (*rested)(void *debugger);
    /* By a vCPU's thread, without locks: vcpu_ops.trap.  It may call vm_pause_start. */
    bool (*trap)(void *debugger, unsigned cpu, bool in_place);
    /* The same; the debugger has asked for it by vcpu_request_debug. */
    void (*look)(void *debugger, unsigned cpu);
    /* By vm_run's thread: no vCPU runs any more, nor does the loop, which still exists; also after
     * a start that failed or was not made.  It waits for nothing of the VM's: a page that is being
     * read from a slow disk holds up release only. */
    void (*finish)(void *debugger, const struct vm_outcome *outcome);
    /* By vm_run's thread, after the end was told: let go of the VM.  May wait. */
    void (*release)(void *debugger);
};

enum vm_end {
    VM_END_GUEST,       /* the guest called exit: status; or it switched its machine off: 0 */
    VM_END_TIMEOUT,     /* --timeout ran out */
    VM_END_INTERRUPTED, /* a signal that would end the process */
    VM_END_CRASHED, /* the guest did something that ends only itself: triple fault, all vCPUs halted ... */
    VM_END_RESET, /* a PC's guest wants to be started anew, or a triple fault makes that of it */
    VM_END_FAILED /* the host or vkvm failed */
};

struct vm_outcome {
    enum vm_end end;
    int status;         /* VM_END_GUEST: 0..255; VM_END_INTERRUPTED: the signal */
    char message[1024]; /* one line: cause and, where there is one, remedy; of GUEST: by what */
};

/* A trace of the VM, docs/tracing.md. */
struct vm_trace_config {
    const char *path;        /* borrowed, as all names here: the file; NULL = no trace */
    uint64_t limit;          /* bytes; 0 = none; else TRACE_LIMIT_MIN or more */
    bool keep_last;          /* at the limit the oldest records go, else recording ends */
    bool off;                /* not switched on yet */
    bool registers;          /* record the vCPU's too, at each fault */
    int kernel_fd;           /* borrowed: what vkvm-trace reads the kernel's events for; 0 = none */
    const char *kernel;      /* ... or why there are none; NULL = not wanted, or there are */
    const char *program;     /* for the file to tell: who made it ... */
    const char *image;       /* ... and what ran; may be NULL */
    const uint8_t *build_id; /* of what ran, as its linker has it; may be NULL */
    size_t build_id_size;
};

struct vm_config {
    struct machine machine;
    unsigned timeout_ms; /* 0 = none */
    enum fault_placement placement;
    unsigned fault_threads; /* 0 = chosen */
    /*
     * A PC's every fault is to be reported as what it is, by the vCPU that made it, at the price of
     * a guest that looks busy when it is idle.  Implied by a window, by a trace and by injected faults.  Where KVM cannot do it `warn` is
     * told, and faults may come from threads of the kernel's, with an access that is not known.
     */
    bool exact_faults;
    struct cpu_features features; /* of the processors, other than KVM offers them */
    uint8_t
        escape;    /* the escape key on a terminal, escape.h; ESCAPE_NONE: raw-ish instead of raw */
    bool detached; /* leaves the process's signals and terminal alone: another VM has them */

    struct vm_trace_config trace;
    struct vm_inject inject; /* faults that are to happen; nrules 0 = none */

    const struct vm_guest_ops *guest; /* borrowed; NULL = the guest can make no calls */
    const struct vm_debug_ops *debug; /* borrowed; NULL = nobody debugs it */
    void *debugger;                   /* borrowed: of `debug` */

    /*
     * Told, as one line without its end, when something of this VM failed that does not end
     * it: pages of its files could not be written.  From any thread, without locks; NULL =
     * nobody is told.
     */
    void (*warn)(void *context, const char *message);
    void *warn_context; /* borrowed */

    /*
     * A line was typed in the monitor: carry it out and print to `to`.  In vm_run's thread, whose
     * event loop it must not hold up.  Returns whether the next line is the monitor's too, or the
     * keys are the guest's again.  NULL = there is no monitor.
     */
    bool (*monitor)(void *context, struct vm *vm, const char *line, FILE *to);
    void *monitor_context; /* borrowed */

    /*
     * Told once, in vm_run's thread, when no guest instruction runs any more and the terminal is
     * as it was.  What can take long comes after it: pages are written back to their files, which
     * may still make VM_END_FAILED of VM_END_GUEST, and memory is freed.  May be NULL.
     */
    void (*ended)(void *context, const struct vm_outcome *outcome);
    void *ended_context; /* borrowed */
};

/* What became of a rule of vm_config.inject. */
struct vm_injection_report {
    const char *text; /* borrowed from the rule */
    uint64_t matched;
    uint64_t injected;
};

struct vm_report {
    uint64_t run_ns;    /* first KVM_RUN to the end */
    uint64_t create_ns; /* vm_create */
    uint64_t memory_size;
    uint64_t resident_pages; /* of all VMs of the host */
    uint64_t mapped_pages;
    uint64_t ram_budget; /* the host's, pages; 0 = no limit */
    uint64_t swap_pages; /* the host's: how many fit into swap; 0 = no swap */
    uint64_t swap_used;  /* ... and are there at the end */
    unsigned nvcpus;
    uint64_t exits_doorbell; /* accesses to its port */
    uint64_t exits_console;
    uint64_t exits_mmio;
    uint64_t exits_efault;  /* KVM_RUN returned EFAULT */
    uint64_t exceptions_pf; /* injected */
    uint64_t exceptions_ve;
    uint64_t meter[64]; /* in the order of VM_METER_FIELDS: the VM's, then the host's */
    unsigned ninjections;
    struct vm_injection_report injections[VM_INJECT_RULES];
    struct fault_report faults;
    struct kvm_pmap_statistics pmap;
};

/*
 * Make a VM on the host, which stays until it is destroyed: RAM, windows and files mapped, vCPUs created, no thread yet.
 * Returns 0 and *vmp; -EINVAL for a configuration that cannot be, or another
 * -errno; *failure is filled then and nothing is held.
 */
int vm_create(struct vm_host *host, const struct vm_config *config, struct vm **vmp,
              struct failure *failure) __attribute__((warn_unused_result));

/* The VM's map: loaders write the image and the device tree through vm_map_write. */
struct vm_map *vm_map_of(struct vm *vm);

/*
 * Say how the vCPUs start, once the image is known, and write what must stand in guest memory
 * for that.  Before vm_run.
 * Returns 0, or -errno with *failure filled.
 */
int vm_set_start(struct vm *vm, const struct arch_start *start, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Run until the VM ends; once per VM.  Then what the guest wrote to shared files is written back; a
 * failure makes VM_END_FAILED of VM_END_GUEST.
 *
 * Unless `detached`, standard input, if it is a terminal, is raw or raw-ish meanwhile (terminal.h,
 * vm_keys.h), and
 * signals that would end the process end the VM instead, those that a fault raises excepted;
 * SIGTSTP pauses the VM first.  While pages are written back at the end, a signal ends the process
 * again.  The calling thread must be one that receives signals, so other
 * threads of the process block them.
 */
void vm_run(struct vm *vm, struct vm_outcome *outcome);

/* End the VM from any thread; the first call wins. */
void vm_end(struct vm *vm, enum vm_end end, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * Keep the vCPUs from executing anything, for `reason` (vcpu_gate.h), until vm_resume with the
 * same: from any thread but, for vm_pause, a vCPU's, without locks, before, during or after vm_run.  Several
 * reasons may hold at once; each is its user's own.
 *
 * vm_pause waits until no vCPU runs.  Then each is between two instructions, with its registers
 * and what they read complete, unless vcpu->incomplete says that it rests while its output is
 * stuck.  A vCPU that waits for a fault comes to rest with the answer, or at once where a signal ends
 * KVM's wait (Linux 6.2, with a second stage): it then faults again.  vm_pause_start only asks;
 * vcpu_gate_all_rest tells when it is so.
 * Returns 0; -EALREADY: the reason held already, nothing changed; -ECANCELED (vm_pause): the VM
 * ends, or another thread resumed for this reason.
 */
int vm_pause(struct vm *vm, enum vcpu_pause reason) __attribute__((warn_unused_result));
int vm_pause_start(struct vm *vm, enum vcpu_pause reason) __attribute__((warn_unused_result));

/* Take the reason back; the vCPUs run on when no other holds. */
void vm_resume(struct vm *vm, enum vcpu_pause reason);

/*
 * Switch the recording of the VM's trace on or off.  In vm_run's thread, or when it does not run.
 * Returns 0; -ENOENT: it has no trace; -EALREADY: it is so.
 */
int vm_trace_switch(struct vm *vm, bool on);

/* After vm_run; or in its thread, while it runs (`monitor`): what was done up to now. */
void vm_report_get(struct vm *vm, struct vm_report *report);

void vm_destroy(struct vm *vm);

#endif
