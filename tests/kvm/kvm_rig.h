/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine of the KVM side without a guest kernel: a window, its frames, and a few
 * instructions of guest.
 *
 * Two kinds of toucher: the test program itself, through the window's host address
 * (the monitor never does that), and ring-3 code of a guest where KVM_RUN's answer
 * matters.  A server thread plays the engine for the window under test; the guests'
 * RAM is a real map entry.
 */
#ifndef KVM_RIG_H
#define KVM_RIG_H

#include "vmm/kvm/fault_service.h"
#include "vmm/kvm/kvm_compat.h"
#include "vmm/kvm/kvm_pmap.h"
#include "vmm/kvm/kvm_window.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WINDOW_GPA 0x40000000u /* 1 GiB */
#define WINDOW_PAGES 4096

extern bool rig_failed; /* the test that runs */

#define CHECK(cond)                                                         \
    do {                                                                    \
        if (!(cond)) {                                                      \
            printf("    %s:%d: not true: %s\n", __FILE__, __LINE__, #cond); \
            rig_failed = true;                                              \
        }                                                                   \
    } while (0)

/* What a test cannot do without. */
#define MUST(cond)                                                                  \
    do {                                                                            \
        if (!(cond)) {                                                              \
            printf("    %s:%d: cannot go on: %s (%s)\n", __FILE__, __LINE__, #cond, \
                   strerror(errno));                                                \
            fflush(stdout);                                                         \
            _exit(1);                                                               \
        }                                                                           \
    } while (0)

/* --- The machine under test ---------------------------------------------- */

struct machine {
    struct kvm_host host;
    struct kvm_vm kvm;
    struct vm_system sys;
    struct pmap pmap;
    struct vm_map map;
    struct kvm_pmap *kp;
    uint64_t frames;      /* first slot of the test window's frames */
    struct pmap_window w; /* the window under test, outside the map */
    pthread_mutex_t p;    /* plays P */
    struct pmap_frame plan[WINDOW_PAGES];
    unsigned run; /* pages the server enters per fault */
    bool serve;
    pthread_t server;
    int stop[2];
    _Atomic bool aborted;
    _Atomic unsigned missing;
    _Atomic unsigned minor;
    _Atomic unsigned wp;
    _Atomic bool modified[WINDOW_PAGES];
    bool promoted[WINDOW_PAGES / PMAP_CHUNK_PAGES]; /* P: the server only wakes there */
    char fatal[640]; /* what the pmap told of before it ended the VM */
};

extern struct machine m;

/* What went to the userfaultfd, and what comes in between: `disturb` returns 1 to pass it on. */
extern _Atomic unsigned calls_zeropage;
extern _Atomic unsigned calls_copy;
extern _Atomic unsigned calls_continue;
extern int (*disturb)(unsigned long request, void *argument);

/* What `natural` may be: with natural frames, without (PMAP_NO_NATURAL), or no test window. */
#define NATURAL 0
#define NO_WINDOW (PMAP_NO_NATURAL - 1)

/* A machine with RAM and a test window; with `serve`, a thread enters what faults, as planned. */
void machine_open(uint64_t natural, bool serve);
void machine_close(void);

/* kvm_pmap_abort: an EFAULT of KVM_RUN has nothing to wait for any more. */
void machine_abort(void);

/* Plan pages [0, npages): page i has frame i * step % WINDOW_PAGES of the window's. */
void plan(unsigned npages, unsigned step, vm_prot_t prot, bool fill);

/* Give each planned frame its content, 1000 + page. */
void fill_frames(unsigned npages);

/* Enter a run as planned; `write` makes the first page writable.  Returns 0 or an error. */
int enter_planned(unsigned page, unsigned npages, bool write);

/* A word of the window, once the server is not entering anything; and of a frame. */
volatile uint64_t *window_word(unsigned page);
volatile uint64_t *frame_word(uint64_t frame);

/* How many VMAs the process has. */
unsigned count_vmas(void);

/* --- Guests -------------------------------------------------------------- */

enum guest_op {
    GUEST_LOAD,
    GUEST_STORE,
    GUEST_INCREMENT
};

/* More EFAULTs in a row than a page that is remapped meanwhile brings, on any host. */
#define GUEST_PATIENCE 10000u

struct guest {
    int fd;
    struct kvm_run *run;
    struct fault_service *service; /* NULL: a test's server answers */
    unsigned index;
    unsigned efaults;
    unsigned patience; /* EFAULTs in a row after which nothing comes any more */
    struct vm_fault_info failure;
    /* for guest_thread */
    enum guest_op op;
    gpa_t gpa;
    uint64_t count;
    int result;
};

/* vCPU `index`; the first one loads the code.  `service` answers its faults, or the server. */
void guest_open(struct guest *g, unsigned index, struct fault_service *service);
void guest_close(struct guest *g);

/* Let the guests' level-2 table for the 1 GiB around `linear`, below 4 GiB, be at `table`. */
void guest_set_table(uint64_t linear, gpa_t table);

/*
 * Do `op` on count pages from gpa; in a thread, on the window's pages, the result in g.
 * 0 = done, -EFAULT = failed by the service, -ECANCELED = EFAULTs without end or a triple fault
 * (the machine was aborted).
 */
int guest_do(struct guest *g, enum guest_op op, gpa_t gpa, uint64_t count, uint64_t value);
void guest_start_thread(struct guest *g, pthread_t *thread, enum guest_op op, uint64_t page,
                        uint64_t count);

/* --- A program of tests -------------------------------------------------- */

struct rig_test {
    const char *name;
    void (*run)(void);
};

#define RIG_TEST(name) \
    {                  \
#name, name    \
    }

/* Run the tests whose names have one of the arguments as a part; none = all. */
int rig_main(const char *program, const struct rig_test *tests, size_t n, int argc, char **argv);

#endif
