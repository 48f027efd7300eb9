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
 * Waiting: a thread spins on the userfaultfd for a short time after its last
 * message, then blocks.  The time grows while it pays off and shrinks while it
 * does not, so an idle guest costs one short spin per fault at most.
 *
 * Spinning: a message is seen in time if it is read before its sender has begun to
 * walk the delay line; a read that comes later waits for the end of that (the kernel
 * holds the wait queue's lock), and the sender sleeps.  Which of two ways sees more
 * of them in time depends on how long a cache line takes between the two
 * processors (docs/hosts.md):
 *   read, again and again      when they are near each other
 *   poll, and read what is     when they are not: poll takes none of the locks that
 *   there                      the sender needs
 * A thread goes over to the other way when too many were late.
 *
 * Locks: each vCPU's record has its mutex (R), before the pmap's F; each thread's
 * report has one (T), outermost.
 */
#include "vmm/kvm/fault_service.h"

#include "vmm/base/clock.h"
#include "vmm/base/limits.h"
#include "vmm/kvm/delay_line.h"
#include "vmm/kvm/kvm_compat.h"

#include <errno.h>
#include <poll.h>
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

/* Bounds of the time a thread spins.  The shortest is longer than a vCPU takes from being
 * woken to its next fault, so that a storm is noticed at its second fault. */
#define SPIN_MIN_NS 50000u
#define SPIN_MAX_NS 200000u

/* A look at the userfaultfd that took longer waited for the end of a delay line. */
#define LATE_NS 2000u

/* Messages after which a way of spinning is judged, and how many of them may be late. */
#define SPIN_JUDGED 64u
#define SPIN_LATE_MAX 16u

/* Entries of the delay line: enough for a zero-fill fault to end before its vCPU sleeps; what
 * others gave is in docs/hosts.md.  Each costs a fault some 20 ns. */
#define DELAY_LENGTH 192u

/* A fault thread that spins serves this many vCPUs. */
#define VCPUS_PER_THREAD 4u

struct vcpu_record {
    struct vm_mutex lock;         /* R */
    _Atomic pid_t tid;            /* (a) 0 = not attached */
    bool failing;                 /* R: a failure waits to be taken */
    uint64_t failed_at;           /* R */
    struct vm_fault_info failure; /* R */
    uint64_t page;                /* R: progress watch: what was resolved last, ... */
    unsigned generation;          /* R: ... by which mapping, */
    unsigned repeats;             /* R: and how often in a row it was there already */
};

struct fault_thread {
    struct fault_service *service; /* (c) borrowed */
    unsigned index;                /* (c) */
    pthread_t thread;              /* (c) */
    _Atomic bool kill;             /* (a) */
    uint64_t spin_ns;              /* the thread's own */
    bool spin_polls;               /* the thread's own: it spins with poll */
    unsigned spin_found;           /* the thread's own: messages found so since it was judged ... */
    unsigned spin_late;            /* the thread's own: ... and late ones of these */
    struct vm_mutex lock;          /* T */
    struct fault_report report;    /* T */
};

struct fault_service {
    struct fault_service_config config; /* (c) */
    int stop_fd;                        /* (c) owned: eventfd, readable when threads must look up */
    bool spin;                          /* (c) */
    struct delay_line delay;            /* (c) */
    _Atomic bool stop;                  /* (a) */
    _Atomic bool fatal_said;            /* (a) */
    struct vcpu_record *vcpus;          /* (c) owned, config.nvcpus */
    unsigned nthreads;                  /* (c) */
    struct fault_thread *threads;       /* (c) owned, nthreads */
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

static struct vcpu_record *
vcpu_of_tid(struct fault_service *service, pid_t tid)
{
    for (unsigned i = 0; i < service->config.nvcpus; i++)
        if (atomic_load_explicit(&service->vcpus[i].tid, memory_order_relaxed) == tid)
            return &service->vcpus[i];
    return NULL;
}

/*
 * The vCPU's fault was resolved; does it come back without end for a mapping that it has had
 * all the time?  A mapping that was dropped, replaced or write-protected in between, by whomever,
 * is another one: a vCPU that waits for a word in such a page is well.
 */
static void
watch_progress(struct fault_service *service, struct vcpu_record *vcpu, gpa_t gpa,
               unsigned generation)
{
    uint64_t page = gpa_to_u64(gpa) >> PAGE_SHIFT;

    vm_mutex_lock(&vcpu->lock);
    bool again = vcpu->page == page && vcpu->generation == generation;
    vcpu->page = page;
    vcpu->generation = generation;
    vcpu->repeats = again ? vcpu->repeats + 1 : 0;
    bool suspect = again && vcpu->repeats % FAULT_SUSPECT == 0;
    vm_mutex_unlock(&vcpu->lock);
    if (suspect)
        service->config.suspect(service->config.context, (unsigned)(vcpu - service->vcpus), gpa);
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

/* Take the record's failure, if it is at least min_age_ns old, into *info. */
static bool
take_failure(struct fault_service *service, struct vcpu_record *vcpu, uint64_t min_age_ns,
             struct vm_fault_info *info)
{
    vm_mutex_lock(&vcpu->lock);
    bool taken =
        vcpu->failing && (min_age_ns == 0 || clock_now_ns() - vcpu->failed_at >= min_age_ns);
    if (taken) {
        *info = vcpu->failure;
        vcpu->failing = false;
    }
    vm_mutex_unlock(&vcpu->lock);
    if (taken)
        unfail(service, info->gpa);
    return taken;
}

/*
 * Record a failure and make the access fail.  A record from before is stale: the
 * vCPU has reported a fault since, so it did not take that one.
 * The lock is held across kvm_pmap_fail, so that the vCPU, woken by it, finds the record.
 */
static int
record_failure(struct fault_service *service, struct vcpu_record *vcpu,
               const struct vm_fault_info *info, uint64_t wakeups)
{
    struct vm_fault_info stale;

    (void)take_failure(service, vcpu, 0, &stale);
    vm_mutex_lock(&vcpu->lock);
    int error = kvm_pmap_fail(service->config.kpmap, info->gpa, wakeups);
    vcpu->failing = error == 0 || error == -ENOENT;
    vcpu->failure = *info;
    vcpu->failed_at = clock_now_ns();
    vm_mutex_unlock(&vcpu->lock);
    return error == -ENOENT ? 0 : error;
}

/* --- one message --------------------------------------------------------- */

enum answer {
    ANSWER_RESOLVED,
    ANSWER_FAILED,
    ANSWER_REPEATED,
    ANSWER_FATAL
};

static const char *
access_name(vm_prot_t access)
{
    return (access & VM_PROT_WRITE) != 0 ? "write" : "read";
}

static enum answer
answer_host_failure(struct fault_service *service, const struct vm_fault_info *info)
{
    say_fatal(service, "%s of guest address 0x%llx: %s: %s", access_name(info->access),
              (unsigned long long)gpa_to_u64(info->gpa),
              info->cause != NULL ? info->cause : "host failure", limits_explain(info->error).text);
    return ANSWER_FATAL;
}

/* The access is the guest's to see: hand it to the vCPU. */
static enum answer
answer_failure(struct fault_service *service, struct vcpu_record *vcpu,
               const struct vm_fault_info *info, uint64_t wakeups)
{
    unsigned long long gpa = gpa_to_u64(info->gpa);

    if (vcpu == NULL) {
        say_fatal(service, "%s of guest address 0x%llx by a thread that is no vCPU: %s",
                  access_name(info->access), gpa, vm_result_name(info->result));
        return ANSWER_FATAL;
    }
    int error = record_failure(service, vcpu, info, wakeups);
    if (error == 0)
        return ANSWER_FAILED;
    if (error == -EAGAIN)
        return ANSWER_REPEATED;
    say_fatal(service, "cannot make the access to guest address 0x%llx fail: %s", gpa,
              limits_explain(error).text);
    return ANSWER_FATAL;
}

static enum answer
answer_fault(struct fault_service *service, pid_t tid, gpa_t gpa, vm_prot_t access)
{
    struct vcpu_record *vcpu = vcpu_of_tid(service, tid);
    uint64_t wakeups = kvm_pmap_wakeups(service->config.kpmap, gpa);
    struct vm_fault_info info;
    enum vm_result result = vm_fault(service->config.map, gpa, access, VM_FAULT_BURST, &info);

    if (result == VM_HOST_FAILURE)
        return answer_host_failure(service, &info);
    if (result != VM_OK)
        return answer_failure(service, vcpu, &info, wakeups);
    if (vcpu != NULL)
        watch_progress(service, vcpu, gpa, info.generation);
    return ANSWER_RESOLVED;
}

static void
count_message(struct fault_report *report, uint64_t flags, enum answer answer, uint64_t ns)
{
    report->messages++;
    if ((flags & UFFD_PAGEFAULT_FLAG_WP) != 0)
        report->write_protect++;
    else if ((flags & UFFD_PAGEFAULT_FLAG_MINOR) != 0)
        report->minor++;
    else
        report->missing++;
    report->resolved += answer == ANSWER_RESOLVED;
    report->failed += answer == ANSWER_FAILED;
    histogram_add(&report->latency, ns);
}

/* T is held while a message is answered, so that a report never lacks a fault whose vCPU has
 * already gone on. */
static void
handle_message(struct fault_thread *thread, const struct uffd_msg *msg)
{
    struct fault_service *service = thread->service;
    uint64_t read_at = clock_now_ns();
    uint64_t flags = msg->arg.pagefault.flags;
    bool write = (flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)) != 0;
    gpa_t gpa;

    if (msg->event != UFFD_EVENT_PAGEFAULT)
        return; /* no other event was asked for */
    if (!kvm_pmap_gpa(service->config.kpmap, msg->arg.pagefault.address, &gpa)) {
        say_fatal(service, "fault outside guest memory at host address 0x%llx",
                  (unsigned long long)msg->arg.pagefault.address);
        return;
    }
    vm_mutex_lock(&thread->lock);
    enum answer answer = answer_fault(service, (pid_t)msg->arg.pagefault.feat.ptid, gpa,
                                      write ? VM_PROT_WRITE : VM_PROT_READ);
    count_message(&thread->report, flags, answer, clock_now_ns() - read_at);
    vm_mutex_unlock(&thread->lock);
}

/* --- the threads --------------------------------------------------------- */

/* Sleep until there is a message or a reason to look up.  Returns 0 or -errno. */
static int
wait_for_message(const struct fault_service *service)
{
    struct pollfd fds[2] = {
        { .fd = service->config.kvm->uffd, .events = POLLIN },
        { .fd = service->stop_fd, .events = POLLIN },
    };

    if (poll(fds, 2, -1) < 0 && errno != EINTR)
        return -errno;
    if ((fds[0].revents & (POLLERR | POLLNVAL)) != 0)
        return -EIO;
    return 0;
}

/*
 * Read one message.  Returns 0, or -errno; -EAGAIN when there is none.
 * Only one: for a second the kernel would take the wait queue's lock again, which
 * the thread that sent the first holds while it walks the delay line.
 */
static int
read_message(const struct fault_service *service, struct uffd_msg *msg)
{
    ssize_t n = read(service->config.kvm->uffd, msg, sizeof(*msg));

    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    return n == sizeof(*msg) ? 0 : -EIO;
}

static bool
told_to_end(const struct fault_thread *thread)
{
    return atomic_load_explicit(&thread->service->stop, memory_order_relaxed) ||
           atomic_load_explicit(&thread->kill, memory_order_relaxed);
}

/* One look for a message while spinning.  Returns as read_message. */
static int
look_for_message(const struct fault_thread *thread, struct uffd_msg *msg)
{
    struct pollfd fd = { .fd = thread->service->config.kvm->uffd, .events = POLLIN };

    if (thread->spin_polls && poll(&fd, 1, 0) == 0)
        return -EAGAIN;
    return read_message(thread->service, msg);
}

/* A message was found by a look that took so long. */
static void
judge_spinning(struct fault_thread *thread, uint64_t ns)
{
    thread->spin_found++;
    thread->spin_late += ns > LATE_NS;
    if (thread->spin_found < SPIN_JUDGED)
        return;
    if (thread->spin_late > SPIN_LATE_MAX)
        thread->spin_polls = !thread->spin_polls;
    thread->spin_found = 0;
    thread->spin_late = 0;
}

/* Spin for a message.  Returns as read_message: -EAGAIN when the time was up. */
static int
spin_for_message(struct fault_thread *thread, struct uffd_msg *msg)
{
    uint64_t start = clock_now_ns();
    uint64_t now = start, before;
    int error;

    do {
        before = now;
        error = look_for_message(thread, msg);
        now = clock_now_ns();
    } while (error == -EAGAIN && !told_to_end(thread) && now - start < thread->spin_ns);
    if (error == 0)
        judge_spinning(thread, now - before);
    if (error == -EAGAIN)
        thread->spin_ns = thread->spin_ns / 2 > SPIN_MIN_NS ? thread->spin_ns / 2 : SPIN_MIN_NS;
    else
        thread->spin_ns = thread->spin_ns * 2 < SPIN_MAX_NS ? thread->spin_ns * 2 : SPIN_MAX_NS;
    return error;
}

/* A message, or -EAGAIN after a sleep, or -errno. */
static int
next_message(struct fault_thread *thread, struct uffd_msg *msg)
{
    int error =
        thread->service->spin ? spin_for_message(thread, msg) : read_message(thread->service, msg);

    if (error != -EAGAIN || told_to_end(thread))
        return error;
    error = wait_for_message(thread->service);
    return error != 0 ? error : -EAGAIN;
}

/* Serve until told to stop.  Returns 0 then, -errno if it cannot go on. */
static int
serve(struct fault_thread *thread)
{
    struct uffd_msg msg;

    while (!told_to_end(thread)) {
        int error = next_message(thread, &msg);
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
    int error = serve(thread);

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
join_threads(struct fault_service *service, unsigned nthreads)
{
    atomic_store(&service->stop, true);
    look_up(service);
    for (unsigned i = 0; i < nthreads; i++)
        pthread_join(service->threads[i].thread, NULL);
}

static int
start_threads(struct fault_service *service)
{
    for (unsigned i = 0; i < service->nthreads; i++) {
        struct fault_thread *thread = &service->threads[i];
        int error = pthread_create(&thread->thread, NULL, thread_main, thread);
        if (error != 0) {
            join_threads(service, i);
            return -error;
        }
    }
    return 0;
}

static void
init_records(struct fault_service *service)
{
    for (unsigned i = 0; i < service->config.nvcpus; i++) {
        vm_mutex_init(&service->vcpus[i].lock);
        service->vcpus[i].page = UINT64_MAX;
    }
    for (unsigned i = 0; i < service->nthreads; i++) {
        struct fault_thread *thread = &service->threads[i];
        thread->service = service;
        thread->index = i;
        thread->spin_ns = SPIN_MIN_NS;
        vm_mutex_init(&thread->lock);
        histogram_init(&thread->report.latency);
    }
}

static unsigned
count_cores(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* Spinning takes a core that no vCPU needs. */
static bool
choose_spin(const struct fault_service_config *config, unsigned cores)
{
    return config->placement == FAULT_PLACE_SPIN ||
           (config->placement == FAULT_PLACE_AUTO && cores > config->nvcpus);
}

/*
 * Threads that block cost nothing while they do, and with one for each vCPU a fault is
 * served on the core that the vCPU has just left.
 */
static unsigned
choose_nthreads(const struct fault_service_config *config, bool spin, unsigned cores)
{
    if (config->nthreads != 0)
        return config->nthreads;
    if (spin)
        return (config->nvcpus + VCPUS_PER_THREAD - 1) / VCPUS_PER_THREAD;
    return config->nvcpus < cores ? config->nvcpus : cores;
}

static void
service_free(struct fault_service *service)
{
    delay_line_fini(&service->delay);
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
    unsigned cores = count_cores();
    int error;

    if (service == NULL)
        return -ENOMEM;
    service->config = *config;
    service->spin = choose_spin(config, cores);
    service->nthreads = choose_nthreads(config, service->spin, cores);
    service->delay.epoll_fd = -1;
    service->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    error = service->stop_fd < 0 ? -errno : 0;
    service->vcpus = calloc(config->nvcpus, sizeof(service->vcpus[0]));
    service->threads = calloc(service->nthreads, sizeof(service->threads[0]));
    if (error == 0 && (service->vcpus == NULL || service->threads == NULL))
        error = -ENOMEM;
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
fault_service_stop(struct fault_service *service)
{
    struct vm_fault_info info;

    join_threads(service, service->nthreads);
    for (unsigned i = 0; i < service->config.nvcpus; i++)
        (void)take_failure(service, &service->vcpus[i], 0, &info);
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

static void
report_add(struct fault_report *to, const struct fault_report *from)
{
    to->messages += from->messages;
    to->missing += from->missing;
    to->minor += from->minor;
    to->write_protect += from->write_protect;
    to->resolved += from->resolved;
    to->failed += from->failed;
    histogram_merge(&to->latency, &from->latency);
}

void
fault_service_report(struct fault_service *service, struct fault_report *report)
{
    memset(report, 0, sizeof(*report));
    histogram_init(&report->latency);
    for (unsigned i = 0; i < service->nthreads; i++) {
        struct fault_thread *thread = &service->threads[i];
        vm_mutex_lock(&thread->lock);
        report_add(report, &thread->report);
        vm_mutex_unlock(&thread->lock);
    }
}

void
fault_service_kill_thread(struct fault_service *service, unsigned index)
{
    atomic_store(&service->threads[index].kill, true);
    look_up(service);
}
