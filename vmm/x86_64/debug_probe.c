/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What this host's KVM can do for a debugger, found by doing it: a software KVM takes every request
 * and then does not notice a watched store (docs/hosts.md).
 *
 * The guest is a few instructions in 64-bit mode, in memory of its own:
 *
 *     CODE:  nop; mov %rax,DATA; hlt
 */
#include "vmm/x86_64/debug.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_SIZE 0x6000u
#define CODE 0x1000u
#define TABLES 0x2000u /* three levels, a page each; one page of 2 MiB */
#define DATA 0x5000u

struct probe {
    const struct kvm_host *host;
    struct arch_vcpu vcpu; /* fd -1 = none */
    int vm_fd;
    uint8_t *memory;
    bool user; /* ring 3 */
};

static void
fill_memory(uint8_t *memory)
{
    static const uint8_t code[] = { 0x90, 0x48, 0x89, 0x04, 0x25, 0x00, 0x50, 0x00, 0x00, 0xF4 };
    uint64_t *tables = (uint64_t *)(void *)(memory + TABLES);

    memcpy(memory + CODE, code, sizeof(code));
    tables[0] = (TABLES + 0x1000) | 7;
    tables[512] = (TABLES + 0x2000) | 7;
    tables[1024] = 0x87;
}

static int
set_start(struct probe *probe)
{
    struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
    uint8_t ring = probe->user ? 3 : 0;
    struct kvm_sregs sregs;

    if (ioctl(probe->vcpu.fd, KVM_GET_SREGS, &sregs) < 0)
        return -errno;
    sregs.cs = (struct kvm_segment){ .limit = UINT32_MAX,
                                     .selector = 8 | ring,
                                     .dpl = ring,
                                     .type = 11,
                                     .present = 1,
                                     .s = 1,
                                     .l = 1,
                                     .g = 1 };
    sregs.ss = (struct kvm_segment){ .limit = UINT32_MAX,
                                     .selector = 16 | ring,
                                     .dpl = ring,
                                     .type = 3,
                                     .present = 1,
                                     .s = 1,
                                     .db = 1,
                                     .g = 1 };
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss;
    sregs.cr0 = 0x80010031;
    sregs.cr3 = TABLES;
    sregs.cr4 = 0x20;
    sregs.efer = 0xD00;
    if (ioctl(probe->vcpu.fd, KVM_SET_SREGS, &sregs) < 0 ||
        ioctl(probe->vcpu.fd, KVM_SET_REGS, &regs) < 0)
        return -errno;
    return 0;
}

static void
probe_close(struct probe *probe)
{
    if (probe->vcpu.run != NULL)
        munmap(probe->vcpu.run, probe->host->vcpu_mmap_size);
    if (probe->vcpu.fd >= 0)
        close(probe->vcpu.fd);
    if (probe->vm_fd >= 0)
        close(probe->vm_fd);
    if (probe->memory != MAP_FAILED)
        munmap(probe->memory, MEMORY_SIZE);
}

/* Returns 0, or -errno; probe_close either way. */
static int
probe_open(struct probe *probe, const struct kvm_host *host)
{
    struct kvm_userspace_memory_region region = { .memory_size = MEMORY_SIZE };
    void *run;

    *probe = (struct probe){ .host = host, .vcpu = { .host = host, .fd = -1 }, .vm_fd = -1 };
    probe->memory =
        mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (probe->memory == MAP_FAILED)
        return -errno;
    fill_memory(probe->memory);
    probe->vm_fd = ioctl(host->kvm_fd, KVM_CREATE_VM, 0);
    if (probe->vm_fd < 0)
        return -errno;
    region.userspace_addr = (uintptr_t)probe->memory;
    if (ioctl(probe->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return -errno;
    probe->vcpu.fd = ioctl(probe->vm_fd, KVM_CREATE_VCPU, 0);
    if (probe->vcpu.fd < 0)
        return -errno;
    run = mmap(NULL, host->vcpu_mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, probe->vcpu.fd, 0);
    if (run == MAP_FAILED)
        return -errno;
    probe->vcpu.run = run;
    return 0;
}

/* The vCPU stands at the instruction that was put into its way: it was not taken as the guest's. */
static bool
stands_at_breakpoint(struct probe *probe)
{
    const struct kvm_run *run = probe->vcpu.run;
    uint64_t pc;

    return arch_debug_pc(&probe->vcpu, &pc) == 0 && pc == CODE + 1 &&
           (run->exit_reason == KVM_EXIT_DEBUG ||
            (run->exit_reason == KVM_EXIT_INTERNAL_ERROR &&
             run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION));
}

static bool
runs(struct probe *probe, const struct arch_debug *debug)
{
    return set_start(probe) == 0 && arch_debug_set(&probe->vcpu, debug) == 0 &&
           ioctl(probe->vcpu.fd, KVM_RUN, 0) == 0;
}

/* Does the guest stop as asked, before it comes to its end? */
static bool
stops(struct probe *probe, const struct arch_debug *debug, enum arch_debug_cause cause)
{
    struct arch_debug_event event;

    if (!runs(probe, debug) || probe->vcpu.run->exit_reason != KVM_EXIT_DEBUG)
        return false;
    arch_debug_event(&probe->vcpu, debug, &event);
    return event.cause == cause;
}

static bool
stops_at_instruction(struct probe *probe)
{
    const struct arch_debug debug = { .active = true };
    uint8_t *at = probe->memory + CODE + 1, byte = *at;
    bool stops;

    *at = ARCH_DEBUG_BREAKPOINT;
    stops = runs(probe, &debug) && stands_at_breakpoint(probe);
    *at = byte;
    return stops;
}

/* Each in a machine of its own: one that has shut down stays so. */
static bool
try(const struct kvm_host *host, bool user, bool (*trial)(struct probe *probe))
{
    struct probe probe;
    bool works = false;

    if (probe_open(&probe, host) == 0) {
        probe.user = user;
        works = trial(&probe);
    }
    probe_close(&probe);
    return works;
}

static bool
steps(struct probe *probe)
{
    const struct arch_debug debug = { .active = true, .step = true };

    return stops(probe, &debug, ARCH_DEBUG_STEPPED);
}

static bool
stops_at_point(struct probe *probe)
{
    const struct arch_debug debug = { .active = true,
                                      .npoints = 1,
                                      .points = { { ARCH_DEBUG_EXECUTE, CODE + 1, 1 } } };

    return stops(probe, &debug, ARCH_DEBUG_MET_POINT);
}

static bool
stops_at_store(struct probe *probe)
{
    const struct arch_debug debug = { .active = true,
                                      .npoints = 1,
                                      .points = { { ARCH_DEBUG_WRITE, DATA, 8 } } };

    return stops(probe, &debug, ARCH_DEBUG_MET_POINT);
}

static struct arch_debug_ability
probe_ring(const struct kvm_host *host, bool user)
{
    return (struct arch_debug_ability){
        .breakpoints = try(host, user, stops_at_instruction),
        .step = try(host, user, steps),
        .points = try(host, user, stops_at_point),
        .watches = try(host, user, stops_at_store),
    };
}

void
arch_debug_probe(const struct kvm_host *host, struct arch_debug_abilities *abilities)
{
    abilities->kernel = probe_ring(host, false);
    abilities->user = probe_ring(host, true);
}
