/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files and swap that fail under a running guest: it gets an exception and goes on, or the
 * VM ends with one line that says why.
 *
 * Failures of files are real ones.  A file is truncated; a write beyond RLIMIT_FSIZE fails
 * with EFBIG.  Memory is refused by alloc_failure.h.
 */
#include "tests/kvm/failure_world.h"

/* --- Truncated files ----------------------------------------------------- */

static void
truncate_file(struct world *w)
{
    if (truncate(w->file, 2 * PAGE_SIZE) != 0)
        die(w->file, strerror(errno));
}

static void
expect_exception(struct verdict *v, const struct command *c, uint64_t faults, uint64_t address,
                 uint64_t error)
{
    CHECK_EQ(v, c->faults, faults);
    CHECK_EQ(v, c->wrong, 0);
    CHECK_EQ(v, c->cr2, address);
    CHECK_EQ(v, c->error, error);
}

static void
truncated(struct verdict *v, bool shared)
{
    const struct command *load, *store, *again, *ram;
    struct world w;

    world_init(&w);
    map_file(&w, shared);
    world_start(&w);
    w.told = truncate_file;
    command(&w, OP_LOAD, FILE_AT, 1);
    command(&w, OP_TELL, 0, 1);
    load = command(&w, OP_LOAD, FILE_AT, FILE_PAGES);
    store = command(&w, OP_STORE, FILE_AT + FILE_SIZE - PAGE_SIZE, 1);
    again = command(&w, OP_LOAD, FILE_AT, 2);
    ram = command(&w, OP_STORE, DATA, 16);
    world_run(&w, RLIM_INFINITY);
    expect_exit(v, &w.outcome, 0);
    /* What was read along with the first page is still there. */
    CHECK(v, load->faults >= FILE_PAGES / 2, "%" PRIu64 " faults", load->faults);
    expect_exception(v, load, load->faults, FILE_AT + FILE_SIZE - PAGE_SIZE, 0);
    expect_exception(v, store, 1, FILE_AT + FILE_SIZE - PAGE_SIZE, VKVM_PF_WRITE);
    CHECK_EQ(v, again->faults + again->wrong + ram->faults, 0);
    world_fini(&w);
}

static void
a_file_truncated_while_mapped_faults_beyond_its_end_and_the_guest_goes_on(struct verdict *v)
{
    truncated(v, true);
    truncated(v, false);
}

static void
what_a_file_never_had_faults_each_time(struct verdict *v)
{
    const struct command *load, *store, *again;
    struct world w;

    for (unsigned shared = 0; shared < 2; shared++) {
        world_init(&w);
        map_file(&w, shared != 0);
        world_start(&w);
        truncate_file(&w);
        load = command(&w, OP_LOAD, FILE_AT, FILE_PAGES);
        store = command(&w, OP_STORE, FILE_AT + FILE_SIZE - 2 * PAGE_SIZE, 2);
        again = command(&w, OP_LOAD, FILE_AT, FILE_PAGES);
        world_run(&w, RLIM_INFINITY);
        expect_exit(v, &w.outcome, 0);
        expect_exception(v, load, FILE_PAGES - 2, FILE_AT + FILE_SIZE - PAGE_SIZE, 0);
        expect_exception(v, store, 2, FILE_AT + FILE_SIZE - PAGE_SIZE, VKVM_PF_WRITE);
        expect_exception(v, again, FILE_PAGES - 2, FILE_AT + FILE_SIZE - PAGE_SIZE, 0);
        world_fini(&w);
    }
}

static void
what_was_written_beyond_a_truncated_files_end_is_lost_aloud(struct verdict *v)
{
    const struct command *sync, *again;
    struct world w;
    struct stat st;

    world_init(&w);
    map_file(&w, true);
    world_start(&w);
    w.told = truncate_file;
    command(&w, OP_STORE, FILE_AT, FILE_PAGES);
    command(&w, OP_TELL, 0, 1);
    sync = call(&w, VKVM_CALL_SYNC, FILE_AT, FILE_SIZE);
    again = command(&w, OP_LOAD, FILE_AT, FILE_PAGES);
    world_run(&w, RLIM_INFINITY);
    expect_end(v, &w.outcome, VM_END_FAILED, "cannot write back ");
    CHECK(v, strstr(w.outcome.message, w.file) != NULL, "%s", w.outcome.message);
    CHECK_EQ(v, sync->result, -VKVM_EIO);
    CHECK_EQ(v, again->faults + again->wrong, 0);
    CHECK_EQ(v, stat(w.file, &st), 0);
    CHECK_EQ(v, st.st_size, 2 * PAGE_SIZE);
    world_fini(&w);
}

/* --- Write-back that fails ----------------------------------------------- */

static void
a_failing_write_back_is_an_error_of_sync_and_the_end_and_the_rest_is_written(struct verdict *v)
{
    const struct command *sync, *good, *again;
    struct world w;

    world_init(&w);
    map_file(&w, true);
    world_start(&w);
    command(&w, OP_STORE, FILE_AT + PAGE_SIZE, FILE_PAGES - 1);
    good = call(&w, VKVM_CALL_SYNC, FILE_AT, 3 * PAGE_SIZE);
    sync = call(&w, VKVM_CALL_SYNC, FILE_AT, FILE_SIZE);
    again = command(&w, OP_LOAD, FILE_AT + PAGE_SIZE, FILE_PAGES - 1);
    world_run(&w, 5 * PAGE_SIZE);
    expect_end(v, &w.outcome, VM_END_FAILED,
               "File too large: RLIMIT_FSIZE is 20K: raise it (ulimit -f unlimited): modified "
               "pages are lost");
    CHECK(v, strstr(w.outcome.message, w.file) != NULL, "%s", w.outcome.message);
    CHECK_EQ(v, good->result, 0);
    CHECK_EQ(v, sync->result, -VKVM_EIO);
    CHECK_EQ(v, again->faults + again->wrong, 0);
    for (uint64_t page = 1; page < FILE_PAGES; page++)
        CHECK_EQ(v, file_page(&w, page), page < 5 ? page : page + 1);
    world_fini(&w);
}

static void
a_write_back_that_fails_once_is_made_up_for(struct verdict *v)
{
    const struct command *sync, *again;
    struct world w;

    world_init(&w);
    map_file(&w, true);
    world_start(&w);
    command(&w, OP_STORE, FILE_AT + PAGE_SIZE, FILE_PAGES - 1);
    sync = call(&w, VKVM_CALL_SYNC, FILE_AT, FILE_SIZE);
    again = call(&w, VKVM_CALL_SYNC, FILE_AT, 4 * PAGE_SIZE);
    world_run(&w, 4 * PAGE_SIZE);
    CHECK_EQ(v, sync->result, -VKVM_EIO);
    CHECK_EQ(v, again->result, 0);
    CHECK_EQ(v, vm_object_page_clean(w.vm->files.maps[0].object), 0);
    for (uint64_t page = 1; page < FILE_PAGES; page++)
        CHECK_EQ(v, file_page(&w, page), page);
    world_fini(&w);
}

/* --- Swap ---------------------------------------------------------------- */

#define BUDGET_PAGES 1024u
#define DATA_PAGES 2048u

/* Little memory, and what the mini guest itself needs stays in it. */
static void
start_small(struct world *w)
{
    w->host.ram_budget = BUDGET_PAGES * PAGE_SIZE;
    w->host.swap = w->swap;
    world_start(w);
    if (vm_map_wire(vm_map_of(w->vm), gpa_from_u64(0), gpa_from_u64(LOW), true) != 0)
        die("vm_map_wire", "failed");
}

static void
swap_that_cannot_be_written_ends_the_vm_when_memory_is_used_up(struct verdict *v)
{
    struct world w;

    world_init(&w);
    start_small(&w);
    command(&w, OP_STORE, DATA, DATA_PAGES);
    world_run(&w, 0);
    expect_end(v, &w.outcome, VM_END_FAILED, "RAM budget used up");
    CHECK(v, w.warnings != 0, "nobody was warned");
    CHECK(v, strchr(w.outcome.message, '\n') == NULL, "more than one line");
    world_fini(&w);
}

static void
swap_that_fills_up_keeps_what_it_has(struct verdict *v)
{
    const struct command *load;
    struct world w;

    world_init(&w);
    start_small(&w);
    command(&w, OP_STORE, DATA, BUDGET_PAGES);
    load = command(&w, OP_LOAD, DATA, BUDGET_PAGES);
    command(&w, OP_STORE, DATA + BUDGET_PAGES * PAGE_SIZE, DATA_PAGES);
    world_run(&w, BUDGET_PAGES * PAGE_SIZE);
    CHECK_EQ(v, load->faults + load->wrong, 0);
    expect_end(v, &w.outcome, VM_END_FAILED, "RAM budget used up");
    CHECK(v, w.warnings != 0, "nobody was warned");
    world_fini(&w);
}

static void
truncate_swap(struct world *w)
{
    if (truncate(w->swap, 0) != 0)
        die(w->swap, strerror(errno));
}

/* Most of the guest's data goes to swap, of which it finds nothing when it comes back for it. */
static const struct command *
lose_swap(struct world *w)
{
    w->told = truncate_swap;
    command(w, OP_STORE, DATA, DATA_PAGES);
    command(w, OP_TELL, 0, 1);
    return command(w, OP_LOAD, DATA, 512);
}

static void
swap_that_cannot_be_read_is_an_exception_for_a_guest_that_asked_for_those(struct verdict *v)
{
    const struct command *before, *load, *store;
    struct world w;

    world_init(&w);
    start_small(&w);
    call(&w, VKVM_CALL_FAULT_DELIVERY, VKVM_DELIVER_PF, 0);
    command(&w, OP_STORE, DATA, DATA_PAGES);
    before = command(&w, OP_LOAD, DATA, DATA_PAGES);
    load = lose_swap(&w);
    store = command(&w, OP_STORE, DATA + DATA_PAGES * PAGE_SIZE, 64);
    world_run(&w, RLIM_INFINITY);
    expect_exit(v, &w.outcome, 0);
    CHECK_EQ(v, before->faults + before->wrong, 0);
    CHECK(v, load->faults > 100, "%" PRIu64 " pages could not be read", load->faults);
    CHECK_EQ(v, load->wrong, 0);
    CHECK_EQ(v, store->faults, 0);
    CHECK_EQ(v, w.warnings, SWAP_LOSSES_TOLD);
    world_fini(&w);
}

static void
swap_that_cannot_be_read_ends_a_vm_that_asked_for_no_exceptions(struct verdict *v)
{
    const struct command *load;
    struct world w;

    world_init(&w);
    start_small(&w);
    load = lose_swap(&w);
    world_run(&w, RLIM_INFINITY);
    expect_end(v, &w.outcome, VM_END_FAILED, "cannot be read back from swap");
    CHECK(v, strchr(w.outcome.message, '\n') == NULL, "more than one line");
    CHECK_EQ(v, load->faults + load->wrong, 0);
    CHECK_EQ(v, w.warnings, 1);
    CHECK(v, strstr(w.warning, w.swap) != NULL && strstr(w.warning, " at offset ") != NULL,
          "told was: %s", w.warning);
    /* What is written behind the lost page makes the file long enough again. */
    CHECK(v,
          strstr(w.warning, "ends before it") != NULL ||
              strstr(w.warning, "not what was written there") != NULL,
          "told was: %s", w.warning);
    CHECK_EQ(v, vm_meter_get(&w.vm->map.meter, v_swap_lost), 1);
    world_fini(&w);
}

/* --- Memory that the host does not give ---------------------------------- */

/* The n-th call of a kind fails, once. */
static struct {
    enum alloc_call call;
    _Atomic unsigned left; /* 0 = it has happened, or none is to fail */
} shortage;

static int
fails_now(enum alloc_call call)
{
    unsigned left = atomic_load(&shortage.left);

    if (call != shortage.call)
        return 0;
    while (left != 0 && !atomic_compare_exchange_weak(&shortage.left, &left, left - 1))
        continue;
    return left == 1 ? ENOMEM : 0;
}

static void
shortage_begin(enum alloc_call call, unsigned n)
{
    shortage.call = call;
    atomic_store(&shortage.left, n);
    alloc_failure_hook(fails_now);
}

/* Did it happen? */
static bool
shortage_end(void)
{
    bool happened = atomic_exchange(&shortage.left, 0) == 0;

    alloc_failure_hook(NULL);
    return happened;
}

static int
lowest_free_descriptor(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd;
}

static void
configure_all(struct world *w)
{
    map_file(w, true);
    w->config.machine.nvcpus = 1;
    w->config.guest = &doorbell_guest_ops;
    w->host.ram_budget = BUDGET_PAGES * PAGE_SIZE;
    w->host.swap = w->swap;
    w->config.machine.nwindows = 1;
    w->config.machine.windows[0] = (struct machine_window){ .start = gpa_from_u64(WINDOW_AT),
                                                            .size = 16 * PAGE_SIZE,
                                                            .format = &vpte64_format,
                                                            .root = ROOT_MAPPED,
                                                            .protection = VM_PROT_ALL };
}

/* Make the VM with the n-th call failing.  Returns whether one did. */
static bool
create_without(struct verdict *v, enum alloc_call call, unsigned n)
{
    int descriptor = lowest_free_descriptor(), ret;
    int64_t live = alloc_failure_live();
    struct failure failure = { 0 };
    struct vm_host *host = NULL;
    struct vm *vm = NULL;
    struct world w;
    bool happened;

    world_init(&w);
    configure_all(&w);
    shortage_begin(call, n);
    ret = vm_host_create(&w.host, &host, &failure);
    if (ret == 0)
        ret = vm_create(host, &w.config, &vm, &failure);
    happened = shortage_end();
    /* What can be done without, such as giving a hole back, may also fail and do no harm. */
    CHECK(v, happened || ret == 0, "call %u of kind %d: %s", n, (int)call, failure.message);
    CHECK(v, ret == 0 || (vm == NULL && failure.message[0] != '\0' && failure.code == ret),
          "call %u of kind %d: %d, \"%s\"", n, (int)call, ret, failure.message);
    if (vm != NULL)
        vm_destroy(vm);
    if (host != NULL)
        vm_host_destroy(host);
    unlink(w.file);
    unlink(w.swap);
    CHECK(v, alloc_failure_live() == live, "call %u of kind %d: memory is left", n, (int)call);
    CHECK(v, lowest_free_descriptor() == descriptor, "call %u of kind %d: a descriptor is left", n,
          (int)call);
    return happened;
}

static void
a_vm_that_cannot_be_made_for_want_of_memory_says_so_and_leaves_nothing(struct verdict *v)
{
    static const enum alloc_call calls[] = { ALLOC_HEAP, ALLOC_MAP, ALLOC_FILE, ALLOC_PROTECT };
    unsigned n;

    for (size_t i = 0; i < COUNT(calls); i++) {
        for (n = 1; create_without(v, calls[i], n) && v->failures == 0; n++)
            continue;
        CHECK(v, n > 2, "%u calls of kind %d", n - 1, (int)calls[i]);
    }
}

/* A region; arguments beyond the second are in the fields that such a call does not use. */
static void
map_region(struct world *w)
{
    struct command *c;

    call(w, VKVM_CALL_VMSPACE_CREATE, 1, 0);
    c = call(w, VKVM_CALL_REGION_MAP, 1, REGION_AT);
    c->wrong = 16 * PAGE_SIZE;
    c->faults = VKVM_MAP_READ | VKVM_MAP_WRITE;
}

/* Every doorbell call that makes something, and faults of every kind. */
static void
give_work(struct world *w)
{
    struct command *c;

    map_region(w);
    command(w, OP_STORE, REGION_AT, 16);
    c = call(w, VKVM_CALL_COPY, 1, REGION_AT);
    c->wrong = REGION_AT + 16 * PAGE_SIZE;
    c->faults = 16 * PAGE_SIZE;
    command(w, OP_STORE, REGION_AT + 16 * PAGE_SIZE, 16);
    command(w, OP_STORE, WINDOW_AT, 8);
    call(w, VKVM_CALL_WIRE, DATA, 8 * PAGE_SIZE);
}

/* Run with the n-th call failing.  Returns whether one did. */
static bool
run_without(struct verdict *v, enum alloc_call kind, unsigned n)
{
    int descriptor = lowest_free_descriptor();
    int64_t live = alloc_failure_live();
    struct world w;
    bool happened;

    world_init(&w);
    configure_all(&w);
    world_start(&w);
    give_work(&w);
    shortage_begin(kind, n);
    world_run(&w, RLIM_INFINITY);
    happened = shortage_end();
    CHECK(v,
          (w.outcome.end == VM_END_GUEST && w.outcome.status == 0) ||
              (happened && w.outcome.end == VM_END_FAILED && w.outcome.message[0] != '\0'),
          "call %u of kind %d: ended by %d: %s", n, (int)kind, (int)w.outcome.end,
          w.outcome.message);
    for (uint64_t i = 0; i < w.ncommands && w.outcome.end == VM_END_GUEST; i++) {
        const struct command *c = &w.commands[i];

        if (c->op == OP_CALL)
            CHECK(v, c->result == 0 || happened, "call %u: command %" PRIu64 " gave %" PRId64, n, i,
                  c->result);
    }
    world_fini(&w);
    CHECK(v, alloc_failure_live() == live, "call %u of kind %d: memory is left", n, (int)kind);
    CHECK(v, lowest_free_descriptor() == descriptor, "call %u of kind %d: a descriptor is left", n,
          (int)kind);
    return happened;
}

static void
a_call_that_fails_for_want_of_memory_ends_the_vm_or_only_itself(struct verdict *v)
{
    static const enum alloc_call kinds[] = { ALLOC_HEAP, ALLOC_MAP, ALLOC_HOLE, ALLOC_DROP,
                                             ALLOC_PROTECT };

    for (size_t i = 0; i < COUNT(kinds); i++) {
        for (unsigned n = 1; n < 400 && run_without(v, kinds[i], n) && v->failures == 0; n++)
            continue;
    }
}

/* --- Mappings that the host does not take away --------------------------- */

static enum alloc_call refused[] = { ALLOC_DROP, ALLOC_MAP, ALLOC_PROTECT };
static size_t nrefused;

static int
refuse(enum alloc_call call)
{
    for (size_t i = 0; i < nrefused; i++)
        if (call == refused[i])
            return ENOMEM;
    return 0;
}

static void
refuse_from_now_on(struct world *w)
{
    (void)w;
    alloc_failure_hook(refuse);
}

/* A call that drops mappings, when the first n kinds are refused. */
static void
check_undropped(struct verdict *v, size_t n, int64_t number, uint64_t first, uint64_t second)
{
    struct world w;

    world_init(&w);
    configure_all(&w);
    world_start(&w);
    map_region(&w);
    command(&w, OP_STORE, WINDOW_AT, 16);
    command(&w, OP_STORE, REGION_AT, 16);
    command(&w, OP_TELL, 0, 1);
    call(&w, number, first, second);
    w.told = refuse_from_now_on;
    nrefused = n;
    world_run(&w, RLIM_INFINITY);
    alloc_failure_hook(NULL);
    expect_end(v, &w.outcome, VM_END_FAILED, "cannot change the mapping of guest address 0x");
    expect_end(v, &w.outcome, VM_END_FAILED, "Cannot allocate memory: the host has none left: ");
    world_fini(&w);
}

static void
a_mapping_that_the_host_does_not_take_away_ends_the_vm_with_its_cause(struct verdict *v)
{
    for (size_t n = 2; n <= COUNT(refused); n++) {
        check_undropped(v, n, VKVM_CALL_INVAL, WINDOW_AT, 16 * PAGE_SIZE);
        check_undropped(v, n, VKVM_CALL_SETMAP, WINDOW_AT, 16 * PAGE_SIZE);
        check_undropped(v, n, VKVM_CALL_VMSPACE_DESTROY, 1, 0);
    }
}

static const struct test tests[] = {
    TEST(a_mapping_that_the_host_does_not_take_away_ends_the_vm_with_its_cause),
    TEST(a_vm_that_cannot_be_made_for_want_of_memory_says_so_and_leaves_nothing),
    TEST(a_call_that_fails_for_want_of_memory_ends_the_vm_or_only_itself),
    TEST(a_file_truncated_while_mapped_faults_beyond_its_end_and_the_guest_goes_on),
    TEST(what_a_file_never_had_faults_each_time),
    TEST(what_was_written_beyond_a_truncated_files_end_is_lost_aloud),
    TEST(a_failing_write_back_is_an_error_of_sync_and_the_end_and_the_rest_is_written),
    TEST(a_write_back_that_fails_once_is_made_up_for),
    TEST(swap_that_cannot_be_written_ends_the_vm_when_memory_is_used_up),
    TEST(swap_that_fills_up_keeps_what_it_has),
    TEST(swap_that_cannot_be_read_is_an_exception_for_a_guest_that_asked_for_those),
    TEST(swap_that_cannot_be_read_ends_a_vm_that_asked_for_no_exceptions),
};

int
main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* as vkvm does: EFBIG says it too */
    return run_tests("host_failure", tests, COUNT(tests), argc > 1 ? argv[1] : NULL);
}
