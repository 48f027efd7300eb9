/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a VM.
 *
 * vm_run's own thread starts the fault threads and the vCPU threads, waits for
 * the end, a signal or the timeout, and joins everybody.  The end comes from any
 * thread by vm_end, which does all that lets the others notice: it makes the
 * windows inaccessible (a vCPU that waits for a page wakes with EFAULT), kicks
 * the vCPUs, wakes halted ones and vm_run.
 */
#include "vmm/vm.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/pager/swap_pager.h"
#include "vmm/vm_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* Slots of the frame store: 1 TiB, all holes. */
#define VM_STORE_PAGES ((uint64_t)1 << 28)

static uint64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- making --------------------------------------------------------------- */

static int
check_place(const char *what, unsigned index, uint64_t start, uint64_t size,
            struct host_error *error)
{
    if (size == 0 || ((start | size) & PAGE_MASK) != 0)
        return host_error_set(error, -EINVAL, "%s %u: start and size must be whole pages", what,
                              index);
    if (start < VKVM_WINDOW_BASE || start >= VKVM_WINDOW_END || size > VKVM_WINDOW_END - start)
        return host_error_set(error, -EINVAL,
                              "%s %u: it must lie in guest addresses 0x%" PRIx64 " to 0x%" PRIx64,
                              what, index, VKVM_WINDOW_BASE, VKVM_WINDOW_END);
    return 0;
}

static int
check_window(const struct vm_window_config *window, unsigned index, struct host_error *error)
{
    int ret = check_place("window", index, gpa_to_u64(window->start), window->size, error);

    if (ret != 0)
        return ret;
    if (window->format == NULL)
        return host_error_set(error, -EINVAL, "window %u: no table format", index);
    return 0;
}

static int
check_config(const struct vm_config *config, struct host_error *error)
{
    unsigned i;
    int ret = 0;

    if (config->memory_size == 0 || (config->memory_size & PAGE_MASK) != 0)
        return host_error_set(error, -EINVAL, "memory size %" PRIu64 " is not whole pages",
                              config->memory_size);
    if (config->memory_size > VKVM_WINDOW_BASE)
        return host_error_set(error, -EINVAL,
                              "memory size %" PRIu64 " is too large: the most is %" PRIu64,
                              config->memory_size, VKVM_WINDOW_BASE);
    if (config->nvcpus == 0 || config->nvcpus > VM_MAX_VCPUS)
        return host_error_set(error, -EINVAL, "%u vCPUs: choose 1 to %d", config->nvcpus,
                              VM_MAX_VCPUS);
    if (config->ram_budget != 0 && config->ram_budget < VM_RAM_BUDGET_MIN * PAGE_SIZE)
        return host_error_set(error, -EINVAL,
                              "RAM budget of %" PRIu64 " bytes: the least is %" PRIu64,
                              config->ram_budget, VM_RAM_BUDGET_MIN * PAGE_SIZE);
    if (config->nwindows > VM_MAX_WINDOWS)
        return host_error_set(error, -EINVAL, "%u windows: the most is %d", config->nwindows,
                              VM_MAX_WINDOWS);
    if (config->nfiles > VM_MAX_FILES)
        return host_error_set(error, -EINVAL, "%u files: the most is %d", config->nfiles,
                              VM_MAX_FILES);
    if (config->prefault_pages > VM_PREFAULT_MAX)
        return host_error_set(error, -EINVAL, "prefault of %u pages: the most is %d",
                              config->prefault_pages, VM_PREFAULT_MAX);
    for (i = 0; i < config->nwindows && ret == 0; i++)
        ret = check_window(&config->windows[i], i, error);
    for (i = 0; i < config->nfiles && ret == 0; i++)
        ret = check_place("file", i, gpa_to_u64(config->files[i].start), config->files[i].size,
                          error);
    return ret;
}

static int
open_host(struct vm *vm, struct host_error *error)
{
    int ret;

    ret = kvm_host_open(&vm->host, error);
    if (ret != 0)
        return ret;
    if (vm->config.nvcpus <= vm->host.max_vcpus)
        return 0;
    ret = host_error_set(error, -EINVAL, "%u vCPUs: KVM allows %u here", vm->config.nvcpus,
                         vm->host.max_vcpus);
    kvm_host_close(&vm->host);
    return ret;
}

static int
swap_error_set(const char *path, int error, struct host_error *to)
{
    switch (-error) {
    case ENODEV:
        return host_error_set(to, error, "cannot swap to %s: neither a file nor a block device",
                              path);
    case EBUSY:
        return host_error_set(to, error, "cannot swap to %s: another VM does: give it its own",
                              path);
    default:
        return host_error_set(to, error, "cannot swap to %s: %s", path, strerror(-error));
    }
}

/*
 * A file grows as it is used, up to what the frame store has pages for: more can never
 * be paged out.  A block device is as large as it is.
 */
static int
make_swap(struct vm *vm, struct host_error *error)
{
    const char *path = vm->config.swap;
    int ret;

    if (path == NULL)
        return 0;
    ret = swap_device_open(path, VM_STORE_PAGES, &vm->swap);
    if (ret == -ENOSPC)
        ret = swap_device_open(path, 0, &vm->swap);
    return ret == 0 ? 0 : swap_error_set(path, ret, error);
}

static void
unmake_swap(struct vm *vm)
{
    if (vm->swap != NULL)
        swap_device_close(vm->swap);
}

static void
on_pageout_error(void *context, const char *message)
{
    struct vm *vm = context;

    if (vm->config.warn != NULL && !vm->lost_told &&
        atomic_exchange(&vm->warned, message) != message)
        vm->config.warn(vm->config.warn_context, message);
}

static int
make_system(struct vm *vm, struct host_error *error)
{
    const struct vm_system_config config = {
        .store_pages = VM_STORE_PAGES,
        .ram_budget = (vm->config.ram_budget + PAGE_MASK) >> PAGE_SHIFT,
    };
    int ret;

    ret = vm_system_init(&vm->sys, &config);
    if (ret != 0)
        return host_error_set(error, ret, "cannot make the frame store: %s", strerror(-ret));
    vm->sys.tunables.fast_fault = vm->config.fast_fault;
    vm->sys.tunables.prefault_pages = vm->config.prefault_pages;
    vm->sys.pageout_error = on_pageout_error;
    vm->sys.pageout_error_context = vm;
    if (vm->swap != NULL)
        swap_device_attach(vm->swap, &vm->sys);
    return 0;
}

static int
make_kpmap(struct vm *vm, struct host_error *error)
{
    int ret;

    ret = kvm_pmap_create(&vm->host, &vm->sys, &vm->kpmap);
    if (ret != 0)
        return host_error_set(error, ret, "cannot make the address space of the windows: %s",
                              strerror(-ret));
    return 0;
}

static int
make_pmap(struct vm *vm, struct host_error *error)
{
    int ret;

    ret = pmap_init(&vm->pmap, &vm->sys, &kvm_pmap_ops, vm->kpmap);
    if (ret != 0)
        return host_error_set(error, ret, "cannot make the physical map: %s", strerror(-ret));
    return 0;
}

static int
make_ram(struct vm *vm, struct host_error *error)
{
    int ret;

    vm_map_init(&vm->map, &vm->sys, &vm->pmap);
    ret = vm_object_create_default(&vm->sys, vm->config.memory_size >> PAGE_SHIFT, &vm->ram);
    if (ret != 0) {
        vm_map_fini(&vm->map);
        return host_error_set(error, ret, "cannot make %" PRIu64 " bytes of guest memory: %s",
                              vm->config.memory_size, strerror(-ret));
    }
    return 0;
}

/* Map all of RAM's object somewhere; the map counts a reference of its own. */
static int
map_ram(struct vm *vm, struct vm_map_insert *args)
{
    int ret;

    args->object = vm->ram;
    args->max_protection = VM_PROT_ALL;
    vm_object_ref(vm->ram);
    ret = vm_map_insert(&vm->map, args);
    if (ret != 0)
        vm_object_unref(vm->ram);
    return ret;
}

static int
map_window(struct vm *vm, unsigned index, struct host_error *error)
{
    const struct vm_window_config *window = &vm->config.windows[index];
    struct vm_map_insert args = {
        .start = window->start,
        .end = gpa_add(window->start, window->size),
        .maptype = VM_MAPTYPE_VPAGETABLE,
        .format = window->format,
        .root = window->root,
        .protection = window->protection,
    };
    int ret;

    ret = map_ram(vm, &args);
    if (ret == 0)
        ret = vmspaces_add_window(&vm->spaces, args.start, args.end, false);
    if (ret != 0)
        return host_error_set(error, ret, "cannot map window %u at guest address 0x%" PRIx64 ": %s",
                              index, gpa_to_u64(window->start), strerror(-ret));
    return 0;
}

static int
map_memory(struct vm *vm, struct host_error *error)
{
    struct vm_map_insert args = {
        .end = gpa_from_u64(vm->config.memory_size),
        .maptype = VM_MAPTYPE_NORMAL,
        .protection = VM_PROT_ALL,
    };
    unsigned i;
    int ret;

    ret = map_ram(vm, &args);
    if (ret != 0)
        return host_error_set(error, ret, "cannot map guest memory: %s", strerror(-ret));
    for (i = 0; i < vm->config.nwindows && ret == 0; i++)
        ret = map_window(vm, i, error);
    if (ret == 0)
        ret = arch_boot_prepare(&vm->map, vm->config.memory_size, error);
    return ret;
}

static void
destroy_vcpus(struct vm *vm)
{
    unsigned i;

    for (i = 0; i < vm->config.nvcpus; i++)
        vcpu_destroy(&vm->vcpus[i]);
    free(vm->vcpus);
}

static int
make_vcpus(struct vm *vm, struct host_error *error)
{
    unsigned i;
    int ret = 0;

    vm->vcpus = calloc(vm->config.nvcpus, sizeof(*vm->vcpus));
    if (vm->vcpus == NULL)
        return host_error_set(error, -ENOMEM, "cannot make %u vCPUs: %s", vm->config.nvcpus,
                              strerror(ENOMEM));
    vm->shared.host = &vm->host;
    for (i = 0; i < vm->config.nvcpus; i++)
        vm->vcpus[i].fd = -1;
    for (i = 0; i < vm->config.nvcpus && ret == 0; i++)
        ret = vcpu_create(&vm->shared, i, &vm->vcpus[i], error);
    if (ret != 0)
        destroy_vcpus(vm);
    return ret;
}

static int
make_rest(struct vm *vm, struct host_error *error)
{
    int ret;

    vm->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (vm->ended_fd < 0) {
        ret = -errno;
        return host_error_set(error, ret, "cannot make an eventfd: %s", strerror(-ret));
    }
    console_init(&vm->console, STDIN_FILENO, STDOUT_FILENO);
    vm_mutex_init(&vm->spaces_lock);
    vm_mutex_init(&vm->end_lock);
    vm_cond_init(&vm->end_cond);
    return 0;
}

static void
unmake_rest(struct vm *vm)
{
    vmspaces_free(&vm->spaces);
    vm_cond_fini(&vm->end_cond);
    vm_mutex_fini(&vm->end_lock);
    vm_mutex_fini(&vm->spaces_lock);
    console_fini(&vm->console);
    close(vm->ended_fd);
}

static void
unmake_ram(struct vm *vm)
{
    vm_map_fini(&vm->map);
    vm_object_unref(vm->ram);
}

static int
make_memory(struct vm *vm, struct host_error *error)
{
    int ret;

    ret = make_ram(vm, error);
    if (ret != 0)
        return ret;
    ret = map_memory(vm, error);
    if (ret != 0)
        unmake_ram(vm);
    return ret;
}

static int
make_files(struct vm *vm, struct host_error *error)
{
    int ret;

    ret = file_maps_init(&vm->files, &vm->map, vm->config.files, vm->config.nfiles, error);
    for (unsigned i = 0; i < vm->config.nfiles && ret == 0; i++) {
        const struct vm_file_config *file = &vm->config.files[i];

        ret = vmspaces_add_window(&vm->spaces, file->start, gpa_add(file->start, file->size), true);
        if (ret != 0)
            (void)host_error_set(error, ret, "cannot map files: %s", strerror(-ret));
    }
    if (ret != 0)
        file_maps_fini(&vm->files);
    return ret;
}

static void
unmake_files(struct vm *vm)
{
    file_maps_fini(&vm->files);
}

static void
unmake_kpmap(struct vm *vm)
{
    kvm_pmap_destroy(vm->kpmap);
}

static void
unmake_pmap(struct vm *vm)
{
    pmap_fini(&vm->pmap);
}

static void
unmake_system(struct vm *vm)
{
    vm_system_fini(&vm->sys);
}

static void
unmake_host(struct vm *vm)
{
    kvm_host_close(&vm->host);
}

/* The parts of a VM in the order they are made; they go in the reverse order. */
static const struct vm_part {
    int (*make)(struct vm *vm, struct host_error *error);
    void (*unmake)(struct vm *vm);
} vm_parts[] = {
    { make_rest, unmake_rest },     { open_host, unmake_host },   { make_swap, unmake_swap },
    { make_system, unmake_system }, { make_kpmap, unmake_kpmap }, { make_pmap, unmake_pmap },
    { make_memory, unmake_ram },    { make_files, unmake_files }, { make_vcpus, destroy_vcpus },
};
#define VM_PARTS (sizeof(vm_parts) / sizeof(vm_parts[0]))

static void
unmake_parts(struct vm *vm, size_t nparts)
{
    while (nparts-- != 0)
        vm_parts[nparts].unmake(vm);
    free(vm);
}

int
vm_create(const struct vm_config *config, struct vm **vmp, struct host_error *error)
{
    uint64_t started = now_ns();
    struct vm *vm;
    size_t i;
    int ret;

    ret = check_config(config, error);
    if (ret != 0)
        return ret;
    vm = calloc(1, sizeof(*vm));
    if (vm == NULL)
        return host_error_set(error, -ENOMEM, "cannot make a VM: %s", strerror(ENOMEM));
    vm->config = *config;
    for (i = 0; i < VM_PARTS; i++) {
        ret = vm_parts[i].make(vm, error);
        if (ret != 0) {
            unmake_parts(vm, i);
            return ret;
        }
    }
    vm->create_ns = now_ns() - started;
    *vmp = vm;
    return 0;
}

void
vm_destroy(struct vm *vm)
{
    unmake_parts(vm, VM_PARTS);
}

struct vm_map *
vm_map_of(struct vm *vm)
{
    return &vm->map;
}

/* --- ending --------------------------------------------------------------- */

/* Record the outcome; false when somebody else was first. */
static bool
set_outcome(struct vm *vm, enum vm_end end, int status, const char *format, va_list ap)
{
    bool first;

    vm_mutex_lock(&vm->end_lock);
    first = !vcpu_vm_is_ending(&vm->shared);
    if (first) {
        vm->outcome.end = end;
        vm->outcome.status = status;
        vsnprintf(vm->outcome.message, sizeof(vm->outcome.message), format, ap);
        atomic_store(&vm->shared.ending, true);
        vm_cond_broadcast(&vm->end_cond);
    }
    vm_mutex_unlock(&vm->end_lock);
    return first;
}

void
vm_end(struct vm *vm, enum vm_end end, int status, const char *format, ...)
{
    const uint64_t one = 1;
    va_list ap;
    bool first;
    unsigned i;

    va_start(ap, format);
    first = set_outcome(vm, end, status, format, ap);
    va_end(ap);
    if (!first)
        return;
    kvm_pmap_abort(vm->kpmap);
    for (i = 0; i < vm->config.nvcpus; i++)
        vcpu_kick(&vm->vcpus[i]);
    if (write(vm->ended_fd, &one, sizeof(one)) < 0)
        assert(errno == EAGAIN);
}

/* --- what the vCPUs ask for ------------------------------------------------ */

static int
on_doorbell(void *context, struct vcpu *vcpu)
{
    return doorbell_call(context, vcpu);
}

static void
on_console_write(void *context, const void *bytes, size_t size)
{
    struct vm *vm = context;
    int ret;

    ret = console_write(&vm->console, bytes, size, &vm->shared.ending);
    if (ret != 0 && ret != -ECANCELED)
        vm_end(vm, VM_END_FAILED, 0, "cannot write standard output: %s", strerror(-ret));
}

static uint8_t
on_console_read(void *context)
{
    struct vm *vm = context;

    return console_read(&vm->console);
}

static void
on_vcpu_end(void *context, bool crashed, const char *message)
{
    vm_end(context, crashed ? VM_END_CRASHED : VM_END_FAILED, 0, "%s", message);
}

/* Nothing interrupts a vCPU (there is no interrupt controller), so HLT is for ever. */
static void
on_halt(void *context, struct vcpu *vcpu)
{
    struct vm *vm = context;
    char where[128];

    if (atomic_fetch_add(&vm->nhalted, 1) + 1 == vm->config.nvcpus) {
        arch_vcpu_describe(&vcpu->arch, where, sizeof(where));
        vm_end(vm, VM_END_CRASHED, 0, "all vCPUs halted; the last was vCPU %u: %s", vcpu->index,
               where);
    }
    vm_mutex_lock(&vm->end_lock);
    while (!vcpu_vm_is_ending(&vm->shared))
        vm_cond_wait(&vm->end_cond, &vm->end_lock);
    vm_mutex_unlock(&vm->end_lock);
}

static const struct vcpu_ops vm_vcpu_ops = {
    .doorbell = on_doorbell,
    .console_write = on_console_write,
    .console_read = on_console_read,
    .halt = on_halt,
    .end = on_vcpu_end,
};

/* --- running -------------------------------------------------------------- */

/* What vm_run waits for besides the end. */
struct watch {
    sigset_t signals;    /* those that are received here instead of delivered */
    sigset_t saved_mask; /* the thread's mask before */
    int signal_fd;       /* owned */
    int timer_fd;        /* owned; -1 = no timeout */
};

/* Block the signals that would end or stop the process, but for those it was told to ignore. */
static void
block_signals(struct watch *watch)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
    struct sigaction action;
    sigset_t blocked;
    size_t i;

    sigemptyset(&watch->signals);
    for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&watch->signals, signals[i]);
    }
    /* SIGPIPE: write says EPIPE instead. */
    blocked = watch->signals;
    sigaddset(&blocked, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &blocked, &watch->saved_mask);
}

/* Forget what arrived too late to matter, so that it does not end the process now. */
static void
unblock_signals(struct watch *watch)
{
    const struct timespec now = { 0 };
    sigset_t pipe;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    while (sigtimedwait(&watch->signals, NULL, &now) > 0 || sigtimedwait(&pipe, NULL, &now) > 0)
        continue;
    (void)pthread_sigmask(SIG_SETMASK, &watch->saved_mask, NULL);
}

static int
start_timer(unsigned timeout_ms, int *fdp)
{
    const struct itimerspec when = {
        .it_value = { .tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L },
    };
    int fd, ret;

    *fdp = -1;
    if (timeout_ms == 0)
        return 0;
    fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (timerfd_settime(fd, 0, &when, NULL) != 0) {
        ret = -errno;
        close(fd);
        return ret;
    }
    *fdp = fd;
    return 0;
}

static int
watch_start(struct watch *watch, unsigned timeout_ms)
{
    int ret;

    block_signals(watch);
    watch->timer_fd = -1;
    watch->signal_fd = signalfd(-1, &watch->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (watch->signal_fd < 0)
        return -errno;
    ret = start_timer(timeout_ms, &watch->timer_fd);
    return ret;
}

static void
watch_stop(struct watch *watch)
{
    if (watch->timer_fd >= 0)
        close(watch->timer_fd);
    if (watch->signal_fd >= 0)
        close(watch->signal_fd);
    unblock_signals(watch);
}

/* Ctrl-Z: the terminal is the shell's while the process is stopped. */
static void
stop_process(struct vm *vm)
{
    console_restore(&vm->console);
    (void)raise(SIGSTOP);
    console_raw(&vm->console);
}

static void
take_signal(struct vm *vm, const struct watch *watch)
{
    struct signalfd_siginfo info;

    if (read(watch->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGTSTP)
        stop_process(vm);
    else
        vm_end(vm, VM_END_INTERRUPTED, (int)info.ssi_signo, "ended by signal %u (%s)",
               info.ssi_signo, strsignal((int)info.ssi_signo));
}

static void
wait_for_end(struct vm *vm, const struct watch *watch)
{
    struct pollfd fds[] = {
        { .fd = vm->ended_fd, .events = POLLIN },
        { .fd = watch->signal_fd, .events = POLLIN },
        { .fd = watch->timer_fd, .events = POLLIN },
    };

    while ((fds[0].revents & POLLIN) == 0) {
        if (poll(fds, sizeof(fds) / sizeof(fds[0]), -1) < 0) {
            if (errno != EINTR)
                vm_end(vm, VM_END_FAILED, 0, "poll: %s", strerror(errno));
            continue;
        }
        if ((fds[1].revents & POLLIN) != 0)
            take_signal(vm, watch);
        if ((fds[2].revents & POLLIN) != 0)
            vm_end(vm, VM_END_TIMEOUT, 0, "not done after %u ms: give it more time by --timeout",
                   vm->config.timeout_ms);
    }
}

static void
on_fatal(void *context, const char *message)
{
    vm_end(context, VM_END_FAILED, 0, "%s", message);
}

static void
on_suspect(void *context, unsigned index, gpa_t gpa)
{
    struct vm *vm = context;

    vcpu_request_check(&vm->vcpus[index], gpa);
}

static int
start_service(struct vm *vm)
{
    const struct fault_service_config config = {
        .host = &vm->host,
        .map = &vm->map,
        .kpmap = vm->kpmap,
        .nvcpus = vm->config.nvcpus,
        .nthreads = vm->config.fault_threads,
        .placement = vm->config.placement,
        .fatal = on_fatal,
        .suspect = on_suspect,
        .context = vm,
    };

    return fault_service_start(&config, &vm->shared.service);
}

/* The threads that serve the vCPUs. */
static int
start_servers(struct vm *vm)
{
    int ret;

    ret = pageout_thread_start(&vm->sys, &vm->pageout);
    if (ret != 0)
        return ret;
    ret = start_service(vm);
    if (ret != 0)
        pageout_thread_stop(&vm->pageout);
    return ret;
}

static void
stop_servers(struct vm *vm)
{
    fault_service_report(vm->shared.service, &vm->faults);
    fault_service_stop(vm->shared.service);
    vm->shared.service = NULL;
    pageout_thread_stop(&vm->pageout);
}

static void
run_vcpus(struct vm *vm, const struct watch *watch)
{
    uint64_t started = now_ns();
    unsigned i;
    int ret = 0;

    console_raw(&vm->console);
    for (i = 0; i < vm->config.nvcpus && ret == 0; i++)
        ret = vcpu_start(&vm->vcpus[i]);
    if (ret != 0)
        vm_end(vm, VM_END_FAILED, 0, "cannot start a vCPU thread: %s", strerror(-ret));
    wait_for_end(vm, watch);
    for (i = 0; i < vm->config.nvcpus; i++)
        vcpu_join(&vm->vcpus[i]);
    console_restore(&vm->console);
    vm->run_ns = now_ns() - started;
}

/* No thread of the VM runs any more. */
static void
write_files_back(struct vm *vm)
{
    struct vm_outcome *outcome = &vm->outcome;
    const struct vm_file_config *file;
    int ret;

    ret = file_maps_sync_all(&vm->files, &file);
    if (ret == 0)
        return;
    if (outcome->end == VM_END_GUEST) {
        outcome->end = VM_END_FAILED;
        snprintf(outcome->message, sizeof(outcome->message),
                 "cannot write back %.*s: %s: modified pages are lost",
                 (int)(file->path_size > 128 ? 128 : file->path_size), file->path, strerror(-ret));
    } else {
        on_pageout_error(vm, "modified pages of a mapped file could not be written back");
    }
    vm->lost_told = true;
}

void
vm_run(struct vm *vm, gpa_t entry, gpa_t fdt, struct vm_outcome *outcome)
{
    struct watch watch;
    int ret;

    vm->shared.map = &vm->map;
    vm->shared.entry = entry;
    vm->shared.fdt = fdt;
    vm->shared.ops = &vm_vcpu_ops;
    vm->shared.context = vm;
    vcpu_signal_setup();
    ret = watch_start(&watch, vm->config.timeout_ms);
    if (ret == 0)
        ret = start_servers(vm);
    if (ret == 0) {
        run_vcpus(vm, &watch);
        stop_servers(vm);
        write_files_back(vm);
    } else {
        vm_end(vm, VM_END_FAILED, 0, "cannot start: %s", strerror(-ret));
    }
    watch_stop(&watch);
    *outcome = vm->outcome;
}

/* --- reporting ------------------------------------------------------------ */

static void
add_counters(const struct vcpu_counters *counters, struct vm_report *report)
{
    report->exits_doorbell += counters->doorbell;
    report->exits_console += counters->console;
    report->exits_mmio += counters->mmio;
    report->exits_efault += counters->efault;
    report->exceptions_pf += counters->exceptions_pf;
    report->exceptions_ve += counters->exceptions_ve;
}

void
vm_report_get(struct vm *vm, struct vm_report *report)
{
    unsigned i = 0;

    memset(report, 0, sizeof(*report));
    report->run_ns = vm->run_ns;
    report->create_ns = vm->create_ns;
    report->memory_size = vm->config.memory_size;
    report->resident_pages = atomic_load(&vm->sys.resident_pages);
    report->mapped_pages = atomic_load(&vm->pmap.mapped_pages);
    report->ram_budget = vm->sys.ram_budget == UINT64_MAX ? 0 : vm->sys.ram_budget;
    if (vm->swap != NULL) {
        report->swap_pages = swap_device_pages(vm->swap);
        report->swap_used = swap_device_used(vm->swap);
    }
    report->nvcpus = vm->config.nvcpus;
#define COPY_METER(name, text) report->meter[i++] = atomic_load(&vm->sys.meter.name);
    VM_METER_FIELDS(COPY_METER)
#undef COPY_METER
    for (i = 0; i < vm->config.nvcpus; i++)
        add_counters(&vm->vcpus[i].counters, report);
    report->faults = vm->faults;
    kvm_pmap_statistics(vm->kpmap, &report->pmap);
}
