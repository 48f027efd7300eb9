/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A failing world for host_failure.c: a file, swap, a guest that does as it is told.
 */
#ifndef FAILURE_WORLD_H
#define FAILURE_WORLD_H

#include "guest/include/vkvm_abi.h"
#include "tests/kvm/failure_guest.h"
#include "tests/kvm/vm_rig.h"
#include "tests/unit/alloc_failure.h"
#include "vmm/pager/swap_device.h"
#include "vmm/x86_64/layout.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define FILE_AT VKVM_WINDOW_BASE
#define FILE_PAGES 64u /* more than are read along with the first */
#define FILE_SIZE (FILE_PAGES * PAGE_SIZE)
#define DATA UINT64_C(0x1000000) /* ordinary memory */
#define LOW UINT64_C(0x200000)   /* what the mini guest itself needs is below */
#define COMMANDS_MAX 8u
#define WINDOW_AT (FILE_AT + 0x1000000)
#define REGION_AT (FILE_AT + 0x2000000)

GUEST(guest_failure);
extern const uint8_t guest_failure_fault[];

struct world {
    struct vm_host_config host;
    struct vm_config config;
    char file[64];
    char swap[64];
    struct vm *vm;
    struct command commands[COMMANDS_MAX];
    uint64_t ncommands;
    struct vm_outcome outcome;
    unsigned warnings;
    char warning[200];
    void (*told)(struct world *w); /* what OP_TELL has the host do */
};

static inline void
take_warning(void *context, const char *message)
{
    struct world *w = context;

    __atomic_add_fetch(&w->warnings, 1, __ATOMIC_RELAXED);
    snprintf(w->warning, sizeof(w->warning), "%s", message);
}

static inline void
world_init(struct world *w)
{
    *w = (struct world){ .host = default_host_config(), .config = default_config() };
    w->config.timeout_ms = 120000; /* the lane is slow */
    w->host.warn = w->config.warn = take_warning;
    w->host.warn_context = w->config.warn_context = w;
    new_file(w->file, sizeof(w->file), FILE_PAGES);
    new_file(w->swap, sizeof(w->swap), 0);
}

static inline void
world_fini(struct world *w)
{
    destroy_vm(w->vm);
    unlink(w->file);
    unlink(w->swap);
}

static inline void
map_file(struct world *w, bool shared)
{
    w->config.machine.nfiles = 1;
    w->config.machine.files[0] = (struct machine_file){ .start = gpa_from_u64(FILE_AT),
                                                        .size = FILE_SIZE,
                                                        .path = w->file,
                                                        .path_size = strlen(w->file),
                                                        .shared = shared };
}

/* The gate of #PF (SDM vol. 3, 6.14.1). */
static inline void
write_idt(struct vm *vm)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } idtr = { 16 * GUEST_VECTORS - 1, GUEST_IDT };
    uint64_t handler = GUEST_CODE + (uint64_t)(guest_failure_fault - guest_failure);
    const uint64_t gate[2] = { (handler & 0xffff) | VKVM_SEL_KERNEL_CODE << 16 |
                                   UINT64_C(0x8e) << 40 | (handler >> 16 & 0xffff) << 48,
                               handler >> 32 };

    put(vm, GUEST_IDT + UINT64_C(16) * 14, gate, sizeof(gate));
    put(vm, GUEST_IDTR, &idtr, sizeof(idtr));
}

static inline void
world_start(struct world *w)
{
    w->vm = make_vm_on(make_host(&w->host), &w->config, guest_failure, guest_failure_end);
    write_idt(w->vm);
}

static inline struct command *
command(struct world *w, uint64_t op, uint64_t address, uint64_t count)
{
    struct command *c = &w->commands[w->ncommands++];

    *c = (struct command){ .op = op, .address = address, .count = count };
    return c;
}

static inline struct command *
call(struct world *w, int64_t number, uint64_t address, uint64_t size)
{
    struct command *c = command(w, OP_CALL, address, size);

    c->result = number;
    return c;
}

/* What the guest tells is done, and answered. */
static inline void *
listener(void *arg)
{
    struct world *w = arg;
    uint64_t told = 0;

    while (told == 0) {
        usleep(1000);
        get(w->vm, GUEST_TOLD, &told, sizeof(told));
    }
    w->told(w);
    put(w->vm, GUEST_ANSWER, &told, sizeof(told));
    return NULL;
}

/* Run the commands; files end at `limit` meanwhile. */
static inline void
world_run(struct world *w, rlim_t limit)
{
    pthread_t thread;
    sigset_t set, old;

    put(w->vm, COMMANDS, w->commands, sizeof(w->commands));
    sigfillset(&set);
    pthread_sigmask(SIG_SETMASK, &set, &old);
    if (w->told != NULL && pthread_create(&thread, NULL, listener, w) != 0)
        die("pthread_create", "failed");
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    limit_file_size(limit);
    w->outcome = run_vm(w->vm);
    limit_file_size(RLIM_INFINITY);
    if (w->told != NULL)
        pthread_join(thread, NULL);
    get(w->vm, COMMANDS, w->commands, sizeof(w->commands));
}

static inline uint64_t
file_page(const struct world *w, uint64_t page)
{
    int fd = open(w->file, O_RDONLY | O_CLOEXEC);
    uint64_t value = 0;

    if (fd < 0 || pread(fd, &value, sizeof(value), (off_t)(page * PAGE_SIZE)) < 0)
        die(w->file, strerror(errno));
    close(fd);
    return value;
}

#endif
