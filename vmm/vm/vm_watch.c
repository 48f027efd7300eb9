/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sources of a VM's event loop.
 */
#include "vmm/vm/vm_watch.h"

#include "vmm/base/clock.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vm/vm_trace.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * In the background, look this often whether the terminal is ours: a shell brings a job that runs
 * to the foreground without telling it.
 */
#define LOOK_NS 200000000u

/* --- signals ---------------------------------------------------------------- */

/* Those whose default is to end the process, but for faults (terminal.h), and SIGTSTP. */
static const int ending_signals[] = {
    SIGHUP,  SIGINT,    SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,   SIGALRM,
    SIGXCPU, SIGVTALRM, SIGPROF, SIGPOLL, SIGPWR,  SIGSTKFLT, SIGTSTP,
};
#define ENDING_SIGNALS (sizeof(ending_signals) / sizeof(ending_signals[0]))

/* One that was told to be ignored, or has a handler, keeps that. */
static void
add_default(sigset_t *set, int signal)
{
    struct sigaction action;

    if (sigaction(signal, NULL, &action) == 0 && (action.sa_flags & SA_SIGINFO) == 0 &&
        action.sa_handler == SIG_DFL)
        sigaddset(set, signal);
}

/*
 * Also blocked, but not received: SIGPIPE, write says EPIPE instead; and what would stop a process
 * in the background that reads or writes its terminal, instead of failing.
 */
static void
block_signals(struct vm_watch *watch, sigset_t *received)
{
    sigemptyset(received);
    if (!watch->vm->config.detached) {
        for (size_t i = 0; i < ENDING_SIGNALS; i++)
            add_default(received, ending_signals[i]);
        for (int signal = VCPU_SIGNAL + 1; signal <= SIGRTMAX; signal++)
            add_default(received, signal);
        add_default(received, SIGCONT);
    }
    watch->blocked = *received;
    sigaddset(&watch->blocked, SIGPIPE);
    sigaddset(&watch->blocked, SIGTTIN);
    sigaddset(&watch->blocked, SIGTTOU);
    (void)pthread_sigmask(SIG_BLOCK, &watch->blocked, &watch->saved_mask);
}

/* Forget what arrived too late to matter, so that it does not end or stop the process now. */
static void
unblock_signals(struct vm_watch *watch)
{
    const struct timespec now = { 0 };

    while (sigtimedwait(&watch->blocked, NULL, &now) > 0)
        continue;
    (void)pthread_sigmask(SIG_SETMASK, &watch->saved_mask, NULL);
}

/* --- the terminal and stopping ---------------------------------------------- */

/* Take the terminal, now or when it becomes ours. */
static void
take_terminal(struct vm_watch *watch)
{
    if (watch->vm->config.detached)
        return;
    event_timer_set(watch->look, terminal_take(&watch->terminal) ? 0 : LOOK_NS, LOOK_NS);
    vm_keys_look(&watch->keys);
}

static void
on_look(void *context)
{
    take_terminal(context);
}

/*
 * As SIGTSTP does to who does not block it.  Not by SIGSTOP: that would also stop a process that
 * no shell is there to continue, the leader of a session or an init, for ever.
 */
static void
stop_self(void)
{
    sigset_t stop;

    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    (void)raise(SIGTSTP);
    (void)pthread_sigmask(SIG_UNBLOCK, &stop, NULL);
    (void)pthread_sigmask(SIG_BLOCK, &stop, NULL);
}

/* Time to the deadline; a timer is not set to 0, which is never. */
static uint64_t
time_left(const struct vm_watch *watch)
{
    uint64_t now = clock_now_ns();

    return watch->deadline > now ? watch->deadline - now : 1;
}

static void
set_timeout(struct vm_watch *watch, uint64_t left)
{
    watch->deadline = clock_now_ns() + left;
    event_timer_set(watch->timeout, left, 0);
}

/* The vCPUs rest.  The terminal is the shell's while the process is stopped. */
static void
stop_process(struct vm_watch *watch)
{
    uint64_t left = time_left(watch);

    terminal_restore(&watch->terminal);
    vm_keys_look(&watch->keys);
    stop_self();
    take_terminal(watch);
    if (watch->deadline != 0)
        set_timeout(watch, left);
}

static void
begin_stop(struct vm_watch *watch)
{
    watch->stopping = vm_pause_start(watch->vm, VCPU_PAUSE_STOP) == 0 || watch->stopping;
}

static void
end_stop(struct vm_watch *watch)
{
    if (watch->stopping)
        vm_resume(watch->vm, VCPU_PAUSE_STOP);
    watch->stopping = false;
}

/* The last vCPU came to rest, for whatever reason. */
static void
on_rested(void *context, unsigned events)
{
    struct vm_watch *watch = context;
    uint64_t count;

    (void)events;
    (void)!read(watch->vm->rested_fd, &count, sizeof(count)); /* what counts is the gate */
    if (!vcpu_gate_all_rest(&watch->vm->shared.gate))
        return;
    if (watch->vm->config.debug != NULL)
        watch->vm->config.debug->rested(watch->vm->config.debugger);
    if (!watch->stopping)
        return;
    stop_process(watch);
    end_stop(watch);
}

/* SIGCONT: a stop that has not come yet will not, and the modes may have been changed. */
static void
on_signal(void *context, int signal)
{
    struct vm_watch *watch = context;

    if (signal == SIGTSTP) {
        begin_stop(watch);
    } else if (signal == SIGCONT) {
        end_stop(watch);
        take_terminal(watch);
    } else if (signal == SIGUSR1 && watch->vm->trace.writer != NULL) {
        (void)vm_trace_switch(watch->vm, !vm_trace_is_on(watch->vm));
    } else {
        vm_end(watch->vm, VM_END_INTERRUPTED, signal, "ended by signal %d (%s)", signal,
               strsignal(signal));
    }
}

/* --- ends ------------------------------------------------------------------- */

static void
on_timeout(void *context)
{
    struct vm_watch *watch = context;

    vm_end(watch->vm, VM_END_TIMEOUT, 0, "not done after %u ms: give it more time by --timeout",
           watch->vm->config.timeout_ms);
}

static void
on_ended(void *context, unsigned events)
{
    struct vm_watch *watch = context;

    (void)events;
    event_loop_stop(watch->loop);
}

/* --- making ----------------------------------------------------------------- */

static int
add_sources(struct vm_watch *watch, const sigset_t *signals)
{
    struct event_source *source;
    int error;

    error =
        event_loop_add_fd(watch->loop, watch->vm->ended_fd, EVENT_READ, on_ended, watch, &source);
    if (error == 0)
        error = event_loop_add_fd(watch->loop, watch->vm->rested_fd, EVENT_READ, on_rested, watch,
                                  &source);
    if (error == 0)
        error = event_loop_add_signals(watch->loop, signals, on_signal, watch, &source);
    if (error == 0)
        error = event_loop_add_timer(watch->loop, on_timeout, watch, &watch->timeout);
    if (error == 0)
        error = event_loop_add_timer(watch->loop, on_look, watch, &watch->look);
    if (error == 0 && watch->vm->pc != NULL)
        error = pc_listen(watch->vm->pc, watch->loop);
    return error;
}

int
vm_watch_init(struct vm_watch *watch, struct vm *vm)
{
    sigset_t signals;
    int error;

    *watch = (struct vm_watch){ .vm = vm };
    terminal_init(&watch->terminal, STDIN_FILENO, vm_keys_wanted(vm, STDIN_FILENO));
    block_signals(watch, &signals);
    if (!vm->config.detached)
        terminal_guard();
    error = event_loop_create(&watch->loop);
    if (error == 0)
        error = vm_keys_init(&watch->keys, vm, &watch->terminal, watch->loop);
    return error == 0 ? add_sources(watch, &signals) : error;
}

void
vm_watch_fini(struct vm_watch *watch)
{
    vm_keys_fini(&watch->keys);
    if (watch->loop != NULL)
        event_loop_destroy(watch->loop);
    unblock_signals(watch);
}

void
vm_watch_run(struct vm_watch *watch)
{
    struct vm *vm = watch->vm;
    int error;

    take_terminal(watch);
    if (vm->config.timeout_ms != 0)
        set_timeout(watch, vm->config.timeout_ms * UINT64_C(1000000));
    error = event_loop_run(watch->loop);
    if (error != 0)
        vm_end(vm, VM_END_FAILED, 0, "cannot wait for events: %s", strerror(-error));
    terminal_restore(&watch->terminal);
}
