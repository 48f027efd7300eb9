/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making KVM's interrupt controllers and setting their lines.
 */
#include "vmm/kvm/irqchip.h"

#include "vmm/base/limits.h"
#include "vmm/kvm/kvm_compat.h"
#include "vmm/kvm/kvm_ioctl.h"

#include <stddef.h>
#include <stdint.h>

static int
check(const struct kvm_vm *kvm, long capability)
{
    return kvm_ioctl(kvm->fd, KVM_CHECK_EXTENSION, (void *)capability);
}

/* Where the private pages lie; an Intel host needs to be told before the first vCPU. */
static int
place_private_pages(const struct kvm_vm *kvm)
{
    __u64 identity_map = IRQCHIP_IDENTITY_MAP;
    int error = 0;

    if (check(kvm, KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0)
        error = kvm_ioctl(kvm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    if (error == 0 && check(kvm, KVM_CAP_SET_TSS_ADDR) > 0)
        error = kvm_ioctl(kvm->fd, KVM_SET_TSS_ADDR, (void *)(uintptr_t)IRQCHIP_TSS);
    return error;
}

int
irqchip_create(const struct kvm_vm *kvm, struct irqchip *chip, struct failure *failure)
{
    struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
    int error;

    *chip = (struct irqchip){ .kvm = kvm };
    if (check(kvm, KVM_CAP_IRQCHIP) <= 0)
        return failure_set(failure, -ENOTSUP,
                           "this KVM has no interrupt controllers, which a PC needs: use another "
                           "host, or run images made for vkvm");
    error = place_private_pages(kvm);
    if (error == 0)
        error = kvm_ioctl(kvm->fd, KVM_CREATE_IRQCHIP, NULL);
    if (error == 0 && check(kvm, KVM_CAP_PIT2) > 0)
        error = kvm_ioctl(kvm->fd, KVM_CREATE_PIT2, &pit);
    if (error != 0)
        return failure_set(failure, error, "cannot make the interrupt controllers: %s",
                           limits_explain_thread(error).text);
    return 0;
}

/* KVM takes every line there is: nothing can fail. */
void
irqchip_set_line(void *chip, unsigned line, bool level)
{
    const struct irqchip *irqchip = chip;
    struct kvm_irq_level set = { .irq = line, .level = level };

    (void)kvm_ioctl(irqchip->kvm->fd, KVM_IRQ_LINE, &set);
}

int
irqchip_keep_halted(const struct kvm_vm *kvm)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_DISABLE_EXITS,
                                  .args = { KVM_X86_DISABLE_EXITS_HLT } };

    if ((check(kvm, KVM_CAP_X86_DISABLE_EXITS) & KVM_X86_DISABLE_EXITS_HLT) == 0)
        return -ENOTSUP;
    return kvm_ioctl(kvm->fd, KVM_ENABLE_CAP, &cap);
}
