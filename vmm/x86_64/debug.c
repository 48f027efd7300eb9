/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A debugger's registers and stops, by KVM.
 *
 * The ioctls are used even where KVM_CAP_SYNC_REGS would save them: before a vCPU's first KVM_RUN
 * nothing stands in struct kvm_run.  While it rests nothing there is dirty (vcpu.c), and what is
 * set here is put there too, for who looks before the next KVM_RUN.
 */
#include "vmm/x86_64/debug.h"

#include "vmm/x86_64/cpu.h"
#include "vmm/x86_64/debug_registers.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define MSR_KERNEL_GS_BASE 0xC0000102u

#define VECTOR_DB 1u
#define VECTOR_BP 3u

/* Debug registers: SDM vol. 3, 17.2. */
#define DR6_POINTS 0xFu
#define DR6_BS 0x4000u
#define DR7_FIXED 0x400u

#define FLAGS_TF 0x100u

static int
cpu_ioctl(const struct arch_vcpu *vcpu, unsigned long request, void *argument)
{
    return ioctl(vcpu->fd, request, argument) < 0 ? -errno : 0;
}

/* --- registers ------------------------------------------------------------------- */

/* Room for struct kvm_msrs with one entry. */
union one_msr {
    struct kvm_msrs msrs;
    uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

static int
get_kernel_gs(struct arch_vcpu *vcpu, uint64_t *value)
{
    union one_msr one;

    memset(&one, 0, sizeof(one));
    one.msrs.nmsrs = 1;
    one.msrs.entries[0].index = MSR_KERNEL_GS_BASE;
    if (ioctl(vcpu->fd, KVM_GET_MSRS, &one) < 0)
        return -errno;
    *value = one.msrs.entries[0].data;
    return 0;
}

static int
set_kernel_gs(struct arch_vcpu *vcpu, uint64_t value)
{
    union one_msr one;
    int set;

    memset(&one, 0, sizeof(one));
    one.msrs.nmsrs = 1;
    one.msrs.entries[0].index = MSR_KERNEL_GS_BASE;
    one.msrs.entries[0].data = value;
    set = ioctl(vcpu->fd, KVM_SET_MSRS, &one);
    return set < 0 ? -errno : set == 1 ? 0 : -EINVAL;
}

static int
get_state(struct arch_vcpu *vcpu, struct debug_registers *r)
{
    int error;

    memset(r, 0, sizeof(*r));
    error = cpu_ioctl(vcpu, KVM_GET_REGS, &r->regs);
    if (error == 0)
        error = cpu_ioctl(vcpu, KVM_GET_SREGS, &r->sregs);
    if (error == 0)
        error = cpu_ioctl(vcpu, KVM_GET_FPU, &r->fpu);
    if (error == 0)
        error = get_kernel_gs(vcpu, &r->kernel_gs_base);
    return error;
}

int
arch_debug_get_registers(struct arch_vcpu *vcpu, uint8_t *bytes)
{
    struct debug_registers r;
    int error = get_state(vcpu, &r);

    if (error == 0)
        debug_registers_pack(&r, bytes);
    return error;
}

/* Storing registers drops an exception that is pending, so only what changed is stored. */
int
arch_debug_set_registers(struct arch_vcpu *vcpu, const uint8_t *bytes)
{
    struct debug_registers was, r;
    int error = get_state(vcpu, &was);

    if (error != 0)
        return error;
    r = was;
    debug_registers_unpack(&r, bytes);
    if (memcmp(&r.sregs, &was.sregs, sizeof(r.sregs)) != 0)
        error = cpu_ioctl(vcpu, KVM_SET_SREGS, &r.sregs);
    if (error == 0 && memcmp(&r.regs, &was.regs, sizeof(r.regs)) != 0)
        error = cpu_ioctl(vcpu, KVM_SET_REGS, &r.regs);
    if (error == 0 && memcmp(&r.fpu, &was.fpu, sizeof(r.fpu)) != 0)
        error = cpu_ioctl(vcpu, KVM_SET_FPU, &r.fpu);
    if (error == 0 && r.kernel_gs_base != was.kernel_gs_base)
        error = set_kernel_gs(vcpu, r.kernel_gs_base);
    if (error == 0 && cpu_shares_registers(vcpu)) {
        vcpu->run->s.regs.regs = r.regs;
        vcpu->run->s.regs.sregs = r.sregs;
    }
    return error;
}

int
arch_debug_pc(struct arch_vcpu *vcpu, uint64_t *pc)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    int error = cpu_ioctl(vcpu, KVM_GET_REGS, &regs);

    if (error == 0)
        error = cpu_ioctl(vcpu, KVM_GET_SREGS, &sregs);
    if (error == 0)
        *pc = regs.rip + sregs.cs.base;
    return error;
}

bool
arch_debug_executes(struct arch_vcpu *vcpu)
{
    struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_RUNNABLE };

    return cpu_ioctl(vcpu, KVM_GET_MP_STATE, &state) != 0 ||
           state.mp_state == KVM_MP_STATE_RUNNABLE;
}

int
arch_debug_in_user(struct arch_vcpu *vcpu, bool *user)
{
    struct kvm_sregs sregs;
    int error = cpu_ioctl(vcpu, KVM_GET_SREGS, &sregs);

    if (error == 0)
        *user = (sregs.cs.selector & 3) == 3;
    return error;
}

int
arch_debug_translate(struct arch_vcpu *vcpu, struct vm_map *map, uint64_t address,
                     struct arch_debug_walk *walk)
{
    struct kvm_sregs sregs;
    int error = cpu_ioctl(vcpu, KVM_GET_SREGS, &sregs);

    return error != 0 ? error : debug_walk(&sregs, map, address, walk);
}

/* --- stopping -------------------------------------------------------------------- */

/* R/W and LEN of a point in DR7. */
static uint64_t
dr7_of(const struct arch_debug_point *point)
{
    static const unsigned lengths[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
    unsigned rw = point->kind == ARCH_DEBUG_WRITE ? 1 : point->kind == ARCH_DEBUG_ACCESS ? 3 : 0;

    return rw | lengths[point->size] << 2;
}

static void
fill_points(const struct arch_debug *debug, struct kvm_guest_debug *to)
{
    uint64_t dr7 = DR7_FIXED;

    if (debug->npoints == 0)
        return;
    for (unsigned i = 0; i < debug->npoints; i++) {
        to->arch.debugreg[i] = debug->points[i].address;
        dr7 |= UINT64_C(2) << 2 * i | dr7_of(&debug->points[i]) << (16 + 4 * i);
    }
    to->arch.debugreg[7] = dr7;
    to->control |= KVM_GUESTDBG_USE_HW_BP;
}

static bool
blocks_irqs(const struct arch_vcpu *vcpu)
{
    int flags = ioctl(vcpu->host->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2);

    return flags > 0 && ((unsigned)flags & KVM_GUESTDBG_BLOCKIRQ) != 0;
}

static int
set_guest_debug(struct arch_vcpu *vcpu, const struct arch_debug *debug, unsigned also)
{
    struct kvm_guest_debug to = { .control = also };

    if (debug->active) {
        to.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
        fill_points(debug, &to);
        if (debug->strays && debug->npoints == 0) {
            to.control |= KVM_GUESTDBG_USE_HW_BP;
            to.arch.debugreg[7] = DR7_FIXED;
        }
        if (debug->step)
            to.control |= KVM_GUESTDBG_SINGLESTEP |
                          (debug->quiet && blocks_irqs(vcpu) ? KVM_GUESTDBG_BLOCKIRQ : 0);
    }
    return cpu_ioctl(vcpu, KVM_SET_GUEST_DEBUG, &to);
}

int
arch_debug_set(struct arch_vcpu *vcpu, const struct arch_debug *debug)
{
    return set_guest_debug(vcpu, debug, 0);
}

void
arch_debug_event(struct arch_vcpu *vcpu, const struct arch_debug *debug,
                 struct arch_debug_event *event)
{
    const struct kvm_debug_exit_arch *exit = &vcpu->run->debug.arch;
    uint64_t hit = exit->dr6 & DR6_POINTS & ((1u << debug->npoints) - 1);

    *event = (struct arch_debug_event){ .cause = ARCH_DEBUG_GUESTS, .pc = exit->pc };
    if (exit->exception == VECTOR_BP) {
        event->cause = ARCH_DEBUG_MET_INSTRUCTION;
    } else if (hit != 0) {
        event->cause = ARCH_DEBUG_MET_POINT;
        event->point = (unsigned)__builtin_ctzll(hit);
    } else if (debug->step && (exit->dr6 & DR6_BS) != 0) {
        event->cause = ARCH_DEBUG_STEPPED;
    } else if (debug->strays && (exit->dr6 & DR6_BS) != 0) {
        event->cause = ARCH_DEBUG_STRAY;
    }
}

int
arch_debug_forget_step(struct arch_vcpu *vcpu)
{
    struct kvm_regs regs;
    int error = cpu_ioctl(vcpu, KVM_GET_REGS, &regs);

    regs.rflags &= ~FLAGS_TF;
    if (error == 0)
        error = cpu_ioctl(vcpu, KVM_SET_REGS, &regs);
    if (error == 0 && cpu_shares_registers(vcpu))
        vcpu->run->s.regs.regs = regs;
    return error;
}

int
arch_debug_reinject(struct arch_vcpu *vcpu, const struct arch_debug *debug,
                    const struct arch_debug_event *event)
{
    return set_guest_debug(vcpu, debug,
                           event->cause == ARCH_DEBUG_MET_INSTRUCTION ? KVM_GUESTDBG_INJECT_BP
                                                                      : KVM_GUESTDBG_INJECT_DB);
}
