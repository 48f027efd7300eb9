/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's event kvm:kvm_page_fault, read through a tracefs instance of our own: a buffer, a clock
 * and a filter that nobody else uses.
 *
 * The instance carries the process id of the reader.  One that was killed leaves it behind; the next
 * reader removes the instances of those that are gone.
 */
#include "vmm/trace_tool/kernel_events.h"

#include "vmm/cli/cli.h"
#include "vmm/trace/trace_kernel.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Say the one line that comes first.  Returns false when nobody hears it. */
static bool
say(const char *format, ...)
{
    char line[TRACE_KERNEL_LINE_MAX];
    va_list ap;
    size_t length;

    va_start(ap, format);
    vsnprintf(line, sizeof(line) - 1, format, ap);
    va_end(ap);
    length = strcspn(line, "\n");
    line[length++] = '\n';
    return send(STDIN_FILENO, line, length, MSG_NOSIGNAL) == (ssize_t)length;
}

#ifdef HAVE_LIBTRACEFS

#include <tracefs.h>

#define SYSTEM "kvm"
#define EVENT "kvm_page_fault"
#define INSTANCE "vkvm-"

/* KiB for each processor: some 40,000 events. */
#define BUFFER_KB "2048"

/* How often the buffer is looked at, ms: it lasts for a million events a second. */
#define LOOK_MS 20

/* Messages that are sent at once. */
#define BATCH 256u

struct reader {
    struct tep_handle *tep;            /* owned */
    struct tracefs_instance *instance; /* owned */
    struct tep_event *event;           /* tep's, as the fields */
    struct tep_format_field *rip;
    struct tep_format_field *address;
    struct tep_format_field *error_code;
    struct trace_kernel_message batch[BATCH];
    size_t count;
    uint64_t seen; /* messages in all */
    bool gone;     /* nobody takes them any more */
};

/* --- To vkvm --------------------------------------------------------------- */

/* The whole batch, in as many pieces as the socket wants; vkvm reads it as it comes. */
static void
send_batch(struct reader *reader)
{
    const char *at = (const char *)reader->batch;
    size_t left = reader->count * sizeof(reader->batch[0]);

    while (left != 0 && !reader->gone) {
        ssize_t sent = send(STDIN_FILENO, at, left, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        reader->gone = sent <= 0;
        at += sent;
        left -= (size_t)sent;
    }
    reader->count = 0;
}

static void
put(struct reader *reader, const struct trace_kernel_message *message)
{
    reader->batch[reader->count++] = *message;
    if (reader->count == BATCH)
        send_batch(reader);
}

/* --- From the kernel ------------------------------------------------------- */

static uint64_t
field(struct tep_format_field *format, struct tep_record *record)
{
    unsigned long long value = 0;

    (void)tep_read_number_field(format, record->data, &value);
    return value;
}

static int
take_event(struct tep_event *event, struct tep_record *record, int cpu, void *context)
{
    struct reader *reader = context;
    const struct trace_kernel_message message = {
        .kind = TRACE_KERNEL_EVENT,
        .tid = (uint32_t)tep_data_pid(reader->tep, record),
        .time = record->ts,
        .rip = field(reader->rip, record),
        .address = field(reader->address, record),
        .error_code = field(reader->error_code, record),
    };

    (void)cpu;
    if (event->id == reader->event->id) {
        reader->seen++;
        put(reader, &message);
    }
    return reader->gone;
}

/* All that is in the buffer.  Returns whether there was anything. */
static bool
drain(struct reader *reader)
{
    uint64_t before = reader->seen;

    (void)tracefs_iterate_raw_events(reader->tep, reader->instance, NULL, 0, take_event, reader);
    send_batch(reader);
    return reader->seen != before;
}

/* A number behind `name` in a processor's statistics. */
static uint64_t
statistic(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at == NULL ? 0 : strtoull(at + strlen(name), NULL, 10);
}

static uint64_t
count_lost(struct reader *reader)
{
    long cpus = sysconf(_SC_NPROCESSORS_CONF);
    uint64_t lost = 0;

    for (long cpu = 0; cpu < cpus; cpu++) {
        char file[64];
        char *text;

        snprintf(file, sizeof(file), "per_cpu/cpu%ld/stats", cpu);
        text = tracefs_instance_file_read(reader->instance, file, NULL);
        if (text == NULL)
            continue;
        lost += statistic(text, "\noverrun: ") + statistic(text, "\ndropped events: ");
        free(text);
    }
    return lost;
}

/* --- The instance ---------------------------------------------------------- */

/* Remove what killed readers have left. */
static int
remove_stale(const char *name, void *context)
{
    struct tracefs_instance *instance;
    char *end;
    long pid;

    (void)context;
    if (strncmp(name, INSTANCE, strlen(INSTANCE)) != 0)
        return 0;
    pid = strtol(name + strlen(INSTANCE), &end, 10);
    if (*end != '\0' || pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
        return 0;
    instance = tracefs_instance_create(name);
    if (instance != NULL) {
        (void)tracefs_instance_destroy(instance);
        tracefs_instance_free(instance);
    }
    return 0;
}

static bool
find_fields(struct reader *reader)
{
    const char *const systems[] = { SYSTEM, NULL };

    reader->tep = tracefs_local_events_system(NULL, systems);
    if (reader->tep == NULL)
        return false;
    reader->event = tep_find_event_by_name(reader->tep, SYSTEM, EVENT);
    if (reader->event == NULL)
        return false;
    reader->rip = tep_find_field(reader->event, "guest_rip");
    reader->address = tep_find_field(reader->event, "fault_address");
    reader->error_code = tep_find_field(reader->event, "error_code");
    return reader->rip != NULL && reader->address != NULL && reader->error_code != NULL;
}

static bool
set_up(struct tracefs_instance *instance)
{
    return tracefs_instance_file_write(instance, "trace_clock", "mono") >= 0 &&
           tracefs_instance_file_write(instance, "buffer_size_kb", BUFFER_KB) >= 0 &&
           tracefs_event_enable(instance, SYSTEM, EVENT) == 0;
}

/* Has KVM been told to do without the processor's second stage?  Then addresses are linear ones. */
static bool
has_no_second_stage(void)
{
    static const char *const switches[] = { "/sys/module/kvm_intel/parameters/ept",
                                            "/sys/module/kvm_amd/parameters/npt" };
    bool off = false;

    for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
        FILE *file = fopen(switches[i], "re");
        int value = file != NULL ? getc(file) : EOF;

        off |= value == 'N' || value == '0';
        if (file != NULL)
            (void)fclose(file);
    }
    return off;
}

/* Returns NULL, or why there will be no events. */
static const char *
begin(struct reader *reader)
{
    char name[32];

    if (geteuid() != 0)
        return "only root may read tracefs";
    if (has_no_second_stage())
        return "KVM is set to do without a second stage (ept=0 or npt=0)";
    if (tracefs_tracing_dir() == NULL)
        return "this kernel has no tracefs, or it is not mounted at /sys/kernel/tracing";
    if (!tracefs_file_exists(NULL, "events/" SYSTEM "/" EVENT "/enable"))
        return "this kernel has no event kvm:kvm_page_fault";
    if (!find_fields(reader))
        return "the kernel's event kvm:kvm_page_fault has another form than known here";
    (void)tracefs_instances_walk(remove_stale, NULL);
    snprintf(name, sizeof(name), INSTANCE "%ld", (long)getpid());
    reader->instance = tracefs_instance_create(name);
    if (reader->instance == NULL)
        return "no instance of tracefs can be made";
    if (!set_up(reader->instance))
        return "the kernel's event kvm:kvm_page_fault cannot be switched on";
    return NULL;
}

static void
end(struct reader *reader)
{
    if (reader->instance != NULL) {
        (void)tracefs_instance_destroy(reader->instance);
        tracefs_instance_free(reader->instance);
    }
    if (reader->tep != NULL)
        tep_free(reader->tep);
}

/* --- Serving --------------------------------------------------------------- */

/* What vkvm says.  Returns false at its end. */
static bool
hear(struct reader *reader)
{
    char line[TRACE_KERNEL_LINE_MAX], filter[TRACE_KERNEL_LINE_MAX];
    ssize_t size = recv(STDIN_FILENO, line, sizeof(line) - 1, 0);
    unsigned first, last;

    if (size <= 0)
        return size < 0 && errno == EINTR;
    line[size] = '\0';
    if (sscanf(line, "threads %u %u", &first, &last) == 2) {
        snprintf(filter, sizeof(filter), "common_pid >= %u && common_pid <= %u", first, last);
        /* Without it there are more events, which vkvm tells apart as well. */
        (void)tracefs_instance_file_write(reader->instance, "events/" SYSTEM "/" EVENT "/filter",
                                          filter);
    }
    return true;
}

static void
serve(struct reader *reader)
{
    struct pollfd socket = { .fd = STDIN_FILENO, .events = POLLIN };
    struct trace_kernel_message last = { .kind = TRACE_KERNEL_END };
    bool more = true;

    while (more && !reader->gone) {
        if (poll(&socket, 1, LOOK_MS) > 0)
            more = hear(reader);
        (void)drain(reader);
    }
    (void)tracefs_trace_off(reader->instance);
    while (!reader->gone && drain(reader))
        continue;
    last.lost = count_lost(reader);
    put(reader, &last);
    send_batch(reader);
}

int
kernel_events_serve(void)
{
    static const int ignored[] = { SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2 };
    struct reader *reader = calloc(1, sizeof(*reader));
    const char *why = reader == NULL ? "out of memory" : begin(reader);

    /* The terminal's signals are vkvm's: what it has still to say is to be read. */
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        (void)signal(ignored[i], SIG_IGN);
    if (say("%s", why != NULL ? why : TRACE_KERNEL_READY) && why == NULL)
        serve(reader);
    if (reader != NULL)
        end(reader);
    free(reader);
    return why == NULL ? CLI_OK : CLI_FAILED;
}

#else

int
kernel_events_serve(void)
{
    (void)say("vkvm-trace is built without libtracefs");
    return CLI_FAILED;
}

#endif
