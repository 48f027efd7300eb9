/* SPDX-License-Identifier: BSD-2-Clause */
/* Source: Linux Documentation/virt/kvm/api.rst. */
#include "vmm/kvm/kvm_vm.h"

#include "vmm/base/limits.h"
#include "vmm/kvm/kvm_compat.h"
#include "vmm/kvm/kvm_ioctl.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int
create_vm(struct kvm_vm *kvm, struct failure *failure)
{
    int error = kvm_ioctl(kvm->host->kvm_fd, KVM_CREATE_VM, NULL);

    if (error == -EINTR)
        return failure_set(failure, error,
                           "KVM_CREATE_VM: %s: signals come without end: stop who "
                           "sends them",
                           strerror(-error));
    if (error < 0)
        return failure_set(failure, error, "KVM_CREATE_VM: %s%s", limits_explain_thread(error).text,
                           error == -EBUSY ? ": is another hypervisor using the processor?" : "");
    kvm->fd = error;
    return 0;
}

/* A capability of the VM, or of KVM where KVM_CHECK_EXTENSION is not offered on a VM. */
static unsigned
capability_or(const struct kvm_vm *kvm, long which, unsigned otherwise)
{
    int answer = ioctl(kvm->fd, KVM_CHECK_EXTENSION, which);

    if (answer < 0)
        answer = ioctl(kvm->host->kvm_fd, KVM_CHECK_EXTENSION, which);
    return answer > 0 ? (unsigned)answer : otherwise;
}

int
kvm_vm_open(struct kvm_vm *kvm, const struct kvm_host *host, struct failure *failure)
{
    int error;

    *kvm = (struct kvm_vm){ .host = host, .fd = -1, .uffd = -1 };
    *failure = (struct failure){ 0 };
    error = create_vm(kvm, failure);
    if (error == 0)
        error = kvm_host_uffd_open(&kvm->uffd, failure);
    if (error != 0) {
        kvm_vm_close(kvm);
        return error;
    }
    kvm->max_vcpus = capability_or(kvm, KVM_CAP_MAX_VCPUS, capability_or(kvm, KVM_CAP_NR_VCPUS, 4));
    kvm->max_memslots = capability_or(kvm, KVM_CAP_NR_MEMSLOTS, 32);
    return 0;
}

static void
close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void
kvm_vm_close(struct kvm_vm *kvm)
{
    close_fd(&kvm->uffd);
    close_fd(&kvm->fd);
}
