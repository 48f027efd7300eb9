/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the programs of whole VMs share (host_vm, host_bus and others): checks, files, whole VMs around mini
 * guests, and the main that runs a table of tests.
 *
 * Everything is static: a host test is one C file with its assembly.
 */
#ifndef VM_RIG_H
#define VM_RIG_H

#include "tests/kvm/vm_guest.h"
#include "vmm/doorbell/doorbell.h"
#include "vmm/vm/vm_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MEMORY_SIZE (UINT64_C(64) << 20)
#define WINDOW VKVM_WINDOW_BASE
#define WINDOW_PAGES 4u
#define WINDOW_SIZE (WINDOW_PAGES * PAGE_SIZE)
#define BACKING UINT64_C(0x400000) /* where in RAM the window's pages are */
#define ROOT_MAPPED (BACKING | VPTE_V | VPTE_PS | VPTE_R | VPTE_W | VPTE_X)

#define EXIT_SKIP 77

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A mini guest: its bytes. */
#define GUEST(name) extern const uint8_t name[], name##_end[]

/* The test that runs now, and what became of it. */
struct verdict {
    unsigned failures;
};

#define CHECK(v, condition, ...)                                      \
    do {                                                              \
        if (!(condition)) {                                           \
            (v)->failures++;                                          \
            fprintf(stderr, "  line %d: %s: ", __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                             \
            fputc('\n', stderr);                                      \
        }                                                             \
    } while (0)

#define CHECK_EQ(v, a, b)                                                      \
    do {                                                                       \
        uint64_t a_ = (uint64_t)(a), b_ = (uint64_t)(b);                       \
        CHECK(v, a_ == b_, "%s is 0x%" PRIx64 ", not 0x%" PRIx64, #a, a_, b_); \
    } while (0)

static inline void
die(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

/* --- VMs ------------------------------------------------------------------- */

static inline struct vm_host_config
default_host_config(void)
{
    return (struct vm_host_config){ .prefault_pages = VM_PREFAULT_DEFAULT, .fast_fault = true };
}

static inline struct vm_config
default_config(void)
{
    struct vm_config config = { .timeout_ms = 20000, .guest = &doorbell_guest_ops };

    machine_init(&config.machine);
    machine_set_memory(&config.machine, MEMORY_SIZE);
    return config;
}

static inline void
put(struct vm *vm, uint64_t gpa, const void *from, size_t size)
{
    struct vm_fault_info info;

    if (vm_map_write(vm_map_of(vm), gpa_from_u64(gpa), from, size, &info) != VM_OK)
        die("vm_map_write", vm_result_name(info.result));
}

static inline void
get(struct vm *vm, uint64_t gpa, void *to, size_t size)
{
    struct vm_fault_info info;

    if (vm_map_read(vm_map_of(vm), gpa_from_u64(gpa), to, size, &info) != VM_OK)
        die("vm_map_read", vm_result_name(info.result));
}

static inline void
start_at(struct vm *vm, uint64_t entry)
{
    const struct arch_start start = { .entry = gpa_from_u64(entry), .info = gpa_from_u64(0x7000) };
    struct failure failure;

    if (vm_set_start(vm, &start, &failure) != 0)
        die("vm_set_start", failure.message);
}

static inline struct vm_host *
make_host(const struct vm_host_config *config)
{
    struct vm_host *host;
    struct failure failure;

    if (vm_host_create(config, &host, &failure) != 0)
        die("vm_host_create", failure.message);
    return host;
}

static inline struct vm *
make_vm_on(struct vm_host *host, const struct vm_config *config, const uint8_t *code,
           const uint8_t *end)
{
    struct failure failure;
    struct vm *vm;

    if (vm_create(host, config, &vm, &failure) != 0)
        die("vm_create", failure.message);
    start_at(vm, GUEST_CODE);
    put(vm, GUEST_CODE, code, (size_t)(end - code));
    return vm;
}

/* A VM with a host of its own; destroy_vm ends both. */
static inline struct vm *
make_vm(const struct vm_config *config, const uint8_t *code, const uint8_t *end)
{
    const struct vm_host_config host = default_host_config();

    return make_vm_on(make_host(&host), config, code, end);
}

static inline void
destroy_vm(struct vm *vm)
{
    struct vm_host *host = vm->host;

    vm_destroy(vm);
    vm_host_destroy(host);
}

static inline struct vm_outcome
run_vm(struct vm *vm)
{
    struct vm_outcome outcome;

    vm_run(vm, &outcome);
    return outcome;
}

/* A VM that ends by itself and leaves nothing to look at. */
static inline struct vm_outcome
run_guest(const struct vm_config *config, const uint8_t *code, const uint8_t *end)
{
    struct vm *vm = make_vm(config, code, end);
    struct vm_outcome outcome = run_vm(vm);

    destroy_vm(vm);
    return outcome;
}

/* --- Files, and their limit ------------------------------------------------- */

/* A new file; page p begins with p + 1.  Its name goes to path. */
static inline void
new_file(char *path, size_t size, uint64_t pages)
{
    int fd;

    snprintf(path, size, "/tmp/vkvm-test.XXXXXX");
    fd = mkstemp(path);
    if (fd < 0 || ftruncate(fd, (off_t)(pages * PAGE_SIZE)) != 0)
        die(path, strerror(errno));
    for (uint64_t value = 1; value <= pages; value++) {
        if (pwrite(fd, &value, sizeof(value), (off_t)((value - 1) * PAGE_SIZE)) != sizeof(value))
            die(path, strerror(errno));
    }
    close(fd);
}

/* How large the process may make a file. */
static inline void
limit_file_size(rlim_t size)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) != 0)
        die("getrlimit", strerror(errno));
    limit.rlim_cur = size < limit.rlim_max ? size : limit.rlim_max;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        die("setrlimit", strerror(errno));
}

/* --- How a VM ended ---------------------------------------------------------- */

static inline void
expect_end(struct verdict *v, const struct vm_outcome *outcome, enum vm_end end, const char *text)
{
    CHECK(v, outcome->end == end, "ended by %d: %s", (int)outcome->end, outcome->message);
    CHECK(v, strstr(outcome->message, text) != NULL, "\"%s\" is not in \"%s\"", text,
          outcome->message);
}

static inline void
expect_exit(struct verdict *v, const struct vm_outcome *outcome, int status)
{
    CHECK(v, outcome->end == VM_END_GUEST, "ended by %d: %s", (int)outcome->end, outcome->message);
    CHECK(v, outcome->status == status, "status %d, not %d", outcome->status, status);
}

/* --- running tests ---------------------------------------------------------- */

struct test {
    const char *name;
    void (*run)(struct verdict *v);
};

#define TEST(name)  \
    {               \
#name, name \
    }

/* Run the tests whose names contain `wanted`, or all; returns the exit status. */
static inline int
run_tests(const char *program, const struct test *tests, size_t ntests, const char *wanted)
{
    unsigned passed = 0, failed = 0;
    struct verdict v;
    size_t i;

    if (access("/dev/kvm", R_OK | W_OK) != 0) {
        printf("SKIP %s: /dev/kvm: %s\n", program, strerror(errno));
        return EXIT_SKIP;
    }
    for (i = 0; i < ntests; i++) {
        if (wanted != NULL && strstr(tests[i].name, wanted) == NULL)
            continue;
        v = (struct verdict){ 0 };
        tests[i].run(&v);
        printf("%s %s\n", v.failures == 0 ? "PASS" : "FAIL", tests[i].name);
        fflush(stdout);
        if (v.failures == 0)
            passed++;
        else
            failed++;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}

#endif
