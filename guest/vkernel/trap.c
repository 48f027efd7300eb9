/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Traps of processes.
 *
 * A fault that vkvm could not resolve comes as #PF with the process's address in CR2,
 * or as #VE with the guest-physical address, which lies in the process's space.  A #PF
 * for an address outside [USER_BASE, USER_END) is the processor's own: a bad pointer.
 */
#include "guest/vkernel/trap.h"

#include "guest/lib/console.h"
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/ram.h"
#include "guest/vkernel/kernel.h"
#include "guest/vkernel/scan.h"

#define TRAP_WRITE_CHUNK 128

/* One per vCPU, none across a page border. */
static struct {
    struct vkvm_ve_area area;
} __attribute__((aligned(64))) trap_ve_areas[CPU_MAX];

static struct vkvm_ve_area *
trap_ve_area(void)
{
    return &trap_ve_areas[cpu_id()].area;
}

void
trap_choose_delivery(void)
{
    if (doorbell_fault_delivery(kernel_options.delivery, trap_ve_area()) != 0)
        kernel_panic("FAULT_DELIVERY refused");
}

static void
trap_kill(struct proc *proc)
{
    kernel_counts.kills++;
    proc_exit(proc, STATUS_KILLED);
}

/* A fault at a page of the process. */
static void
trap_fault(struct proc *proc, uint64_t offset, bool write)
{
    if (offset >= USER_SIZE) {
        trap_kill(proc);
        return;
    }
    kernel_counts.faults++;
    if (!space_fault(&proc->space, offset >> PAGE_SHIFT, write))
        trap_kill(proc);
}

static void
trap_page_fault(struct proc *proc)
{
    const struct trap_frame *frame = &proc->context.frame;

    trap_fault(proc, frame->cr2 - USER_BASE, (frame->error & VKVM_PF_WRITE) != 0);
}

static void
trap_virtualization_exception(struct proc *proc)
{
    struct vkvm_ve_area *area = trap_ve_area();
    struct vkvm_ve_area copy = *area;

    area->busy = 0;
    if (copy.reason != VKVM_VE_REASON)
        kernel_panic("a #VE without its area");
    trap_fault(proc, space_offset(&proc->space, copy.gpa),
               (copy.qualification & VKVM_VE_WRITE) != 0);
}

static uint64_t
trap_call_write(struct proc *proc, uint64_t address, uint64_t size)
{
    char chunk[TRAP_WRITE_CHUNK];
    uint64_t done = 0;

    while (done < size) {
        uint64_t n = size - done < sizeof(chunk) ? size - done : sizeof(chunk);

        if (!space_copy_in(&proc->space, address + done, chunk, n))
            return (uint64_t)-1;
        console_write(chunk, n);
        done += n;
    }
    return done;
}

static uint64_t
trap_call_map(struct proc *proc, enum region_kind kind, uint64_t key, uint64_t npages)
{
    struct shm *shm = shm_get(key, npages);
    uint64_t address;

    if (shm == NULL)
        return (uint64_t)-1;
    address = space_map(&proc->space, kind, shm, npages);
    if (address == 0)
        shm_unref(shm);
    return address != 0 ? address : (uint64_t)-1;
}

static uint64_t
trap_call_scan(struct proc *proc, uint64_t address, uint64_t npages, uint64_t to)
{
    struct scan_result result = { 0 };
    uint64_t first = (address - USER_BASE) >> PAGE_SHIFT;
    uint64_t window = USER_SIZE >> PAGE_SHIFT;

    if (address < USER_BASE || npages > window || first > window - npages)
        return (uint64_t)-1;
    scan_range(&proc->space, first, npages, &result);
    return space_copy_out(&proc->space, to, &result, sizeof(result)) ? 0 : (uint64_t)-1;
}

static uint64_t
trap_call_grow(struct proc *proc, uint64_t npages)
{
    uint64_t address = space_grow(&proc->space, npages);

    return address != 0 ? address : (uint64_t)-1;
}

static uint64_t
trap_call_fork(struct proc *proc)
{
    uint32_t pid = proc_fork(proc);

    return pid != 0 ? pid : (uint64_t)-1;
}

static uint64_t
trap_call_timed(const struct proc *proc, uint64_t fork_cycles, uint64_t npages,
                uint64_t page_cycles)
{
    struct kernel_times *times = &kernel_times[proc->space.kind];

    times->forks++;
    times->fork_cycles += fork_cycles;
    times->pages += npages;
    times->page_cycles += page_cycles;
    return 0;
}

/* Copies what a process may name and no more: every argument is checked where it is used. */
static void
trap_call(struct proc *proc)
{
    struct trap_frame *frame = &proc->context.frame;
    uint64_t number = frame->rax;

    switch (number) {
    case CALL_EXIT:
        proc_exit(proc, (uint32_t)frame->rdi & 0xff);
        return;
    case CALL_WAIT:
        proc_wait(proc);
        return;
    case CALL_YIELD:
        frame->rax = 0;
        proc->state = PROC_READY;
        return;
    case CALL_FORK:
        frame->rax = trap_call_fork(proc);
        return;
    case CALL_WRITE:
        frame->rax = trap_call_write(proc, frame->rdi, frame->rsi);
        return;
    case CALL_GETPID:
        frame->rax = proc->pid;
        return;
    case CALL_GROW:
        frame->rax = trap_call_grow(proc, frame->rdi);
        return;
    case CALL_MAP_SHARED:
    case CALL_MAP_PRIVATE:
        frame->rax = trap_call_map(proc, number == CALL_MAP_SHARED ? REGION_SHARED : REGION_PRIVATE,
                                   frame->rdi, frame->rsi);
        return;
    case CALL_SCAN:
        frame->rax = trap_call_scan(proc, frame->rdi, frame->rsi, frame->rdx);
        return;
    case CALL_TIMED:
        frame->rax = trap_call_timed(proc, frame->rdi, frame->rsi, frame->rdx);
        return;
    default:
        frame->rax = (uint64_t)-1;
        return;
    }
}

void
trap_handle(struct proc *proc)
{
    switch (proc->context.frame.vector) {
    case TRAP_SYSCALL:
        trap_call(proc);
        break;
    case TRAP_PF:
        trap_page_fault(proc);
        break;
    case TRAP_VE:
        trap_virtualization_exception(proc);
        break;
    default:
        trap_kill(proc);
        break;
    }
}
