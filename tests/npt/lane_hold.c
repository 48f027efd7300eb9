/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keep VMs alive so that KVM need not patch its kernel for others (tests/npt/init says why that
 * matters).  Each of KVM's static keys below then stays above zero, whatever VMs come and go:
 *
 *   preempt_notifier_key   there is a VM
 *   kvm_has_noapic_vcpu    a vCPU without a local APIC in KVM
 *   apic_sw_disabled       ... with one that its spurious-interrupt register disables (as after reset)
 *   apic_hw_disabled       ... with one that IA32_APIC_BASE disables
 *
 * When it returns with status 0 they are held, by a process of their own.
 * Source: Linux 6.1 arch/x86/kvm/lapic.c and x86.c, kernel/sched/core.c.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define APIC_BASE_ENABLE (UINT64_C(1) << 11)

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static int
make_vm(int kvm)
{
    int vm = ioctl(kvm, KVM_CREATE_VM, 0ul);

    if (vm < 0)
        die("lane_hold: KVM_CREATE_VM");
    return vm;
}

static int
make_vcpu(int vm, unsigned long id)
{
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, id);

    if (vcpu < 0)
        die("lane_hold: KVM_CREATE_VCPU");
    return vcpu;
}

static void
disable_local_apic(int vcpu)
{
    struct kvm_sregs sregs;

    if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
        die("lane_hold: KVM_GET_SREGS");
    sregs.apic_base &= ~APIC_BASE_ENABLE;
    if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0)
        die("lane_hold: KVM_SET_SREGS");
}

int
main(void)
{
    int kvm = open("/dev/kvm", O_RDWR), pc;

    if (kvm < 0)
        die("lane_hold: /dev/kvm");
    (void)make_vcpu(make_vm(kvm), 0);
    pc = make_vm(kvm);
    if (ioctl(pc, KVM_CREATE_IRQCHIP, 0ul) < 0)
        die("lane_hold: KVM_CREATE_IRQCHIP");
    (void)make_vcpu(pc, 0);
    disable_local_apic(make_vcpu(pc, 1));
    if (daemon(1, 1) < 0)
        die("lane_hold");
    pause();
    return 0;
}
