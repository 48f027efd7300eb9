/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Delivering a second-stage fault to the guest as #PF or #VE.
 *
 * After KVM_EXIT_MMIO the vCPU is in the middle of an emulated instruction: emulated.h
 * says what is done about that before the exception is injected.
 *
 * Error codes of #PF (Intel SDM vol. 3, 4.7), from the cause:
 *      VPTE_INVALID, INVALID_ADDRESS, IO_ERROR, OBJECT_DEAD   P clear
 *      PROTECTION, VPTE_PROTECTION, NOFAULT                   P
 *      BAD_FRAME, BEYOND_OBJECT                               P, RSVD
 * W/R from the access, U/S from the CPL, I/D for a fetch.  An instruction that
 * writes its operand faults as a write, as it does in hardware, even when KVM's
 * emulator got no further than a read: it reads the operands of a few plain stores too.
 */
#include "guest/include/vkvm_abi.h"
#include "vmm/x86_64/cpu.h"
#include "vmm/x86_64/emulated.h"
#include "vmm/x86_64/insn.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define VECTOR_DF 8u
#define VECTOR_TS 10u
#define VECTOR_GP 13u
#define VECTOR_PF 14u
#define VECTOR_VE 20u

#define PF_FETCH 0x10u

struct state {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_vcpu_events events;
};

static int
state_get(struct arch_vcpu *vcpu, struct state *state)
{
    int error;

    error = cpu_get_regs(vcpu, &state->regs);
    if (error == 0)
        error = cpu_get_sregs(vcpu, &state->sregs);
    if (error == 0)
        error = cpu_get_events(vcpu, &state->events);
    return error;
}

/* KVM takes them in this order, too, when they are synchronized by KVM_RUN. */
static int
state_set(struct arch_vcpu *vcpu, const struct state *state)
{
    int error;

    error = cpu_set_regs(vcpu, &state->regs);
    if (error == 0)
        error = cpu_set_sregs(vcpu, &state->sregs);
    if (error == 0)
        error = cpu_set_events(vcpu, &state->events);
    return error;
}

/* The linear address in the instruction's own bytes, if they lie in the page. */
static bool
find_fetch(const struct insn_memory *memory, const struct state *state, uint64_t length, gpa_t page,
           gva_t *gva)
{
    const struct insn insn = {
        .length = (unsigned)length,
        .naccesses = 1,
        .access = { { .address = gva_from_u64(state->sregs.cs.base + state->regs.rip),
                      .size = length,
                      .access = VM_PROT_EXECUTE } }
    };

    return insn_find_access(&insn, memory, page, VM_PROT_EXECUTE, gva) != NULL;
}

/*
 * The linear address at which the instruction at RIP touches the faulting page,
 * and in info->access what it does there.
 */
static bool
find_linear(struct emulated_memory *context, const struct state *state, struct vm_fault_info *info,
            gva_t *gva)
{
    const struct insn_memory memory = emulated_insn_memory(context);
    const struct insn_access *access;
    gpa_t page = gpa_trunc_page(info->gpa);
    uint8_t bytes[INSN_MAX_BYTES];
    struct insn insn;
    size_t size;

    size = memory.read(context, gva_from_u64(state->sregs.cs.base + state->regs.rip), bytes,
                       sizeof(bytes));
    if (insn_decode(&state->regs, &state->sregs, bytes, size, &insn) != 0)
        return find_fetch(&memory, state, size == sizeof(bytes) ? size : size + 1, page, gva);
    access = info->access == VM_PROT_EXECUTE
                 ? NULL
                 : insn_find_access(&insn, &memory, page, info->access, gva);
    if (access != NULL) {
        if ((access->access & VM_PROT_WRITE) != 0)
            info->access = VM_PROT_WRITE;
        return true;
    }
    return find_fetch(&memory, state, insn.length, page, gva);
}

static uint32_t
pf_error_code(const struct vm_fault_info *info, const struct state *state)
{
    uint32_t code = 0;

    switch (info->result) {
    case VM_PROTECTION:
    case VM_VPTE_PROTECTION:
    case VM_NOFAULT:
        code = VKVM_PF_PRESENT;
        break;
    case VM_BAD_FRAME:
    case VM_BEYOND_OBJECT:
        code = VKVM_PF_PRESENT | VKVM_PF_RESERVED;
        break;
    default:
        break;
    }
    if (info->access == VM_PROT_WRITE)
        code |= VKVM_PF_WRITE;
    if (info->access == VM_PROT_EXECUTE)
        code |= PF_FETCH;
    /* KVM keeps the CPL in SS.DPL. */
    if (state->sregs.ss.dpl == 3)
        code |= VKVM_PF_USER;
    return code;
}

/* What the entry that decided allows, as exit qualification bits. */
static uint64_t
ve_permissions(const struct vm_fault_info *info)
{
    uint64_t bits = 0;

    switch (info->result) {
    case VM_VPTE_PROTECTION:
    case VM_BAD_FRAME:
        bits |= (info->vpte & VPTE_R) != 0 ? VKVM_VE_READABLE : 0;
        bits |= (info->vpte & VPTE_W) != 0 ? VKVM_VE_WRITABLE : 0;
        bits |= (info->vpte & VPTE_X) != 0 ? VKVM_VE_EXECUTABLE : 0;
        break;
    case VM_VPTE_INVALID:
        break;
    default:
        bits |= (info->entry_prot & VM_PROT_READ) != 0 ? VKVM_VE_READABLE : 0;
        bits |= (info->entry_prot & VM_PROT_WRITE) != 0 ? VKVM_VE_WRITABLE : 0;
        bits |= (info->entry_prot & VM_PROT_EXECUTE) != 0 ? VKVM_VE_EXECUTABLE : 0;
        break;
    }
    return bits;
}

static uint64_t
ve_access(vm_prot_t access)
{
    switch (access) {
    case VM_PROT_WRITE:
        return VKVM_VE_WRITE;
    case VM_PROT_EXECUTE:
        return VKVM_VE_FETCH;
    default:
        return VKVM_VE_READ;
    }
}

/* Fill the information area (SDM vol. 3, 25.5.7.2).  Returns 0, -EBUSY or -EFAULT. */
static int
ve_area_write(const struct arch_vcpu *vcpu, struct vm_map *map, const struct vm_fault_info *info,
              const gva_t *gva)
{
    struct vkvm_ve_area area = { .reason = VKVM_VE_REASON, .busy = UINT32_MAX };
    struct vm_fault_info unused;
    uint32_t busy;

    if (vm_map_peek(map, gpa_add(vcpu->ve_area, offsetof(struct vkvm_ve_area, busy)), &busy,
                    sizeof(busy), &unused) != VM_OK)
        return -EFAULT;
    if (busy != 0)
        return -EBUSY;
    area.qualification = ve_access(info->access) | ve_permissions(info);
    area.gpa = gpa_to_u64(info->gpa);
    if (gva != NULL) {
        area.qualification |= VKVM_VE_GLA_VALID;
        area.gla = gva_to_u64(*gva);
        area.gpa = gpa_to_u64(gpa_trunc_page(info->gpa)) | (area.gla & PAGE_MASK);
    }
    area.result = (uint16_t)info->result;
    area.level = info->level;
    return vm_map_write(map, vcpu->ve_area, &area, sizeof(area), &unused) == VM_OK ? 0 : -EFAULT;
}

static void
set_exception(struct state *state, uint8_t vector, bool has_error_code, uint32_t error_code)
{
    state->events.exception.injected = 1;
    state->events.exception.pending = 0;
    state->events.exception.nr = vector;
    state->events.exception.has_error_code = has_error_code;
    state->events.exception.error_code = error_code;
}

/*
 * SDM vol. 3, table 6-5: a page fault (or #VE, of the same class) while a
 * contributory exception or page fault is delivered makes a double fault.
 */
static bool
makes_double_fault(const struct kvm_vcpu_events *events)
{
    uint8_t vector = events->exception.nr;

    if (!events->exception.injected)
        return false;
    return vector == 0 || (vector >= VECTOR_TS && vector <= VECTOR_GP) || vector == VECTOR_PF ||
           vector == VECTOR_VE;
}

/* Put the exception into *state.  Returns 0, -ESHUTDOWN, or as ve_area_write. */
static int
prepare_exception(const struct arch_vcpu *vcpu, struct vm_map *map,
                  const struct vm_fault_info *info, const gva_t *gva, struct state *state)
{
    int error;

    if (state->events.exception.injected && state->events.exception.nr == VECTOR_DF)
        return -ESHUTDOWN;
    if (makes_double_fault(&state->events)) {
        set_exception(state, VECTOR_DF, true, 0);
        return 0;
    }
    if (arch_vcpu_delivers_ve(vcpu)) {
        error = ve_area_write(vcpu, map, info, gva);
        if (error == 0)
            set_exception(state, VECTOR_VE, false, 0);
        return error;
    }
    state->sregs.cr2 = gva != NULL ? gva_to_u64(*gva) : gpa_to_u64(info->gpa);
    set_exception(state, VECTOR_PF, true, pf_error_code(info, state));
    return 0;
}

/*
 * *state is what it was before the instruction, and KVM has done with that.
 * Returns as arch_inject_fault; *gva as find_linear, if *found.
 */
static int
locate_access(struct emulated_memory *context, unsigned flags, struct state *state,
              struct vm_fault_info *info, unsigned *ninputs, bool *found, gva_t *gva)
{
    bool mmio = (flags & ARCH_INJECT_MMIO) != 0;
    bool write = mmio && context->vcpu->run->mmio.is_write;
    int error;

    if (write) {
        error = emulated_undo(context, &state->sregs, &state->regs, ninputs);
        if (error != 0)
            return error;
    }
    /* Before emulated_abandon takes the page tables away. */
    *found = find_linear(context, state, info, gva);
    if (mmio && !write)
        return emulated_abandon(context->vcpu, &state->sregs);
    if (!*found && (flags & (ARCH_INJECT_MMIO | ARCH_INJECT_CERTAIN)) == 0)
        return -EAGAIN;
    return 0;
}

bool
arch_vcpu_delivers_ve(const struct arch_vcpu *vcpu)
{
    return vcpu->delivery == VKVM_DELIVER_VE;
}

int
arch_inject_fault(struct arch_vcpu *vcpu, struct vm_map *map, const struct vm_fault_info *info,
                  unsigned flags, unsigned *ninputs)
{
    struct emulated_memory context = { vcpu, map };
    struct vm_fault_info seen = *info;
    struct state state;
    bool found;
    gva_t gva;
    int error;

    assert(info->result != VM_OK && info->result != VM_HOST_FAILURE);
    *ninputs = 0;
    error = state_get(vcpu, &state);
    if (error == 0)
        error = locate_access(&context, flags, &state, &seen, ninputs, &found, &gva);
    if (error == 0)
        error = prepare_exception(vcpu, map, &seen, found ? &gva : NULL, &state);
    if (error == 0)
        error = state_set(vcpu, &state);
    if (error == 0) {
        vcpu->injected_vector = state.events.exception.nr;
        vcpu->injected_error_code = state.events.exception.error_code;
    }
    return error;
}

/* vm_fault on the page behind a linear address; unmapped ones are the guest's own business. */
static bool
resolve_page(struct arch_vcpu *vcpu, struct vm_map *map, uint64_t address, vm_prot_t access,
             struct vm_fault_info *info)
{
    gpa_t gpa;

    if (!cpu_translate(vcpu, gva_from_u64(address), &gpa))
        return true;
    return vm_fault_of(map, gpa, access, VM_FAULT_NORMAL, vcpu->origin, info) == VM_OK;
}

static bool
resolve_range(struct arch_vcpu *vcpu, struct vm_map *map, const struct insn_access *access,
              struct vm_fault_info *info)
{
    uint64_t address = gva_to_u64(access->address);
    uint64_t last = address + access->size - 1;
    vm_prot_t kind = access->access;

    if ((kind & VM_PROT_WRITE) != 0)
        kind = VM_PROT_WRITE;
    for (;;) {
        if (!resolve_page(vcpu, map, address, kind, info))
            return false;
        if ((address | PAGE_MASK) >= last)
            return true;
        address = (address | PAGE_MASK) + 1;
    }
}

/* As arch_resolve_instruction. */
static int
resolve_state(struct arch_vcpu *vcpu, struct vm_map *map, const struct state *state,
              struct vm_fault_info *info)
{
    struct insn_access fetch = {
        .address = gva_from_u64(state->sregs.cs.base + state->regs.rip),
        .size = 1,
        .access = VM_PROT_EXECUTE,
    };
    uint8_t bytes[INSN_MAX_BYTES];
    struct insn insn;
    unsigned i;
    int error;

    if (!resolve_range(vcpu, map, &fetch, info))
        return 1;
    error = insn_decode(&state->regs, &state->sregs, bytes,
                        cpu_read(vcpu, map, fetch.address, bytes, sizeof(bytes)), &insn);
    if (error == -ENODATA) {
        fetch.size = INSN_MAX_BYTES;
        if (!resolve_range(vcpu, map, &fetch, info))
            return 1;
        return -EILSEQ;
    }
    if (error != 0)
        return error;
    fetch.size = insn.length;
    if (!resolve_range(vcpu, map, &fetch, info))
        return 1;
    for (i = 0; i < insn.naccesses; i++) {
        if (!resolve_range(vcpu, map, &insn.access[i], info))
            return 1;
    }
    return 0;
}

int
arch_resolve_instruction(struct arch_vcpu *vcpu, struct vm_map *map, struct vm_fault_info *info)
{
    struct state state;
    int error = state_get(vcpu, &state);

    return error != 0 ? error : resolve_state(vcpu, map, &state, info);
}

int
arch_resolve_retried(struct arch_vcpu *vcpu, struct vm_map *map, struct vm_fault_info *info)
{
    uint8_t bytes[INSN_MAX_BYTES];
    struct state state;
    size_t size;
    int error;

    error = state_get(vcpu, &state);
    if (error != 0)
        return error;
    size = cpu_read(vcpu, map, gva_from_u64(state.sregs.cs.base + state.regs.rip), bytes,
                    sizeof(bytes));
    if (!insn_is_retried(&state.sregs, bytes, size))
        return 0;
    return resolve_state(vcpu, map, &state, info);
}

void
arch_vcpu_instruction(struct arch_vcpu *vcpu, struct vm_map *map, char *to, size_t size)
{
    uint8_t bytes[INSN_MAX_BYTES];
    struct state state = { 0 };
    size_t n = 0;

    if (state_get(vcpu, &state) == 0)
        n = cpu_read(vcpu, map, gva_from_u64(state.sregs.cs.base + state.regs.rip), bytes,
                     sizeof(bytes));
    insn_name(&state.sregs, bytes, n, to, size);
}

int
arch_vcpu_locate(struct arch_vcpu *vcpu, struct vm_map *map, gpa_t gpa, vm_prot_t access,
                 struct arch_location *location)
{
    struct emulated_memory context = { vcpu, map };
    struct vm_fault_info info = { .gpa = gpa, .access = access };
    struct state state;
    gva_t linear;
    int error = state_get(vcpu, &state);

    if (error != 0)
        return error;
    *location = (struct arch_location){
        .rip = state.regs.rip,
        .cr3 = state.sregs.cr3,
        .linear = UINT64_MAX,
        .cpl = state.sregs.ss.dpl,
    };
    if (find_linear(&context, &state, &info, &linear))
        location->linear = gva_to_u64(linear);
    return 0;
}
