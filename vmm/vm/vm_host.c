/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making and unmaking what the VMs of a process share, part by part, as vm_parts.c does for a VM.
 *
 * The page-out thread runs from before the first VM is made until after the last one is gone:
 * whoever needs memory, also to load an image, finds it at work.
 */
#include "vmm/vm/vm_host.h"

#include "vmm/base/limits.h"
#include "vmm/pager/swap_pager.h"
#include "vmm/vm/sandbox.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vm/vm_trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Slots of the frame store: 2 TiB, all holes. */
#define VM_STORE_PAGES VM_STORE_PAGES_MAX

void
vm_warn_line(void (*warn)(void *context, const char *message), void *context, const char *message,
             int error)
{
    char line[sizeof(struct limits_reason) + 160];

    if (warn == NULL)
        return;
    snprintf(line, sizeof(line), "%s%s%s", message, error != 0 ? ": " : "",
             error != 0 ? limits_explain(error).text : "");
    warn(context, line);
}

static void
host_warn(struct vm_host *host, const char *message, int error)
{
    if (atomic_load(&host->quiet) != 0 || atomic_exchange(&host->warned, message) == message)
        return;
    vm_warn_line(host->config.warn, host->config.warn_context, message, error);
}

static int
check_config(const struct vm_host_config *config, struct failure *failure)
{
    if (config->ram_budget != 0 && config->ram_budget < VM_RAM_BUDGET_MIN * PAGE_SIZE)
        return failure_set(failure, -EINVAL,
                           "RAM budget of %" PRIu64 " bytes: the least is %" PRIu64,
                           config->ram_budget, VM_RAM_BUDGET_MIN * PAGE_SIZE);
    if (config->prefault_pages > VM_PREFAULT_MAX)
        return failure_set(failure, -EINVAL, "prefault of %u pages: the most is %d",
                           config->prefault_pages, VM_PREFAULT_MAX);
    return 0;
}

static int
make_kvm(struct vm_host *host, struct failure *failure)
{
    return kvm_host_open(&host->kvm, failure);
}

static void
unmake_kvm(struct vm_host *host)
{
    kvm_host_close(&host->kvm);
}

static int
swap_error_set(const char *path, int error, struct failure *to)
{
    switch (-error) {
    case ENODEV:
        return failure_set(to, error,
                           "cannot swap to %s: neither a file nor a block device: give "
                           "--swap another",
                           path);
    case EBUSY:
        return failure_set(to, error,
                           "cannot swap to %s: in use: another VM swaps there, or the host has it "
                           "mounted: give --swap another, or unmount it",
                           path);
    default:
        return failure_set(to, error, "cannot swap to %s: %s: give --swap another", path,
                           limits_explain(error).text);
    }
}

static void
on_swap_loss(void *context, const char *line)
{
    const struct vm_host *host = context;

    if (host->config.warn != NULL)
        host->config.warn(host->config.warn_context, line);
}

/*
 * A file grows as it is used, up to what the frame store has pages for: more can never
 * be paged out.  A block device is as large as it is.
 */
static int
make_swap(struct vm_host *host, struct failure *failure)
{
    const char *path = host->config.swap;
    int error, whole;

    if (path == NULL)
        return 0;
    error = swap_device_open(path, VM_STORE_PAGES, &host->swap);
    if (error == -ENOSPC) {
        whole = swap_device_open(path, 0, &host->swap);
        if (whole != -EINVAL) /* else it is no small device: no file could be made */
            error = whole;
    }
    if (error != 0)
        return swap_error_set(path, error, failure);
    swap_device_on_loss(host->swap, on_swap_loss, host);
    return 0;
}

static void
unmake_swap(struct vm_host *host)
{
    if (host->swap != NULL)
        swap_device_close(host->swap);
}

static void
on_pageout_error(void *context, const char *message, int error)
{
    host_warn(context, message, error);
}

static int
make_system(struct vm_host *host, struct failure *failure)
{
    const struct vm_system_config config = {
        .store_pages = VM_STORE_PAGES,
        .ram_budget = (host->config.ram_budget + PAGE_MASK) >> PAGE_SHIFT,
    };
    int error;

    error = vm_system_init(&host->sys, &config);
    if (error != 0)
        return failure_set(failure, error, "cannot make the frame store: %s",
                           limits_explain(error).text);
    host->sys.tunables.fast_fault = host->config.fast_fault;
    host->sys.tunables.superpages = host->config.superpages;
    host->sys.tunables.prefault_pages = host->config.prefault_pages;
    host->sys.pageout_error = on_pageout_error;
    host->sys.pageout_error_context = host;
    if (host->swap != NULL)
        swap_device_attach(host->swap, &host->sys);
    return 0;
}

static void
unmake_system(struct vm_host *host)
{
    vm_system_fini(&host->sys);
}

static int
make_pageout(struct vm_host *host, struct failure *failure)
{
    int error = pageout_thread_start(&host->sys, host->config.sandbox, &host->pageout);

    if (error != 0)
        return failure_set(failure, error, "cannot start the page-out thread: %s",
                           limits_explain_thread(error).text);
    return 0;
}

static void
unmake_pageout(struct vm_host *host)
{
    pageout_thread_stop(&host->pageout);
}

/* Without filters the VMs run all the same, which is said. */
static int
make_sandbox(struct vm_host *host, struct failure *failure)
{
    (void)failure;
    if (!host->config.sandbox || sandbox_prepare(&host->sandbox_failure) == 0)
        return 0;
    host->config.sandbox = false;
    host_warn(host, host->sandbox_failure.message, 0);
    return 0;
}

static void
unmake_sandbox(struct vm_host *host)
{
    (void)host;
}

/* The parts in the order they are made; they go in the reverse order. */
static const struct vm_host_part {
    int (*make)(struct vm_host *host, struct failure *failure);
    void (*unmake)(struct vm_host *host);
} vm_host_parts[] = {
    { make_sandbox, unmake_sandbox }, { make_kvm, unmake_kvm },         { make_swap, unmake_swap },
    { make_system, unmake_system },   { make_pageout, unmake_pageout },
};
#define VM_HOST_PARTS (sizeof(vm_host_parts) / sizeof(vm_host_parts[0]))

static void
unmake_first(struct vm_host *host, size_t nparts)
{
    while (nparts-- != 0)
        vm_host_parts[nparts].unmake(host);
}

static int
make_parts(struct vm_host *host, struct failure *failure)
{
    for (size_t i = 0; i < VM_HOST_PARTS; i++) {
        int error = vm_host_parts[i].make(host, failure);

        if (error != 0) {
            unmake_first(host, i);
            return error;
        }
    }
    return 0;
}

int
vm_host_create(const struct vm_host_config *config, struct vm_host **hostp, struct failure *failure)
{
    struct vm_host *host;
    int error;

    error = check_config(config, failure);
    if (error != 0)
        return error;
    host = calloc(1, sizeof(*host));
    if (host == NULL)
        return failure_set(failure, -ENOMEM, "cannot prepare for VMs: %s", strerror(ENOMEM));
    host->config = *config;
    vm_trace_host_init(host);
    error = make_parts(host, failure);
    if (error != 0) {
        vm_trace_host_fini(host);
        free(host);
        return error;
    }
    *hostp = host;
    return 0;
}

void
vm_host_destroy(struct vm_host *host)
{
    assert(atomic_load(&host->nvms) == 0);
    unmake_first(host, VM_HOST_PARTS);
    vm_trace_host_fini(host);
    free(host);
}
