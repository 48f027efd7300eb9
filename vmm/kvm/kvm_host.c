/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opens KVM, and asks it and userfaultfd for what they can do.
 *
 * Sources: Linux Documentation/virt/kvm/api.rst, ioctl_userfaultfd(2).
 */
#include "vmm/kvm/kvm_host.h"

#include "vmm/base/limits.h"
#include "vmm/kvm/kvm_compat.h"
#include "vmm/kvm/kvm_ioctl.h"
#include "vmm/vpagetable/vm_types.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* More entries than any KVM has. */
#define CPUID_MAX 256u

/* Linux 5.19, the last of these to come, is the oldest kernel that will do. */
#define UFFD_FEATURES_NEEDED                                                                   \
    (UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM | \
     UFFD_FEATURE_THREAD_ID)

static int
open_kvm(struct kvm_host *host, struct failure *failure)
{
    host->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (host->kvm_fd >= 0)
        return 0;
    int code = -errno;
    if (code == -ENOENT || code == -ENODEV || code == -ENXIO)
        return failure_set(failure, -ENOENT,
                           "/dev/kvm: %s: load the host's KVM module (kvm-intel or kvm-amd) "
                           "and enable virtualization in the firmware",
                           limits_explain(code).text);
    if (code == -EACCES || code == -EPERM)
        return failure_set(failure, code,
                           "/dev/kvm: %s: run as root, or join the group that owns it "
                           "(usually: adduser $USER kvm, then log in again)",
                           limits_explain(code).text);
    return failure_set(failure, code, "/dev/kvm: %s", limits_explain(code).text);
}

static int
capability(const struct kvm_host *host, long which)
{
    int answer = ioctl(host->kvm_fd, KVM_CHECK_EXTENSION, which);

    return answer < 0 ? 0 : answer;
}

static int
check_version(const struct kvm_host *host, struct failure *failure)
{
    int version = ioctl(host->kvm_fd, KVM_GET_API_VERSION, 0);

    if (version == KVM_API_VERSION)
        return 0;
    return failure_set(failure, -ENOTSUP,
                       "/dev/kvm: API version %d, need %d: use a Linux kernel of 5.19 or later",
                       version, KVM_API_VERSION);
}

static int
ask_capabilities(struct kvm_host *host, struct failure *failure)
{
    const int sync = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;

    if (capability(host, KVM_CAP_USER_MEMORY) == 0 || capability(host, KVM_CAP_SYNC_MMU) == 0)
        return failure_set(failure, -ENOTSUP,
                           "KVM lacks KVM_CAP_USER_MEMORY or "
                           "KVM_CAP_SYNC_MMU: use a Linux kernel of 5.19 or later");
    int size = ioctl(host->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size <= 0)
        return failure_set(failure, -ENOTSUP,
                           "KVM_GET_VCPU_MMAP_SIZE failed: use a Linux "
                           "kernel of 5.19 or later");
    host->vcpu_mmap_size = (unsigned)size;
    host->sync_regs = (capability(host, KVM_CAP_SYNC_REGS) & sync) == sync;
    host->immediate_exit = capability(host, KVM_CAP_IMMEDIATE_EXIT) != 0;
    host->memory_fault_info = capability(host, KVM_CAP_MEMORY_FAULT_INFO) != 0;
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

int
kvm_host_uffd_open(int *fd, struct failure *failure)
{
    struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURES_NEEDED };
    int made = uffd_new();

    if (made == -EPERM || made == -EACCES)
        return failure_set(failure, -EPERM,
                           "userfaultfd is forbidden: run as root, or give yourself "
                           "/dev/userfaultfd (chown or chmod it; Linux 6.1), or: "
                           "sysctl vm.unprivileged_userfaultfd=1");
    if (made == -ENOSYS)
        return failure_set(failure, -ENOTSUP,
                           "this kernel has no userfaultfd: use one built "
                           "with CONFIG_USERFAULTFD");
    if (made < 0)
        return failure_set(failure, made, "userfaultfd: %s", limits_explain(made).text);
    if (ioctl(made, UFFDIO_API, &api) == 0) {
        *fd = made;
        return 0;
    }
    close(made);
    return failure_set(failure, -ENOTSUP,
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

/* What the host's userfaultfd can do, asked of one of its own. */
static int
probe_uffd(struct kvm_host *host, struct failure *failure)
{
    int uffd = -1, memfd, ret;

    ret = kvm_host_uffd_open(&uffd, failure);
    if (ret != 0)
        return ret;
    memfd = memfd_create("vkvm-probe", MFD_CLOEXEC);
    host->uffd_continue_wp =
        memfd >= 0 && pwrite(memfd, "", 1, PAGE_MASK) == 1 && try_continue_wp(uffd, memfd);
    if (memfd >= 0)
        close(memfd);
    close(uffd);
    return 0;
}

static int
ask_cpuid(struct kvm_host *host, struct failure *failure)
{
    int error = -ENOMEM;

    host->cpuid = calloc(1, sizeof(*host->cpuid) + CPUID_MAX * sizeof(host->cpuid->entries[0]));
    if (host->cpuid != NULL) {
        host->cpuid->nent = CPUID_MAX;
        error = kvm_ioctl(host->kvm_fd, KVM_GET_SUPPORTED_CPUID, host->cpuid);
    }
    if (error == 0)
        return 0;
    return failure_set(failure, error, "cannot ask KVM for its CPUID: %s",
                       limits_explain(error).text);
}

int
kvm_host_open(struct kvm_host *host, struct failure *failure)
{
    int error;

    *host = (struct kvm_host){ .kvm_fd = -1 };
    *failure = (struct failure){ 0 };
    error = open_kvm(host, failure);
    if (error == 0)
        error = check_version(host, failure);
    if (error == 0)
        error = ask_capabilities(host, failure);
    if (error == 0)
        error = ask_cpuid(host, failure);
    if (error == 0)
        error = probe_uffd(host, failure);
    if (error != 0)
        kvm_host_close(host);
    return error;
}

void
kvm_host_close(struct kvm_host *host)
{
    if (host->kvm_fd >= 0)
        close(host->kvm_fd);
    host->kvm_fd = -1;
    free(host->cpuid);
    host->cpuid = NULL;
}
