/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keyboard of a VM.
 */
#include "vmm/vm/vm_keys.h"

#include "vmm/vm/vm_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROMPT "(vkvm) "

/* Ctrl-U and what a terminal's backspace key sends. */
#define KEY_KILL 0x15
#define KEY_BACKSPACE 0x08
#define KEY_DELETE 0x7f

/* --- the guest's keys ------------------------------------------------------- */

static void
send_key(struct vm_keys *keys, uint8_t byte)
{
    if (keys->guest_fd < 0 || write(keys->guest_fd, &byte, 1) == 1 || keys->told_lost)
        return;
    keys->told_lost = true;
    screen_print(&keys->screen, "\nvkvm: the guest takes no input: keys are lost\n");
}

/* --- the monitor ------------------------------------------------------------ */

static void
prompt(struct vm_keys *keys)
{
    keys->length = 0;
    screen_print(&keys->screen, "%s", PROMPT);
}

static void
enter_monitor(struct vm_keys *keys)
{
    char name[8];

    keys->monitor = true;
    screen_print(&keys->screen, "\nvkvm monitor: `help` for help, %s c to go back\n",
                 escape_name(keys->escape.key, name));
    prompt(keys);
}

static void
leave_monitor(struct vm_keys *keys)
{
    keys->monitor = false;
    screen_print(&keys->screen, "\n");
}

/* Have the line carried out, and print what comes of it. */
static void
run_line(struct vm_keys *keys)
{
    const struct vm_config *config = &keys->vm->config;
    bool stay = true;
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    if (to == NULL) {
        screen_print(&keys->screen, "out of memory\n");
        prompt(keys);
        return;
    }
    stay = config->monitor(config->monitor_context, keys->vm, keys->line, to);
    if (fclose(to) == 0)
        screen_write(&keys->screen, text, size);
    free(text);
    if (stay)
        prompt(keys);
    else
        leave_monitor(keys);
}

static void
end_line(struct vm_keys *keys)
{
    screen_print(&keys->screen, "\n");
    keys->line[keys->length] = '\0';
    run_line(keys);
}

static void
rub_out(struct vm_keys *keys, size_t n)
{
    for (; n != 0 && keys->length != 0; n--) {
        keys->length--;
        screen_print(&keys->screen, "\b \b");
    }
}

/* The monitor's line editor: printable characters, backspace, Ctrl-U. */
static void
edit_line(struct vm_keys *keys, uint8_t byte)
{
    if (byte == '\r' || byte == '\n') {
        end_line(keys);
    } else if (byte == KEY_BACKSPACE || byte == KEY_DELETE) {
        rub_out(keys, 1);
    } else if (byte == KEY_KILL) {
        rub_out(keys, keys->length);
    } else if (byte >= ' ' && byte < KEY_DELETE && keys->length < sizeof(keys->line) - 1) {
        keys->line[keys->length++] = (char)byte;
        screen_write(&keys->screen, &byte, 1);
    }
}

/* --- the escape key --------------------------------------------------------- */

static void
say_help(struct vm_keys *keys)
{
    char name[8];

    (void)escape_name(keys->escape.key, name);
    screen_print(&keys->screen,
                 "\nvkvm: %s x ends the VM, %s c is the monitor, %s z stops the process, "
                 "%s %s is %s\n",
                 name, name, name, name, name, name);
}

static void
toggle_monitor(struct vm_keys *keys)
{
    if (keys->vm->config.monitor == NULL)
        screen_print(&keys->screen, "\nvkvm: there is no monitor here\n");
    else if (keys->monitor)
        leave_monitor(keys);
    else
        enter_monitor(keys);
}

static void
take_key(struct vm_keys *keys, uint8_t byte)
{
    enum escape_action action = escape_take(&keys->escape, byte);

    switch (action) {
    case ESCAPE_WAIT:
        break;
    case ESCAPE_END:
        vm_end(keys->vm, VM_END_INTERRUPTED, SIGINT, "ended from the keyboard");
        break;
    case ESCAPE_MONITOR:
        toggle_monitor(keys);
        break;
    case ESCAPE_STOP:
        (void)kill(0, SIGTSTP); /* the whole job, as the terminal does it */
        break;
    case ESCAPE_HELP:
        say_help(keys);
        break;
    case ESCAPE_HINT:
    case ESCAPE_BYTE:
        if (keys->monitor)
            edit_line(keys, byte);
        else
            send_key(keys, byte);
        if (action == ESCAPE_HINT)
            say_help(keys);
        break;
    }
}

/* --- the terminal ----------------------------------------------------------- */

static void
stop_reading(struct vm_keys *keys)
{
    event_source_remove(keys->source);
    keys->source = NULL;
}

/* The terminal is gone: so is the guest's input. */
static void
end_input(struct vm_keys *keys)
{
    stop_reading(keys);
    keys->at_end = true;
    close(keys->guest_fd);
    keys->guest_fd = -1;
}

/* EIO: it has become somebody else's meanwhile, or it is gone, which comes as an end too. */
static void
on_keys(void *context, unsigned events)
{
    struct vm_keys *keys = context;
    uint8_t bytes[256];
    ssize_t n = -1;

    if ((events & EVENT_READ) != 0) {
        n = read(keys->terminal->fd, bytes, sizeof(bytes));
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            return;
        if (n < 0 && errno == EIO && tcgetpgrp(keys->terminal->fd) != getpgrp()) {
            stop_reading(keys);
            return;
        }
    }
    if (n <= 0)
        end_input(keys);
    for (ssize_t i = 0; i < n; i++)
        take_key(keys, bytes[i]);
}

void
vm_keys_look(struct vm_keys *keys)
{
    if (keys->vm == NULL || keys->at_end)
        return;
    if (!keys->terminal->taken) {
        stop_reading(keys);
        return;
    }
    if (keys->source == NULL && event_loop_add_fd(keys->loop, keys->terminal->fd, EVENT_READ,
                                                  on_keys, keys, &keys->source) != 0)
        keys->source = NULL;
}

bool
vm_keys_wanted(const struct vm *vm, int fd)
{
    return !vm->config.detached && vm->config.escape != ESCAPE_NONE && isatty(fd);
}

int
vm_keys_init(struct vm_keys *keys, struct vm *vm, struct terminal *terminal,
             struct event_loop *loop)
{
    int fds[2];

    keys->guest_fd = keys->console_fd = keys->screen.fd = -1;
    if (!vm_keys_wanted(vm, terminal->fd))
        return 0;
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return -errno;
    keys->console_fd = fds[0];
    keys->guest_fd = fds[1];
    keys->vm = vm;
    keys->terminal = terminal;
    keys->loop = loop;
    escape_init(&keys->escape, vm->config.escape);
    screen_init(&keys->screen, loop, terminal->fd);
    vm->console.in = keys->console_fd;
    return 0;
}

void
vm_keys_fini(struct vm_keys *keys)
{
    if (keys->vm == NULL)
        return;
    keys->vm->console.in = keys->terminal->fd;
    stop_reading(keys);
    screen_fini(&keys->screen);
    close(keys->console_fd);
    if (keys->guest_fd >= 0)
        close(keys->guest_fd);
}
