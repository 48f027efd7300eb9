/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault threads.
 *
 * A message means: a vCPU (or a thread of the monitor that KVM or the kernel
 * made touch a window) sleeps until somebody wakes its page.  Every message is
 * therefore answered in exactly one of these ways:
 *   mapped     vm_fault entered the page, which woke the sleeper
 *   failed     a failure is recorded for the vCPU, the page is made inaccessible
 *              and the sleeper woken: its KVM_RUN returns EFAULT
 *   repeated   the sleeper may have been woken meanwhile: wake it, it reports again
 *   fatal      the VM ends; kvm_pmap_abort wakes everybody
 *
 * Faults that wait: with fewer threads than vCPUs a fault that has to wait, for the pager, a page
 * or memory, would keep others waiting that only need zeros.  So a worker goes on with it
 * (vm_fault_resume), and the thread reads the next message.  The same becomes of what a fault
 * leaves to be done when its vCPU goes on already (vm_fault_end), as soon as there are two vCPUs.
 * Where no worker is to be had the thread does all that itself.
 *
 * Foreign messages, of threads that are no vCPU's: fault_foreign.h.
 *
 * Locks: each vCPU's record has its mutex (`failure`, fault_vcpu.h); each fault thread's report has
 * one (`thread`), and so has the report of the faults that waited (`report`), both innermost.  None
 * is held while a fault is resolved.
 */
#include "vmm/kvm/fault_service.h"

#include "vmm/base/clock.h"
#include "vmm/base/limits.h"
#include "vmm/base/workers.h"
#include "vmm/kvm/delay_line.h"
#include "vmm/kvm/fault_foreign.h"
#include "vmm/kvm/fault_placement.h"
#include "vmm/kvm/fault_reader.h"
#include "vmm/kvm/fault_vcpu.h"
#include "vmm/kvm/kvm_compat.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* A vCPU that failed comes back with EFAULT at once; one that has not after this long
 * was not waiting any more. */
#define FAILURE_EXPIRES_NS 20000000u

/* Entries of the delay line: enough for a zero-fill fault to end before its vCPU sleeps; what
 * others gave is in docs/hosts.md.  Each costs a fault some 20 ns. */
#define DELAY_LENGTH 192u

/* Workers for each vCPU: one for the fault it waits for, one for what the fault before left. */
#define WORKERS_PER_VCPU 2u

struct fault_thread {
    struct fault_service *service; /* (c) borrowed */
    unsigned index;                /* (c) */
    pthread_t thread;              /* (c) */
    _Atomic bool ending;           /* (a) */
    void *lane;                    /* (c) borrowed: the trace's */
    struct fault_reader reader;    /* the thread's own */
    struct vm_mutex lock;          /* thread: nobody but a reader of the report ever meets it */
    struct fault_report report;    /* thread: messages answered without waiting */
};

struct fault_service {
    struct fault_service_config config; /* (c) */
    int stop_fd;                        /* (c) owned: eventfd, readable when threads must look up */
    bool spin;                          /* (c) */
    struct delay_line delay;            /* (c) */
    _Atomic bool stop;                  /* (a) */
    _Atomic bool fatal_said;            /* (a) */
    _Atomic unsigned nfailing;          /* (a) vCPUs whose failure waits to be taken */
    _Atomic bool warned;                /* (a) of a worker that could not be made */
    struct fault_foreign foreign;       /* see there */
    struct fault_vcpu *vcpus;           /* (c) owned, config.nvcpus */
    unsigned nthreads;                  /* start's and stop's: threads made, or to be made */
    _Atomic bool few_threads;           /* (a) fewer than vCPUs */
    struct fault_thread *threads;       /* (c) owned, nthreads */
    struct workers *workers;            /* (c) owned */
    struct vm_mutex lock;               /* report */
    struct fault_report waited;         /* report: messages answered after waiting */
};

/* One message on its way to its answer. */
struct fault {
    struct fault_service *service; /* borrowed */
    struct fault_vcpu *vcpu;       /* borrowed; the foreign one: the thread is no vCPU's */
    unsigned number;               /* of the vCPU's message */
    gpa_t gpa;
    vm_prot_t access;
    uint64_t flags;             /* the message's */
    void *lane;                 /* the trace's, of the thread that has the fault now */
    uint64_t record;            /* the trace's number of it */
    bool unknown;               /* nobody knows which vCPU wants what */
    uint64_t read_at;           /* ns */
    uint64_t wakeups;           /* when it was read (kvm_pmap_wakeups) */
    enum vm_result result;      /* VM_RETRY: it has to wait */
    struct vm_fault_info info;  /* when it is over */
    struct vm_fault_rest *rest; /* owned; NULL: nothing is left to do */
};

static void __attribute__((format(printf, 2, 3)))
say_fatal(struct fault_service *service, const char *format, ...)
{
    char message[768];
    va_list ap;

    if (atomic_exchange(&service->fatal_said, true))
        return;
    va_start(ap, format);
    vsnprintf(message, sizeof(message), format, ap);
    va_end(ap);
    service->config.fatal(service->config.context, message);
}

/* --- vCPU records -------------------------------------------------------- */

static struct fault_vcpu *
vcpu_of_tid(struct fault_service *service, pid_t tid)
{
    for (unsigned i = 0; i < service->config.nvcpus; i++)
        if (atomic_load_explicit(&service->vcpus[i].tid, memory_order_relaxed) == tid)
            return &service->vcpus[i];
    return &service->foreign.record;
}

static bool
is_foreign(const struct fault *fault)
{
    return fault->vcpu == &fault->service->foreign.record;
}

/* The vCPU's fault was answered, by a mapping of that generation or FAULT_NO_MAPPING. */
static void
watch_progress(const struct fault *fault, gpa_t gpa, unsigned generation)
{
    struct fault_service *service = fault->service;

    if (!is_foreign(fault) && fault_vcpu_repeats(fault->vcpu, gpa, generation))
        service->config.suspect(service->config.context, (unsigned)(fault->vcpu - service->vcpus),
                                gpa);
}

/* Make a page accessible again that a failure kept from being so. */
static void
unfail(struct fault_service *service, gpa_t gpa)
{
    int error = kvm_pmap_unfail(service->config.kpmap, gpa);

    if (error != 0)
        say_fatal(service, "cannot make guest page 0x%llx accessible again: %s",
                  (unsigned long long)gpa_to_u64(gpa), limits_explain(error).text);
}

/* Take the recorded failure, if it is at least min_age_ns old, into *info. */
static bool
take_failure(struct fault_service *service, struct fault_vcpu *vcpu, uint64_t min_age_ns,
             struct vm_fault_info *info)
{
    bool taken = fault_vcpu_take(vcpu, min_age_ns, info);

    if (taken) {
        atomic_fetch_sub(&service->nfailing, 1);
        unfail(service, info->gpa);
    }
    return taken;
}

/* Kick the vCPUs that should have come for their failures. */
static void
kick_overdue(struct fault_service *service)
{
    if (atomic_load(&service->nfailing) == 0)
        return;
    for (unsigned i = 0; i < service->config.nvcpus; i++)
        if (fault_vcpu_overdue(&service->vcpus[i]))
            service->config.kick(service->config.context, i);
}

/* --- one message --------------------------------------------------------- */

enum answer {
    ANSWER_RESOLVED,
    ANSWER_FAILED,
    ANSWER_REPEATED,
    ANSWER_FATAL
};

static enum answer
answer_host_failure(struct fault_service *service, const struct vm_fault_info *info)
{
    say_fatal(service, "%s of guest address 0x%llx: %s: %s", vm_access_name(info->access),
              (unsigned long long)gpa_to_u64(info->gpa),
              info->cause != NULL ? info->cause : "host failure",
              limits_explain_cause(info->cause, info->error).text);
    return ANSWER_FATAL;
}

/*
 * The access is the guest's to see: hand it to the vCPU.  A record from before is stale: the vCPU
 * has reported a fault since, so it did not take that one.
 */
static enum answer
answer_failure(const struct fault *fault)
{
    struct fault_service *service = fault->service;
    const struct vm_fault_info *info = &fault->info;
    unsigned long long gpa = gpa_to_u64(info->gpa);
    struct vm_fault_info stale;
    int error;

    if (is_foreign(fault) && !service->config.foreign) {
        say_fatal(service, "%s of guest address 0x%llx by a thread that is no vCPU: %s",
                  vm_access_name(info->access), gpa, vm_result_name(info->result));
        return ANSWER_FATAL;
    }
    (void)take_failure(service, fault->vcpu, 0, &stale);
    error =
        fault_vcpu_fail(fault->vcpu, service->config.kpmap, fault->number, info, fault->wakeups);
    if (error == 0) {
        atomic_fetch_add(&service->nfailing, 1);
        return ANSWER_FAILED;
    }
    if (error == -ESTALE)
        pmap_wake(service->config.map->pmap, info->gpa);
    if (error == -ESTALE || error == -EAGAIN) {
        watch_progress(fault, info->gpa, FAULT_NO_MAPPING);
        return ANSWER_REPEATED;
    }
    say_fatal(service, "cannot make the access to guest address 0x%llx fail: %s", gpa,
              limits_explain(error).text);
    return ANSWER_FATAL;
}

static enum answer
answer(const struct fault *fault)
{
    if (fault->result == VM_HOST_FAILURE)
        return answer_host_failure(fault->service, &fault->info);
    if (fault->result != VM_OK)
        return answer_failure(fault);
    watch_progress(fault, fault->gpa, fault->info.generation);
    return ANSWER_RESOLVED;
}

static void
count_message(struct fault_report *report, const struct fault *fault, enum answer answer)
{
    fault_report_count(report, fault_arrival(fault->flags));
    report->foreign += is_foreign(fault);
    report->resolved += answer == ANSWER_RESOLVED;
    report->failed += answer == ANSWER_FAILED && !fault->unknown;
    histogram_add(&report->latency, clock_now_ns() - fault->read_at);
}

/* --- faults that wait ---------------------------------------------------- */

/*
 * A failure was recorded by who does not look afterwards whether the vCPU comes for it: a worker,
 * or a fault thread that has more to do.  The fault threads may all sleep, and not look either.
 * A foreign one is nobody's in particular: whoever needs the page faults there.
 */
static void
kick_failed(const struct fault *fault)
{
    struct fault_service *service = fault->service;

    if (is_foreign(fault))
        return;
    service->config.kick(service->config.context, (unsigned)(fault->vcpu - service->vcpus));
}

/* Whose fault it is, for a trace. */
static struct vm_fault_origin
origin_of(struct fault *fault)
{
    struct vm_fault_origin origin = {
        .who = is_foreign(fault) ? VM_FAULT_BY_KERNEL : VM_FAULT_BY_VCPU,
        .arrival = fault_arrival(fault->flags),
        .lane = fault->lane,
        .record = &fault->record,
        .begun = fault->read_at,
    };

    if (!is_foreign(fault))
        origin.number = (unsigned)(fault->vcpu - fault->service->vcpus);
    return origin;
}

/* The message has its answer: its vCPU may go on. */
static void
tell_answered(const struct fault *fault)
{
    const struct fault_service_config *config = &fault->service->config;

    if (config->answered != NULL && !is_foreign(fault))
        config->answered(config->context, (unsigned)(fault->vcpu - fault->service->vcpus),
                         fault->record);
}

/* What is left of a fault, its answer included if it has none yet. */
static void
finish(struct fault *fault)
{
    struct fault_service *service = fault->service;

    if (fault->result == VM_RETRY) {
        const struct vm_fault_origin origin = origin_of(fault);
        fault->result = vm_fault_resume(fault->rest, &origin, &fault->info);
        enum answer given = answer(fault);
        tell_answered(fault);
        if (given == ANSWER_FAILED)
            kick_failed(fault);
        vm_mutex_lock(&service->lock);
        count_message(&service->waited, fault, given);
        vm_mutex_unlock(&service->lock);
    }
    vm_fault_end(fault->rest);
}

static void
finish_elsewhere(void *argument)
{
    finish(argument);
    free(argument);
}

/* Would other vCPUs have to wait for what is left of the fault? */
static bool
keeps_others_waiting(const struct fault *fault)
{
    const struct fault_service *service = fault->service;

    return fault->result == VM_RETRY ? atomic_load(&service->few_threads)
                                     : service->config.nvcpus > 1;
}

/* Have a worker finish the fault.  Returns 0; -errno: it is the caller's still. */
static int
hand_over(const struct fault *fault)
{
    struct fault *copy = malloc(sizeof(*copy));
    int error = -ENOMEM;

    if (copy != NULL) {
        *copy = *fault;
        copy->lane = NULL;
        error = workers_begin(fault->service->workers, finish_elsewhere, copy);
        if (error != 0)
            free(copy);
    }
    return error;
}

/* A worker finishes the fault if it is worth it and there is one, else the calling thread. */
static void
finish_somewhere(struct fault *fault)
{
    struct fault_service *service = fault->service;
    int error;

    if (keeps_others_waiting(fault)) {
        error = hand_over(fault);
        if (error == 0)
            return;
        if (error != -EBUSY && error != -ECANCELED && !atomic_exchange(&service->warned, true))
            service->config.warn(service->config.context,
                                 "no thread for a fault that waits: others wait for it", error);
    }
    finish(fault);
}

/* Who sent the message, and what access it asks for. */
static void
identify(struct fault *fault, const struct uffd_msg *msg)
{
    struct fault_service *service = fault->service;
    uint64_t writes = UFFD_PAGEFAULT_FLAG_WP;

    fault->vcpu = vcpu_of_tid(service, (pid_t)msg->arg.pagefault.feat.ptid);
    fault->unknown = fault_foreign_is_unknown(&service->foreign, !is_foreign(fault));
    if (fault->unknown)
        fault->vcpu = &service->foreign.record;
    else
        writes |= UFFD_PAGEFAULT_FLAG_WRITE;
    fault->access = (fault->flags & writes) != 0 ? VM_PROT_WRITE : VM_PROT_READ;
    if (!is_foreign(fault))
        fault->number = atomic_fetch_add(&fault->vcpu->messages, 1) + 1;
}

/* Begin to resolve the fault, or refuse it. */
static void
start(struct fault *fault)
{
    const struct vm_fault_origin origin = origin_of(fault);

    fault->wakeups = kvm_pmap_wakeups(fault->service->config.kpmap, fault->gpa);
    if (fault->unknown && fault->access == VM_PROT_WRITE &&
        fault_foreign_refuses_write(&fault->service->foreign, fault->gpa)) {
        fault->result = VM_PROTECTION;
        fault->info = (struct vm_fault_info){ .result = VM_PROTECTION,
                                              .access = fault->access,
                                              .gpa = fault->gpa };
        return;
    }
    fault->result = vm_fault_start(fault->service->config.map, fault->gpa, fault->access,
                                   VM_FAULT_BURST, &origin, &fault->info, &fault->rest);
}

static void
count_answered(struct fault_thread *thread, const struct fault *fault, enum answer given)
{
    vm_mutex_lock(&thread->lock);
    count_message(&thread->report, fault, given);
    vm_mutex_unlock(&thread->lock);
}

static void
handle_message(struct fault_thread *thread, const struct uffd_msg *msg)
{
    struct fault_service *service = thread->service;
    struct fault fault = { .service = service,
                           .flags = msg->arg.pagefault.flags,
                           .lane = thread->lane,
                           .record = UINT64_MAX,
                           .read_at = clock_now_ns() };

    if (msg->event != UFFD_EVENT_PAGEFAULT)
        return; /* no other event was asked for */
    if (!kvm_pmap_gpa(service->config.kpmap, msg->arg.pagefault.address, &fault.gpa)) {
        say_fatal(service, "fault outside guest memory at host address 0x%llx",
                  (unsigned long long)msg->arg.pagefault.address);
        return;
    }
    identify(&fault, msg);
    if (service->config.asked != NULL && !is_foreign(&fault))
        service->config.asked(service->config.context, (unsigned)(fault.vcpu - service->vcpus),
                              fault.gpa, fault.access);
    start(&fault);
    if (fault.result != VM_RETRY) {
        count_answered(thread, &fault, answer(&fault));
        tell_answered(&fault);
    }
    if (fault.rest != NULL)
        finish_somewhere(&fault);
}

/* --- the threads --------------------------------------------------------- */

/* Serve until told to stop.  Returns 0 then, -errno if it cannot go on. */
static int
serve(struct fault_thread *thread)
{
    struct uffd_msg msg;

    while (!atomic_load_explicit(&thread->ending, memory_order_relaxed)) {
        int error = fault_reader_next(&thread->reader, &msg);
        kick_overdue(thread->service);
        if (error == 0)
            handle_message(thread, &msg);
        else if (error != -EAGAIN)
            return error;
    }
    return atomic_load(&thread->service->stop) ? 0 : -ECANCELED;
}

static void *
thread_main(void *argument)
{
    struct fault_thread *thread = argument;
    const struct fault_service_config *config = &thread->service->config;
    int error;

    if (config->begins != NULL)
        config->begins(config->context);
    error = serve(thread);
    if (error != 0)
        say_fatal(thread->service, "fault thread %u ended: %s", thread->index,
                  limits_explain(error).text);
    return NULL;
}

/* Make every thread look at its flags. */
static void
look_up(struct fault_service *service)
{
    uint64_t one = 1;

    if (write(service->stop_fd, &one, sizeof(one)) < 0)
        assert(errno == EAGAIN); /* the counter is full: readable all the same */
}

static void
join_threads(struct fault_service *service)
{
    atomic_store(&service->stop, true);
    for (unsigned i = 0; i < service->nthreads; i++)
        atomic_store(&service->threads[i].ending, true);
    look_up(service);
    for (unsigned i = 0; i < service->nthreads; i++)
        pthread_join(service->threads[i].thread, NULL);
}

static int
start_threads(struct fault_service *service)
{
    int error = 0;
    unsigned n = 0;

    while (n < service->nthreads && error == 0) {
        struct fault_thread *thread = &service->threads[n];
        error = pthread_create(&thread->thread, NULL, thread_main, thread);
        n += error == 0;
    }
    if (n == 0)
        return -error;
    if (error != 0) {
        service->nthreads = n;
        atomic_store(&service->few_threads, n < service->config.nvcpus);
        service->config.warn(service->config.context, "fewer fault threads than wanted", -error);
    }
    return 0;
}

static void
init_records(struct fault_service *service)
{
    vm_mutex_init(&service->lock);
    histogram_init(&service->waited.latency);
    fault_foreign_init(&service->foreign, service->config.foreign);
    for (unsigned i = 0; i < service->config.nvcpus; i++)
        fault_vcpu_init(&service->vcpus[i]);
    for (unsigned i = 0; i < service->nthreads; i++) {
        struct fault_thread *thread = &service->threads[i];
        thread->service = service;
        thread->index = i;
        if (service->config.lane != NULL)
            thread->lane = service->config.lane(service->config.context, i);
        fault_reader_init(&thread->reader, service->config.kvm->uffd, service->stop_fd,
                          service->spin, &thread->ending, &service->nfailing);
        histogram_init(&thread->report.latency);
        vm_mutex_init(&thread->lock);
    }
}

static void
service_free(struct fault_service *service)
{
    delay_line_fini(&service->delay);
    if (service->workers != NULL)
        workers_destroy(service->workers);
    if (service->stop_fd >= 0)
        close(service->stop_fd);
    free(service->threads);
    free(service->vcpus);
    free(service);
}

static int
service_alloc(const struct fault_service_config *config, struct fault_service **servicep)
{
    struct fault_service *service = calloc(1, sizeof(*service));
    unsigned cores = fault_placement_cores();
    int error;

    if (service == NULL)
        return -ENOMEM;
    service->config = *config;
    service->spin = fault_placement_spins(config, cores, fault_reader_look_ns(config->kvm->uffd));
    service->nthreads = fault_placement_nthreads(config, service->spin, cores);
    service->few_threads = service->nthreads < config->nvcpus;
    service->delay.epoll_fd = -1;
    service->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    error = service->stop_fd < 0 ? -errno : 0;
    service->vcpus = calloc(config->nvcpus, sizeof(service->vcpus[0]));
    service->threads = calloc(service->nthreads, sizeof(service->threads[0]));
    if (error == 0 && (service->vcpus == NULL || service->threads == NULL))
        error = -ENOMEM;
    if (error == 0)
        error = workers_create(WORKERS_PER_VCPU * config->nvcpus, &service->workers);
    if (error != 0)
        service_free(service);
    else
        *servicep = service;
    return error;
}

int
fault_service_start(const struct fault_service_config *config, struct fault_service **service)
{
    struct fault_service *made;
    int error = service_alloc(config, &made);

    if (error != 0)
        return error;
    init_records(made);
    delay_line_init(&made->delay, config->kvm->uffd, made->spin ? DELAY_LENGTH : 0);
    error = start_threads(made);
    if (error != 0) {
        service_free(made);
        return error;
    }
    *service = made;
    return 0;
}

void
fault_service_report(struct fault_service *service, struct fault_report *report)
{
    vm_mutex_lock(&service->lock);
    *report = service->waited;
    vm_mutex_unlock(&service->lock);
    for (unsigned i = 0; i < service->nthreads; i++) {
        struct fault_thread *thread = &service->threads[i];

        vm_mutex_lock(&thread->lock);
        fault_report_add(report, &thread->report);
        vm_mutex_unlock(&thread->lock);
    }
}

void
fault_service_stop(struct fault_service *service, struct fault_report *report)
{
    struct vm_fault_info info;

    join_threads(service);
    workers_destroy(service->workers);
    service->workers = NULL;
    for (unsigned i = 0; i < service->config.nvcpus; i++)
        (void)take_failure(service, &service->vcpus[i], 0, &info);
    (void)take_failure(service, &service->foreign.record, 0, &info);
    if (report != NULL)
        fault_service_report(service, report);
    service_free(service);
}

void
fault_service_attach(struct fault_service *service, unsigned index)
{
    atomic_store(&service->vcpus[index].tid, gettid());
}

bool
fault_service_take_failure(struct fault_service *service, unsigned index,
                           struct vm_fault_info *info)
{
    struct vm_fault_info expired;

    if (take_failure(service, &service->vcpus[index], 0, info))
        return true;
    for (unsigned i = 0; i < service->config.nvcpus; i++)
        (void)take_failure(service, &service->vcpus[i], FAILURE_EXPIRES_NS, &expired);
    return false;
}

bool
fault_service_take_foreign(struct fault_service *service)
{
    struct vm_fault_info info;

    return take_failure(service, &service->foreign.record, 0, &info);
}

void
fault_service_kill_thread(struct fault_service *service, unsigned index)
{
    atomic_store(&service->threads[index].ending, true);
    look_up(service);
}
