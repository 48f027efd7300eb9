/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opens KVM and userfaultfd and asks each for what it can do.
 *
 * Sources: Linux Documentation/virt/kvm/api.rst, ioctl_userfaultfd(2).
 */
#include "vmm/kvm/kvm_host.h"

#include "vmm/kvm/kvm_compat.h"
#include "vmm/vpagetable/vm_types.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux 5.19, the last of these to come, is the oldest kernel that will do. */
#define UFFD_FEATURES_NEEDED                                                                   \
    (UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM | \
     UFFD_FEATURE_THREAD_ID)

static int
open_kvm(struct kvm_host *host, struct failure *error)
{
    host->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (host->kvm_fd >= 0)
        return 0;
    int code = -errno;
    if (code == -ENOENT || code == -ENODEV || code == -ENXIO)
        return failure_set(error, -ENOENT,
                           "/dev/kvm: %s: load the host's KVM module (kvm-intel or kvm-amd) "
                           "and enable virtualization in the firmware",
                           strerror(-code));
    if (code == -EACCES || code == -EPERM)
        return failure_set(error, code,
                           "/dev/kvm: %s: run as root, or join the group that owns it "
                           "(usually: adduser $USER kvm, then log in again)",
                           strerror(-code));
    return failure_set(error, code, "/dev/kvm: %s", strerror(-code));
}

/* A capability of the VM, or of KVM where KVM_CHECK_EXTENSION is not offered on a VM. */
static int
capability(const struct kvm_host *host, long which)
{
    int answer = ioctl(host->vm_fd, KVM_CHECK_EXTENSION, which);

    if (answer < 0)
        answer = ioctl(host->kvm_fd, KVM_CHECK_EXTENSION, which);
    return answer < 0 ? 0 : answer;
}

static unsigned
capability_or(const struct kvm_host *host, long which, unsigned otherwise)
{
    int answer = capability(host, which);

    return answer > 0 ? (unsigned)answer : otherwise;
}

static int
create_vm(struct kvm_host *host, struct failure *error)
{
    int version = ioctl(host->kvm_fd, KVM_GET_API_VERSION, 0);

    if (version != KVM_API_VERSION)
        return failure_set(error, -ENOTSUP,
                           "/dev/kvm: API version %d, need %d: use a "
                           "Linux kernel of 5.19 or later",
                           version, KVM_API_VERSION);
    do
        host->vm_fd = ioctl(host->kvm_fd, KVM_CREATE_VM, 0);
    while (host->vm_fd < 0 && errno == EINTR);
    if (host->vm_fd < 0) {
        int code = -errno;
        return failure_set(error, code,
                           "KVM_CREATE_VM: %s: is another hypervisor using "
                           "the processor?",
                           strerror(-code));
    }
    return 0;
}

static int
ask_capabilities(struct kvm_host *host, struct failure *error)
{
    const int sync = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;

    if (capability(host, KVM_CAP_USER_MEMORY) == 0 || capability(host, KVM_CAP_SYNC_MMU) == 0)
        return failure_set(error, -ENOTSUP,
                           "KVM lacks KVM_CAP_USER_MEMORY or "
                           "KVM_CAP_SYNC_MMU: use a Linux kernel of 5.19 or later");
    int size = ioctl(host->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size <= 0)
        return failure_set(error, -ENOTSUP,
                           "KVM_GET_VCPU_MMAP_SIZE failed: use a Linux "
                           "kernel of 5.19 or later");
    host->vcpu_mmap_size = (unsigned)size;
    host->sync_regs = (capability(host, KVM_CAP_SYNC_REGS) & sync) == sync;
    host->immediate_exit = capability(host, KVM_CAP_IMMEDIATE_EXIT) != 0;
    host->memory_fault_info = capability(host, KVM_CAP_MEMORY_FAULT_INFO) != 0;
    host->max_vcpus =
        capability_or(host, KVM_CAP_MAX_VCPUS, capability_or(host, KVM_CAP_NR_VCPUS, 4));
    host->max_memslots = capability_or(host, KVM_CAP_NR_MEMSLOTS, 32);
    return 0;
}

/* A userfaultfd that also reports faults the kernel takes, as all of KVM's are. */
static int
uffd_new(void)
{
    const int flags = O_CLOEXEC | O_NONBLOCK;
    int fd = (int)syscall(SYS_userfaultfd, flags);

    if (fd >= 0)
        return fd;
    int code = -errno;
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device < 0)
        return code;
    fd = ioctl(device, USERFAULTFD_IOC_NEW, flags);
    if (fd < 0)
        fd = -errno;
    close(device);
    return fd;
}

/* What the kernel offers.  UFFDIO_API works once per descriptor, hence one of its own. */
static uint64_t
uffd_offered(void)
{
    struct uffdio_api api = { .api = UFFD_API };
    int fd = uffd_new();

    if (fd < 0)
        return 0;
    if (ioctl(fd, UFFDIO_API, &api) != 0)
        api.features = 0;
    close(fd);
    return api.features;
}

static int
open_uffd(struct kvm_host *host, struct failure *error)
{
    struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURES_NEEDED };

    host->uffd = uffd_new();
    if (host->uffd == -EPERM || host->uffd == -EACCES)
        return failure_set(error, -EPERM,
                           "userfaultfd is forbidden: run as root, or give yourself "
                           "/dev/userfaultfd (chown or chmod it; Linux 6.1), or: "
                           "sysctl vm.unprivileged_userfaultfd=1");
    if (host->uffd == -ENOSYS)
        return failure_set(error, -ENOTSUP,
                           "this kernel has no userfaultfd: use one built "
                           "with CONFIG_USERFAULTFD");
    if (host->uffd < 0)
        return failure_set(error, host->uffd, "userfaultfd: %s", strerror(-host->uffd));
    if (ioctl(host->uffd, UFFDIO_API, &api) == 0) {
        host->uffd_features = api.features;
        return 0;
    }
    return failure_set(error, -ENOTSUP,
                       "userfaultfd lacks features 0x%llx (shared memory: "
                       "missing, minor, write-protect; thread id): use a Linux kernel of "
                       "5.19 or later",
                       (unsigned long long)(UFFD_FEATURES_NEEDED & ~uffd_offered()));
}

/* Does CONTINUE take its WP mode?  Tried on one filled page; no feature bit tells. */
static bool
try_continue_wp(int uffd, int memfd)
{
    void *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    if (page == MAP_FAILED)
        return false;
    struct uffdio_register reg = {
        .range = { (uintptr_t)page, PAGE_SIZE },
        .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP,
    };
    struct uffdio_continue cont = {
        .range = { (uintptr_t)page, PAGE_SIZE },
        .mode = UFFDIO_CONTINUE_MODE_WP,
    };
    bool works =
        ioctl(uffd, UFFDIO_REGISTER, &reg) == 0 && ioctl(uffd, UFFDIO_CONTINUE, &cont) == 0;
    munmap(page, PAGE_SIZE);
    return works;
}

static void
probe_continue_wp(struct kvm_host *host)
{
    int memfd = memfd_create("vkvm-probe", MFD_CLOEXEC);

    host->uffd_continue_wp =
        memfd >= 0 && pwrite(memfd, "", 1, PAGE_MASK) == 1 && try_continue_wp(host->uffd, memfd);
    if (memfd >= 0)
        close(memfd);
}

int
kvm_host_open(struct kvm_host *host, struct failure *error)
{
    *host = (struct kvm_host){ .kvm_fd = -1, .vm_fd = -1, .uffd = -1 };
    *error = (struct failure){ 0 };
    int code = open_kvm(host, error);
    if (code == 0)
        code = create_vm(host, error);
    if (code == 0)
        code = ask_capabilities(host, error);
    if (code == 0)
        code = open_uffd(host, error);
    if (code == 0)
        probe_continue_wp(host);
    else
        kvm_host_close(host);
    return code;
}

static void
close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void
kvm_host_close(struct kvm_host *host)
{
    close_fd(&host->uffd);
    close_fd(&host->vm_fd);
    close_fd(&host->kvm_fd);
}
