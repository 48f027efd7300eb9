/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One record of a trace, as the VM makes it and as a reader gets it, and its bytes in between.
 *
 * A record's bytes are its size (a varint, without itself), its kind (one byte), and its fields:
 * varints in the order of docs/trace-format.md.  What is likely to be near the record before it,
 * such as times, numbers and addresses, is a signed difference to that.  A reader skips kinds that
 * it does not know and ignores fields behind those it knows; every kind begins with the sequence,
 * the time and who made it, so that the differences go on.
 *
 * Times are ns of CLOCK_MONOTONIC.
 */
#ifndef TRACE_RECORD_H
#define TRACE_RECORD_H

#include "vmm/vpagetable/vm_fault_trace.h"

#include <sys/types.h>

/* The longest record's bytes, and the shortest one's. */
#define TRACE_RECORD_MAX 512u
#define TRACE_RECORD_MIN 5u

/* Pages that are mapped with a fault's own on one side of it: fewer. */
#define TRACE_NEIGHBOURS_MAX 65536u

/* An address or number that is not known. */
#define TRACE_NONE UINT64_MAX

enum trace_kind {
    TRACE_FAULT = 1,
    TRACE_EXCEPTION, /* the guest was handed a fault that failed */
    TRACE_REGISTERS, /* the vCPU's registers at a fault (--trace-regs), or an event of the kernel's */
    TRACE_PAGEOUT,   /* a page was written by page-out, or taken out of memory */
    TRACE_INVAL,
    TRACE_SETMAP,
    TRACE_COPY,    /* COPY, or another call that copies a range */
    TRACE_VMSPACE, /* a vmspace call */
    TRACE_SWITCH,  /* recording was switched on or off */
    TRACE_LOST,    /* records of this lane that found no room */
    TRACE_ENTRY,   /* where the guest's SYSCALL goes: a moved kernel is found by it */
    TRACE_KINDS
};

/* Who made an access. */
enum trace_who {
    TRACE_VCPU,    /* `number` says which */
    TRACE_MONITOR, /* a device, a guest's call, a loader */
    TRACE_KERNEL,  /* a thread of the kernel's on some vCPU's behalf */
    TRACE_DEBUGGER,
    TRACE_WHO_COUNT
};

enum trace_access {
    TRACE_READ,
    TRACE_WRITE,
    TRACE_FETCH,
    TRACE_UNKNOWN, /* of a thread of the kernel's: it asks for a write whatever the vCPU wants */
    TRACE_ACCESS_COUNT
};

/* How a fault came to vkvm. */
enum trace_arrival {
    TRACE_MISSING, /* userfaultfd messages */
    TRACE_MINOR,
    TRACE_WRITE_PROTECT,
    TRACE_EFAULT,     /* KVM_RUN returned EFAULT or gave up: the instruction said what it needs */
    TRACE_MMIO,       /* KVM emulates the access */
    TRACE_FAULT_PAGE, /* vm_fault_page, vm_map_read and the like, by the monitor itself */
    TRACE_ARRIVAL_COUNT
};

/* What resolved a fault that succeeded. */
enum trace_resolution {
    TRACE_RESIDENT,
    TRACE_ZERO_FILL,
    TRACE_COPIED,
    TRACE_MOVED, /* on a write: out of the object behind, without a copy (v_cow_optim) */
    TRACE_FILE_READ,
    TRACE_SWAP_IN,
    TRACE_RESOLUTION_COUNT
};

/* One level of a walk: 0 is the root. */
struct trace_vpte {
    vpte_t before; /* as read */
    vpte_t after;  /* with the bits the walk has set */
};

/* What a fault did not come to is 0. */
struct trace_fault {
    enum trace_access access;
    enum trace_arrival arrival;
    uint64_t gpa;
    uint64_t duration; /* ns */
    unsigned flags;    /* VM_FAULT_*: QUIET is a look-up of the monitor's, no fault */
    enum fault_step step;
    bool window;    /* through virtual page tables: the map entry's type */
    bool hardfault; /* needed I/O */
    enum vm_result result;
    unsigned entry_prot;              /* VM_PROT_*: the map entry's; 0 = there is none */
    enum trace_resolution resolution; /* VM_OK */
    unsigned prefaulted;              /* VM_OK: neighbours entered with it */
    unsigned below, above; /* prefaulted: how far that goes, those that were there included */
    /* From FAULT_STEP_WALK on, through a window. */
    unsigned nvptes; /* levels read, the root included; 0 = no walk */
    struct trace_vpte vptes[VPTE_MAX_LEVELS + 1];
    /* From FAULT_STEP_OBJECT on. */
    uint64_t object; /* its number in the process, from 1 */
    uint64_t pindex;
    unsigned depth; /* of the object in the chain that had the page */
    /* From FAULT_STEP_PAGE on. */
    uint64_t slot;   /* in the frame store */
    uint64_t source; /* a copy: of the page copied; else `slot` */
    /* How often it started over, by enum vm_errand_kind: for what. */
    unsigned waited[VM_ERRAND_KINDS];
};

struct trace_exception {
    unsigned vector; /* 14 or 20 */
    unsigned error_code;
    uint64_t gpa;
    enum vm_result result;
};

struct trace_registers {
    uint64_t fault; /* the fault's sequence; TRACE_NONE: of no fault of ours */
    uint64_t rip;
    uint64_t cr3;
    uint64_t linear; /* address of the access; TRACE_NONE */
    unsigned cpl;
    bool
        kernel_event; /* from the kernel's tracepoint (trace_kernel.h): cr3 and cpl are not known */
    uint64_t error_code; /* the kernel's event's: TRACE_PFERR_* */
    uint64_t gpa;        /* the kernel's event's */
};

/* Bits of a kernel event's error code.  Source: Linux arch/x86/include/asm/kvm_host.h PFERR_*. */
#define TRACE_PFERR_WRITE (UINT64_C(1) << 1)
#define TRACE_PFERR_FETCH (UINT64_C(1) << 4)
#define TRACE_PFERR_GUEST_PAGE \
    (UINT64_C(1) << 33) /* a walk of the guest's page tables touched it */

struct trace_pageout {
    uint64_t object;
    uint64_t pindex;
    uint64_t slot;
    bool written; /* to its pager (v_pageout); else it was clean, or zeros */
    bool failed;  /* it could not be written, and stays */
    bool freed;   /* it left memory (v_dfree); else it was written, and may leave later */
};

struct trace_range {
    uint64_t gpa;      /* INVAL, SETMAP: of the range; COPY: from */
    uint64_t to;       /* COPY; else gpa */
    uint64_t size;     /* bytes */
    uint64_t duration; /* ns */
    vpte_t root;       /* SETMAP */
    int status;        /* 0 or what the guest was told (vkvm_abi.h) */
};

struct trace_vmspace {
    unsigned call; /* its number in vkvm_abi.h */
    uint64_t id;   /* of the vmspace */
    uint64_t duration;
    int status;
};

struct trace_record {
    enum trace_kind kind;
    uint64_t sequence; /* of the VM's records, from 0 */
    uint64_t time;     /* when it began */
    enum trace_who who;
    unsigned number; /* TRACE_VCPU: the vCPU's */
    union {
        struct trace_fault fault;
        struct trace_exception exception;
        struct trace_registers registers;
        struct trace_pageout pageout;
        struct trace_range range; /* TRACE_INVAL, TRACE_SETMAP, TRACE_COPY */
        struct trace_vmspace vmspace;
        struct {
            bool on;
        } switched;
        struct {
            uint64_t count;
        } lost;
        struct {
            uint64_t lstar; /* MSR_LSTAR */
        } entry;
    };
};

/* What the next record is a difference to; at the start of a segment that says it. */
struct trace_cursor {
    uint64_t sequence;
    uint64_t time;
    uint64_t gpa;
};

/*
 * Write a record's bytes to `to`, which has TRACE_RECORD_MAX.
 * Returns how many.
 */
size_t trace_record_encode(struct trace_cursor *cursor, const struct trace_record *record,
                           uint8_t *to);

/*
 * Read a record from the size bytes at `from`.
 * Returns how many bytes it had and *record, whose kind is TRACE_KINDS for one that is not known;
 * -EBADMSG: these are no record's bytes: cut off, a varint without an end, a field outside its
 * range.  *cursor and *record are as they were then.
 */
ssize_t trace_record_decode(struct trace_cursor *cursor, const uint8_t *from, size_t size,
                            struct trace_record *record) __attribute__((warn_unused_result));

#endif
