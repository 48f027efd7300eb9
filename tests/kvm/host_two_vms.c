/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two VMs in one process, on one host: they run at the same time, each counts and ends for
 * itself, and they share and compete for memory.
 *
 * Each VM's vm_run has a thread of its own; the guest carries out commands and meets the test at
 * its OP_TELL.
 */
#include "guest/include/vkvm_abi.h"
#include "tests/kvm/two_vms_guest.h"
#include "tests/kvm/vm_rig.h"
#include "vmm/pager/file_pager.h"
#include "vmm/vpagetable/vm_budget.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define SHARED_AT VKVM_WINDOW_BASE
#define SHARED_PAGES 64u
#define DATA UINT64_C(0x1000000) /* ordinary memory */
#define COMMANDS_MAX 12u
#define BUDGET_PAGES 1024u

GUEST(guest_party);

/* --- A host, and VMs on it that do as they are told ---------------------- */

struct party {
    struct vm_config config;
    struct vm *vm;
    struct command commands[COMMANDS_MAX];
    unsigned ncommands;
    pthread_t thread;
    struct vm_outcome outcome;
    struct vm_report report;
    _Atomic unsigned warnings;
};

struct world {
    struct vm_host_config config;
    struct vm_host *host;
    char file[64]; /* page p begins with p + 1 */
    char swap[64];
    _Atomic unsigned warnings; /* of the host */
    struct party a, b;
};

static void
count_warning(void *context, const char *message)
{
    (void)message;
    atomic_fetch_add((_Atomic unsigned *)context, 1);
}

static void
party_init(struct party *p)
{
    *p = (struct party){ .config = default_config() };
    p->config.timeout_ms = 120000; /* the lane is slow */
    p->config.warn = count_warning;
    p->config.warn_context = &p->warnings;
}

static void
world_init(struct world *w)
{
    *w = (struct world){ .config = default_host_config() };
    w->config.warn = count_warning;
    w->config.warn_context = &w->warnings;
    party_init(&w->a);
    party_init(&w->b);
    new_file(w->file, sizeof(w->file), SHARED_PAGES);
    new_file(w->swap, sizeof(w->swap), 0);
}

static void
world_fini(struct world *w)
{
    vm_host_destroy(w->host);
    unlink(w->file);
    unlink(w->swap);
}

static struct command *
command(struct party *p, uint64_t op, uint64_t address, uint64_t count, uint64_t seed)
{
    if (p->ncommands == COMMANDS_MAX)
        die("command", "too many");
    p->commands[p->ncommands] =
        (struct command){ .op = op, .address = address, .count = count, .seed = seed };
    return &p->commands[p->ncommands++];
}

static void *
run_party(void *argument)
{
    struct party *p = argument;

    vm_run(p->vm, &p->outcome);
    return NULL;
}

static void
party_make(struct world *w, struct party *p)
{
    const uint64_t one = 1;
    if (w->host == NULL)
        w->host = make_host(&w->config);
    p->vm = make_vm_on(w->host, &p->config, guest_party, guest_party_end);
    /* Pages of zeros could be taken away, and a VM that waits would need memory for them. */
    put(p->vm, GUEST_TOLD + sizeof(one), &one, sizeof(one));
    put(p->vm, GUEST_ANSWER + sizeof(one), &one, sizeof(one));
}

static void
party_start(struct party *p)
{
    const uint64_t nothing = 0;

    put(p->vm, COMMANDS, p->commands, sizeof(p->commands));
    put(p->vm, GUEST_ANSWER, &nothing,
        sizeof(nothing)); /* resident, so that waiting needs no page */
    if (pthread_create(&p->thread, NULL, run_party, p) != 0)
        die("pthread_create", "failed");
}

/* Wait until the guest tells the number, or its VM ends: false. */
static bool
party_told(struct party *p, uint64_t number)
{
    uint64_t told = 0;
    struct vm_fault_info info;

    while (told != number) {
        if (vcpu_vm_is_ending(&p->vm->shared))
            return false;
        usleep(1000);
        if (vm_map_read(vm_map_of(p->vm), gpa_from_u64(GUEST_TOLD), &told, sizeof(told), &info) !=
            VM_OK)
            return false;
    }
    return true;
}

static void
party_answer(struct party *p, uint64_t number)
{
    put(p->vm, GUEST_ANSWER, &number, sizeof(number));
}

/* Wait for the VM's end, take what it has to say, and destroy it. */
static void
party_end(struct party *p)
{
    pthread_join(p->thread, NULL);
    vm_map_of(p->vm)->stop = NULL; /* what it wrote may have been paged out, and is read again */
    get(p->vm, COMMANDS, p->commands, sizeof(p->commands));
    vm_report_get(p->vm, &p->report);
    vm_destroy(p->vm);
}

/* It told of nothing that was not as it should be. */
static void
expect_right(struct verdict *v, const struct party *p)
{
    for (unsigned i = 0; i < p->ncommands; i++)
        CHECK(v, p->commands[i].wrong == 0, "command %u: %" PRIu64 " pages", i,
              p->commands[i].wrong);
}

enum {
#define METER_FIELD(name, text) METER_##name,
    VM_METER_FIELDS(METER_FIELD)
#undef METER_FIELD
};

static void
expect_sums(struct verdict *v, const struct vm_report *report)
{
    const uint64_t *m = report->meter;

    CHECK_EQ(v,
             m[METER_v_kind_resident] + m[METER_v_kind_zero_fill] + m[METER_v_kind_page_in] +
                 m[METER_v_kind_cow] + m[METER_v_kind_failed] + m[METER_v_kind_host],
             m[METER_v_vm_faults]);
    CHECK_EQ(v, report->faults.missing + report->faults.minor + report->faults.write_protect,
             report->faults.messages);
}

/* --- The tests ----------------------------------------------------------- */

static void
what_cannot_be_a_host_is_refused_with_a_reason(struct verdict *v)
{
    struct vm_host_config many = default_host_config(), little = default_host_config();
    struct vm_host *host = NULL;
    struct failure failure = { 0 };

    many.prefault_pages = VM_PREFAULT_MAX + 1;
    CHECK_EQ(v, vm_host_create(&many, &host, &failure), -EINVAL);
    CHECK(v, strstr(failure.message, "prefault") != NULL, "%s", failure.message);
    little.ram_budget = PAGE_SIZE;
    CHECK_EQ(v, vm_host_create(&little, &host, &failure), -EINVAL);
    CHECK(v, strstr(failure.message, "budget") != NULL, "%s", failure.message);
    CHECK(v, host == NULL, "*hostp was touched");
}

static void
two_vms_run_at_the_same_time_and_each_counts_its_own(struct verdict *v)
{
    struct world w;

    world_init(&w);
    w.config.prefault_pages = 0;
    party_make(&w, &w.a);
    party_make(&w, &w.b);
    command(&w.a, OP_STORE, DATA, 600, 1000);
    command(&w.a, OP_TELL, 0, 0, 1);
    command(&w.a, OP_LOAD, DATA, 600, 1000);
    command(&w.a, OP_EXIT, 0, 0, 3);
    command(&w.b, OP_STORE, DATA, 200, 5000);
    command(&w.b, OP_TELL, 0, 0, 1);
    command(&w.b, OP_LOAD, DATA, 200, 5000);
    command(&w.b, OP_EXIT, 0, 0, 4);
    party_start(&w.a);
    party_start(&w.b);
    CHECK(v, party_told(&w.a, 1) && party_told(&w.b, 1), "%s", "they did not meet");
    party_answer(&w.a, 1);
    party_answer(&w.b, 1);
    party_end(&w.a);
    party_end(&w.b);
    expect_exit(v, &w.a.outcome, 3);
    expect_exit(v, &w.b.outcome, 4);
    expect_right(v, &w.a);
    expect_right(v, &w.b);
    expect_sums(v, &w.a.report);
    expect_sums(v, &w.b.report);
    CHECK_EQ(v, w.a.report.meter[METER_v_zfod] - w.b.report.meter[METER_v_zfod], 400);
    CHECK_EQ(v, w.a.report.exits_doorbell, 1);
    CHECK_EQ(v, w.b.report.exits_doorbell, 1);
    CHECK(v, w.b.report.meter[METER_v_vm_faults] < 600, "%" PRIu64 " faults",
          w.b.report.meter[METER_v_vm_faults]);
    world_fini(&w);
}

/* Both map the file's object, which stays the caller's too. */
static void
share_file(struct world *w)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(SHARED_AT),
        .end = gpa_from_u64(SHARED_AT + SHARED_PAGES * PAGE_SIZE),
        .protection = VM_PROT_READ,
        .max_protection = VM_PROT_READ,
    };

    if (file_pager_open(&w->host->sys, w->file, 0, 0, FILE_PAGER_READ_ONLY, &args.object) != 0)
        die(w->file, "file_pager_open");
    vm_object_ref(args.object);
    if (vm_map_insert(vm_map_of(w->a.vm), &args) != 0 ||
        vm_map_insert(vm_map_of(w->b.vm), &args) != 0)
        die("vm_map_insert", "failed");
}

static void
a_file_that_both_map_is_read_for_the_first_and_there_for_the_second(struct verdict *v)
{
    struct world w;

    world_init(&w);
    party_make(&w, &w.a);
    party_make(&w, &w.b);
    share_file(&w);
    command(&w.a, OP_LOAD, SHARED_AT, SHARED_PAGES, 1);
    command(&w.a, OP_TELL, 0, 0, 1);
    command(&w.a, OP_LOAD, SHARED_AT, SHARED_PAGES, 1);
    command(&w.b, OP_LOAD, SHARED_AT, SHARED_PAGES, 1);
    party_start(&w.a);
    CHECK(v, party_told(&w.a, 1), "%s", "it ended");
    party_start(&w.b);
    party_end(&w.b);
    party_answer(&w.a, 1);
    party_end(&w.a);
    expect_exit(v, &w.a.outcome, 0);
    expect_exit(v, &w.b.outcome, 0);
    expect_right(v, &w.a);
    expect_right(v, &w.b);
    CHECK_EQ(v, w.a.report.meter[METER_v_pagein], SHARED_PAGES);
    CHECK_EQ(v, w.b.report.meter[METER_v_pagein], 0);
    CHECK_EQ(v, w.b.report.meter[METER_v_majflt], 0);
    world_fini(&w);
}

/* One that runs its commands and ends as `op` says (OP_TELL: it is ended). */
static void
come_and_go(struct verdict *v, struct world *w, uint64_t op)
{
    uint64_t before = vm_budget_resident(&w->host->sys);
    struct party *a = &w->a;

    party_init(a);
    command(a, OP_STORE, DATA, 300, 9000);
    command(a, op, 0, 0, 1);
    party_make(w, a);
    party_start(a);
    if (op == OP_TELL) {
        CHECK(v, party_told(a, 1), "%s", "it ended by itself");
        vm_end(a->vm, VM_END_CRASHED, 0, "ended");
    }
    party_end(a);
    if (op == OP_EXIT)
        expect_exit(v, &a->outcome, 1);
    else
        expect_end(v, &a->outcome, VM_END_CRASHED, op == OP_TELL ? "ended" : "triple fault");
    CHECK_EQ(v, vm_budget_resident(&w->host->sys), before);
}

static void
one_goes_on_while_others_exit_crash_and_are_destroyed(struct verdict *v)
{
    static const uint64_t ways[] = { OP_EXIT, OP_CRASH, OP_TELL };
    struct party *b;
    struct world w;
    uint64_t i;

    world_init(&w);
    w.config.prefault_pages = 0;
    b = &w.b;
    for (i = 0; i < COUNT(ways); i++) {
        command(b, OP_STORE, DATA + i * 100 * PAGE_SIZE, 100, 100 * i);
        command(b, OP_TELL, 0, 0, i + 1);
    }
    command(b, OP_LOAD, DATA, 100 * COUNT(ways), 0);
    command(b, OP_EXIT, 0, 0, 7);
    party_make(&w, b);
    party_start(b);
    for (i = 0; i < COUNT(ways); i++) {
        CHECK(v, party_told(b, i + 1), "it ended before %" PRIu64, i);
        come_and_go(v, &w, ways[i]);
        party_answer(b, i + 1);
    }
    party_end(b);
    expect_exit(v, &b->outcome, 7);
    expect_right(v, b);
    expect_sums(v, &b->report);
    world_fini(&w);
}

static void
pressure_of_one_pages_out_the_other_and_nothing_is_lost(struct verdict *v)
{
    struct world w;
    uint64_t before;

    world_init(&w);
    w.config.ram_budget = BUDGET_PAGES * PAGE_SIZE;
    w.config.swap = w.swap;
    party_make(&w, &w.a);
    party_make(&w, &w.b);
    command(&w.a, OP_STORE, DATA, 600, 1000);
    command(&w.a, OP_TELL, 0, 0, 1);
    command(&w.a, OP_LOAD, DATA, 600, 1000);
    command(&w.b, OP_STORE, DATA, 1500, 7000);
    command(&w.b, OP_LOAD, DATA, 1500, 7000);
    party_start(&w.a);
    CHECK(v, party_told(&w.a, 1), "%s", "it ended");
    party_start(&w.b);
    party_end(&w.b);
    before = vm_meter_get(&vm_map_of(w.a.vm)->meter, v_pagein);
    party_answer(&w.a, 1);
    party_end(&w.a);
    expect_exit(v, &w.a.outcome, 0);
    expect_exit(v, &w.b.outcome, 0);
    expect_right(v, &w.a);
    expect_right(v, &w.b);
    CHECK(v, w.a.report.meter[METER_v_pagein] > before + 100, "%" PRIu64 " pages came back",
          w.a.report.meter[METER_v_pagein] - before);
    CHECK(v, w.a.report.meter[METER_v_pageout] != 0, "%s", "nothing was paged out");
    CHECK_EQ(v, w.warnings + w.a.warnings + w.b.warnings, 0);
    world_fini(&w);
}

/* Swap cannot be written: the host's failure to tell, and the end of who needs memory. */
static void
a_vm_that_finds_no_memory_ends_alone_and_the_host_warns(struct verdict *v)
{
    struct world w;

    world_init(&w);
    w.config.ram_budget = BUDGET_PAGES * PAGE_SIZE;
    w.config.swap = w.swap;
    party_make(&w, &w.a);
    party_make(&w, &w.b);
    command(&w.a, OP_STORE, DATA, 200, 1000);
    command(&w.a, OP_TELL, 0, 0, 1);
    command(&w.a, OP_LOAD, DATA, 200, 1000);
    command(&w.a, OP_STORE, DATA + 200 * PAGE_SIZE, 500, 1200);
    command(&w.a, OP_LOAD, DATA, 700, 1000);
    command(&w.b, OP_STORE, DATA, 2000, 7000);
    limit_file_size(0);
    party_start(&w.a);
    CHECK(v, party_told(&w.a, 1), "%s", "it ended");
    party_start(&w.b);
    party_end(&w.b);
    expect_end(v, &w.b.outcome, VM_END_FAILED, "RAM budget used up");
    party_answer(&w.a, 1);
    party_end(&w.a);
    limit_file_size(RLIM_INFINITY);
    expect_exit(v, &w.a.outcome, 0);
    expect_right(v, &w.a);
    CHECK(v, w.warnings != 0, "%s", "nobody was told of it");
    CHECK_EQ(v, w.a.warnings + w.b.warnings, 0);
    world_fini(&w);
}

static void
a_file_that_cannot_be_written_back_is_its_own_vms_failure(struct verdict *v)
{
    struct world w;

    world_init(&w);
    w.a.config.machine.nfiles = 1;
    w.a.config.machine.files[0] = (struct machine_file){ .start = gpa_from_u64(SHARED_AT),
                                                         .size = SHARED_PAGES * PAGE_SIZE,
                                                         .path = w.file,
                                                         .path_size = strlen(w.file),
                                                         .shared = true };
    party_make(&w, &w.a);
    party_make(&w, &w.b);
    command(&w.a, OP_STORE, SHARED_AT, SHARED_PAGES, 400);
    command(&w.b, OP_TELL, 0, 0, 1);
    command(&w.b, OP_STORE, DATA, 50, 1);
    command(&w.b, OP_EXIT, 0, 0, 9);
    party_start(&w.b);
    CHECK(v, party_told(&w.b, 1), "%s", "it ended");
    limit_file_size(0);
    party_start(&w.a);
    party_end(&w.a);
    limit_file_size(RLIM_INFINITY);
    expect_end(v, &w.a.outcome, VM_END_FAILED, "cannot write back");
    party_answer(&w.b, 1);
    party_end(&w.b);
    expect_exit(v, &w.b.outcome, 9);
    CHECK_EQ(v, w.warnings + w.a.warnings + w.b.warnings, 0);
    world_fini(&w);
}

static const struct test tests[] = {
    TEST(what_cannot_be_a_host_is_refused_with_a_reason),
    TEST(two_vms_run_at_the_same_time_and_each_counts_its_own),
    TEST(a_file_that_both_map_is_read_for_the_first_and_there_for_the_second),
    TEST(one_goes_on_while_others_exit_crash_and_are_destroyed),
    TEST(pressure_of_one_pages_out_the_other_and_nothing_is_lost),
    TEST(a_vm_that_finds_no_memory_ends_alone_and_the_host_warns),
    TEST(a_file_that_cannot_be_written_back_is_its_own_vms_failure),
};

int
main(int argc, char **argv)
{
    sigset_t set;

    signal(SIGXFSZ, SIG_IGN); /* as vkvm does: EFBIG says it too */
    /* vm_run's threads receive the signals. */
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return run_tests("host_two_vms", tests, COUNT(tests), argc > 1 ? argv[1] : NULL);
}
