/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM_RUN with immediate_exit, and the guest's memory behind it.
 */
#include "vmm/x86_64/emulated.h"

#include "vmm/x86_64/insn_undo.h"
#include "vmm/x86_64/layout.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

/* The longest store is a page of input, 8 bytes an exit; more exits than this are a bug. */
#define COMPLETION_RUNS (PAGE_SIZE / 8 + 64)

static size_t
memory_read(void *context, gva_t gva, void *to, size_t size)
{
    struct emulated_memory *memory = context;

    return cpu_read(memory->vcpu, memory->map, gva, to, size);
}

static bool
memory_translate(void *context, gva_t gva, gpa_t *gpa)
{
    struct emulated_memory *memory = context;

    return cpu_translate(memory->vcpu, gva, gpa);
}

struct insn_memory
emulated_insn_memory(struct emulated_memory *memory)
{
    return (struct insn_memory){ memory, memory_read, memory_translate };
}

static bool
is_write_exit(const struct kvm_run *run)
{
    return run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write != 0 && run->mmio.len <= 8;
}

static void
add_store(const struct kvm_run *run, struct insn_completed *completed)
{
    struct insn_store *store = &completed->stores[completed->nstores];

    if (completed->nstores == INSN_MAX_STORES)
        return;
    store->gpa = gpa_from_u64(run->mmio.phys_addr);
    store->size = run->mmio.len;
    memcpy(store->data, run->mmio.data, sizeof(store->data));
    completed->nstores++;
}

/*
 * Have KVM finish the instruction; what it stores on the way goes to *completed, if given.
 * The kick that may be under way at the same time finds its flag at the next entry.
 */
static int
finish(struct arch_vcpu *vcpu, struct insn_completed *completed)
{
    unsigned runs;
    int error;

    for (runs = 0; runs < COMPLETION_RUNS; runs++) {
        __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        error = ioctl(vcpu->fd, KVM_RUN, NULL) < 0 ? errno : 0;
        if (error == EINTR)
            return 0;
        if (error != 0)
            return -error;
        if (completed != NULL && is_write_exit(vcpu->run))
            add_store(vcpu->run, completed);
    }
    return -EIO;
}

int
emulated_abandon(struct arch_vcpu *vcpu, const struct kvm_sregs *sregs)
{
    struct kvm_sregs nowhere = *sregs;
    int error;

    nowhere.cr3 = LAYOUT_NOWHERE;
    error = cpu_set_sregs(vcpu, &nowhere);
    return error != 0 ? error : finish(vcpu, NULL);
}

static int
restore_memory(const struct emulated_memory *memory, const struct insn_undone *undone)
{
    struct vm_fault_info unused;
    gpa_t gpa;

    if (undone->nrestore == 0)
        return 0;
    if (!cpu_translate(memory->vcpu, undone->restore, &gpa) ||
        vm_map_write(memory->map, gpa, undone->restore_data, undone->nrestore, &unused) != VM_OK)
        return -EIO;
    return 0;
}

/* Name the instruction; where none was found, the bytes before RIP. */
static void
name_culprit(const struct emulated_memory *memory, const struct kvm_sregs *sregs,
             const struct insn_undone *undone)
{
    struct arch_vcpu *vcpu = memory->vcpu;
    uint64_t start = sregs->cs.base + undone->before.rip - (undone->found ? 0 : INSN_MAX_BYTES);
    uint8_t bytes[INSN_MAX_BYTES];
    size_t size = cpu_read(vcpu, memory->map, gva_from_u64(start), bytes, sizeof(bytes));

    insn_name(undone->found ? sregs : NULL, bytes, size, vcpu->culprit, sizeof(vcpu->culprit));
}

int
emulated_undo(struct emulated_memory *memory, const struct kvm_sregs *sregs, struct kvm_regs *regs,
              unsigned *ninputs)
{
    struct insn_completed completed = { .regs = *regs,
                                        .sregs = sregs,
                                        .ninputs = memory->vcpu->ninputs };
    const struct insn_memory linear = emulated_insn_memory(memory);
    struct insn_undone undone;
    int error;

    add_store(memory->vcpu->run, &completed);
    error = finish(memory->vcpu, &completed);
    if (error != 0)
        return error;
    error = insn_undo(&completed, &linear, &undone);
    if (error != 0) {
        name_culprit(memory, sregs, &undone);
        return error;
    }
    if (undone.unchanged)
        return -EALREADY;
    error = restore_memory(memory, &undone);
    if (error != 0)
        return error;
    *regs = undone.before;
    *ninputs = undone.ninputs;
    return 0;
}
