/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers of a vCPU.
 */
#include "vmm/x86_64/cpu.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/base/limits.h"
#include "vmm/x86_64/cpuid.h"
#include "vmm/x86_64/start.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define MSR_MISC_ENABLE 0x1A0u
#define MISC_ENABLE_FAST_STRINGS 1u
#define MSR_LSTAR 0xC0000082u

#define CPU_SYNC_FIELDS (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS)

static int
cpu_ioctl(const struct arch_vcpu *vcpu, unsigned long request, void *argument)
{
    return ioctl(vcpu->fd, request, argument) < 0 ? -errno : 0;
}

/*
 * KVM copies all of them at each exit.  A PC's exits are for its devices, which want none; and with a
 * local APIC in KVM the copy of the events makes it look for interrupts at each entry.
 */
bool
cpu_shares_registers(const struct arch_vcpu *vcpu)
{
    return vcpu->host->sync_regs && !vcpu->cpus->lapic;
}

int
cpu_get_regs(struct arch_vcpu *vcpu, struct kvm_regs *regs)
{
    if (!cpu_shares_registers(vcpu))
        return cpu_ioctl(vcpu, KVM_GET_REGS, regs);
    *regs = vcpu->run->s.regs.regs;
    return 0;
}

int
cpu_set_regs(struct arch_vcpu *vcpu, const struct kvm_regs *regs)
{
    struct kvm_regs copy = *regs;

    if (!cpu_shares_registers(vcpu))
        return cpu_ioctl(vcpu, KVM_SET_REGS, &copy);
    vcpu->run->s.regs.regs = copy;
    vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
    return 0;
}

int
cpu_get_sregs(struct arch_vcpu *vcpu, struct kvm_sregs *sregs)
{
    if (!cpu_shares_registers(vcpu))
        return cpu_ioctl(vcpu, KVM_GET_SREGS, sregs);
    *sregs = vcpu->run->s.regs.sregs;
    return 0;
}

int
cpu_set_sregs(struct arch_vcpu *vcpu, const struct kvm_sregs *sregs)
{
    struct kvm_sregs copy = *sregs;

    if (!cpu_shares_registers(vcpu))
        return cpu_ioctl(vcpu, KVM_SET_SREGS, &copy);
    vcpu->run->s.regs.sregs = copy;
    vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
    return 0;
}

int
cpu_get_events(struct arch_vcpu *vcpu, struct kvm_vcpu_events *events)
{
    if (!cpu_shares_registers(vcpu))
        return cpu_ioctl(vcpu, KVM_GET_VCPU_EVENTS, events);
    *events = vcpu->run->s.regs.events;
    return 0;
}

int
cpu_set_events(struct arch_vcpu *vcpu, const struct kvm_vcpu_events *events)
{
    struct kvm_vcpu_events copy = *events;

    if (!cpu_shares_registers(vcpu))
        return cpu_ioctl(vcpu, KVM_SET_VCPU_EVENTS, &copy);
    vcpu->run->s.regs.events = copy;
    vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_EVENTS;
    return 0;
}

bool
cpu_translate(struct arch_vcpu *vcpu, gva_t gva, gpa_t *gpa)
{
    struct kvm_translation translation = { .linear_address = gva_to_u64(gva) };

    if (cpu_ioctl(vcpu, KVM_TRANSLATE, &translation) != 0 || translation.valid == 0)
        return false;
    *gpa = gpa_from_u64(translation.physical_address);
    return true;
}

size_t
cpu_read(struct arch_vcpu *vcpu, struct vm_map *map, gva_t gva, void *to, size_t size)
{
    struct vm_fault_info info;
    uint8_t *bytes = to;
    uint64_t address = gva_to_u64(gva);
    size_t done, n;
    gpa_t gpa;

    for (done = 0; done < size; done += n) {
        n = PAGE_SIZE - ((address + done) & PAGE_MASK);
        if (n > size - done)
            n = size - done;
        if (!cpu_translate(vcpu, gva_from_u64(address + done), &gpa))
            break;
        if (vm_map_peek(map, gpa, bytes + done, n, &info) != VM_OK)
            break;
    }
    return done;
}

static int
cpu_init_sregs(struct arch_vcpu *vcpu, const struct arch_start *start)
{
    struct kvm_sregs sregs;
    int error;

    error = cpu_ioctl(vcpu, KVM_GET_SREGS, &sregs);
    if (error != 0)
        return error;
    start_sregs(start, &sregs);
    return cpu_ioctl(vcpu, KVM_SET_SREGS, &sregs);
}

static int
cpu_init_regs(struct arch_vcpu *vcpu, const struct arch_start *start)
{
    struct kvm_regs regs;

    start_regs(start, vcpu->index, &regs);
    return cpu_ioctl(vcpu, KVM_SET_REGS, &regs);
}

/*
 * What firmware leaves in IA32_MISC_ENABLE: fast strings (SDM vol. 4, table 2-2), without which a
 * kernel does without `rep movs`.
 */
static int
cpu_init_msrs(struct arch_vcpu *vcpu)
{
    _Alignas(struct kvm_msrs)
        uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)] = { 0 };
    struct kvm_msrs *msrs = (void *)room;
    int n;

    msrs->nmsrs = 1;
    msrs->entries[0].index = MSR_MISC_ENABLE;
    n = ioctl(vcpu->fd, KVM_GET_MSRS, msrs);
    if (n == 1) {
        msrs->entries[0].data |= MISC_ENABLE_FAST_STRINGS;
        n = ioctl(vcpu->fd, KVM_SET_MSRS, msrs);
    }
    return n < 0 ? -errno : 0;
}

uint64_t
arch_vcpu_syscall_entry(struct arch_vcpu *vcpu)
{
    _Alignas(struct kvm_msrs)
        uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)] = { 0 };
    struct kvm_msrs *msrs = (void *)room;

    msrs->nmsrs = 1;
    msrs->entries[0].index = MSR_LSTAR;
    return ioctl(vcpu->fd, KVM_GET_MSRS, msrs) == 1 ? msrs->entries[0].data : 0;
}

/* A PC's vCPU beyond the first: KVM has it wait for INIT and SIPI, which give it its registers. */
static bool
is_started_by_another(const struct arch_vcpu *vcpu, const struct arch_start *start)
{
    return !start_has(start, vcpu->index) || (vcpu->cpus->lapic && vcpu->index != 0);
}

int
arch_vcpu_init(struct arch_vcpu *vcpu, const struct arch_start *start, struct failure *failure)
{
    const char *what = "CPUID";
    int error;

    vcpu->delivery = VKVM_DELIVER_PF;
    vcpu->ve_area = gpa_from_u64(0);
    if (cpu_shares_registers(vcpu))
        vcpu->run->kvm_valid_regs = CPU_SYNC_FIELDS;
    error = cpuid_init(vcpu);
    if (error == 0 && vcpu->cpus->lapic) {
        what = "the model-specific registers";
        error = cpu_init_msrs(vcpu);
    }
    if (error == 0 && is_started_by_another(vcpu, start))
        return 0;
    if (error == 0) {
        what = "the system registers";
        error = cpu_init_sregs(vcpu, start);
    }
    if (error == 0) {
        what = "the registers";
        error = cpu_init_regs(vcpu, start);
    }
    if (error != 0) {
        failure->code = error;
        snprintf(failure->message, sizeof(failure->message), "vCPU %u: cannot set %s: %s",
                 vcpu->index, what, limits_explain(error).text);
    }
    return error;
}

/* FNV-1a: position checks compare hashes of one vCPU only. */
static uint64_t
hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;

    while (size-- != 0)
        hash = (hash ^ *p++) * 0x100000001B3ull;
    return hash;
}

int
arch_vcpu_position(struct arch_vcpu *vcpu, uint64_t *rip, uint64_t *hash)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    int error;

    error = cpu_get_regs(vcpu, &regs);
    if (error == 0)
        error = cpu_get_sregs(vcpu, &sregs);
    if (error != 0)
        return error;
    *rip = regs.rip;
    *hash = hash_bytes(0xCBF29CE484222325ull, &regs, sizeof(regs));
    *hash = hash_bytes(*hash, &sregs.cr3, sizeof(sregs.cr3));
    return 0;
}

void
arch_vcpu_describe(struct arch_vcpu *vcpu, char *to, size_t size)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;

    if (cpu_get_regs(vcpu, &regs) != 0 || cpu_get_sregs(vcpu, &sregs) != 0) {
        snprintf(to, size, "registers unknown");
        return;
    }
    snprintf(to, size, "rip 0x%llx cs 0x%x rsp 0x%llx cr2 0x%llx cr3 0x%llx", regs.rip,
             sregs.cs.selector, regs.rsp, sregs.cr2, sregs.cr3);
}
