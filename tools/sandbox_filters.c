/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Make seccomp filters of the table of calls, as C for vmm/vm/sandbox_filters.h, on standard output.
 * A program of the build: vkvm has no need of libseccomp when it runs.
 *
 * A filter is a binary tree: the kernel runs it for each call that there is when it is laid upon a
 * thread, to know which are always allowed, so its depth is what a start costs (docs/sandbox.md).
 */
#include "vmm/vm/sandbox_filters.h"
#include "vmm/vm/sandbox_table.h"

#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SCMP_FLTATR_CTL_OPTIMIZE: a binary tree of the calls. */
#define OPTIMIZE_TREE 2

/* Above the last call's number for years to come. */
#define CALLS 1024

static void
check(const char *what, int error)
{
    if (error < 0) {
        fprintf(stderr, "sandbox_filters: %s: %s\n", what, strerror(-error));
        exit(EXIT_FAILURE);
    }
}

static scmp_filter_ctx
filter_create(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);

    check("seccomp_init", filter == NULL ? -ENOMEM : 0);
    check("seccomp_attr_set", seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP));
    check("seccomp_attr_set", seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, OPTIMIZE_TREE));
    check("clone3", seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0));
    return filter;
}

static void
add_row(scmp_filter_ctx filter, const struct sandbox_row *row)
{
    const struct scmp_arg_cmp condition = {
        .arg = row->argument,
        .op = SCMP_CMP_MASKED_EQ,
        .datum_a = row->mask,
        .datum_b = row->value,
    };

    check("seccomp_rule_add",
          seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, row->call, row->mask != 0, &condition));
}

static void
print_code(scmp_filter_ctx filter, unsigned kind)
{
    FILE *file = tmpfile();
    struct sock_filter at;
    unsigned length = 0;

    check("tmpfile", file == NULL ? -errno : 0);
    check("seccomp_export_bpf", seccomp_export_bpf(filter, fileno(file)));
    rewind(file);
    printf("\nstatic const struct sock_filter code_%u[] = {\n", kind);
    for (; fread(&at, sizeof(at), 1, file) == 1; length++)
        printf("    { 0x%02x, %u, %u, 0x%08x },\n", at.code, at.jt, at.jf, at.k);
    check("SANDBOX_FILTER_MAX", length > SANDBOX_FILTER_MAX ? -E2BIG : 0);
    printf("};\n");
    fclose(file);
}

static void
print_filter(unsigned kind)
{
    scmp_filter_ctx filter = filter_create();

    for (size_t i = 0; i < sandbox_table_rows; i++) {
        if ((sandbox_table[i].kinds & SANDBOX_BIT(kind)) != 0)
            add_row(filter, &sandbox_table[i]);
    }
    print_code(filter, kind);
    seccomp_release(filter);
}

static void
print_filters(void)
{
    for (unsigned kind = 0; kind < SANDBOX_KINDS; kind++)
        print_filter(kind);
    printf("\nconst struct sandbox_filter sandbox_filters[SANDBOX_KINDS] = {\n");
    for (unsigned kind = 0; kind < SANDBOX_KINDS; kind++)
        printf("    { code_%u, sizeof(code_%u) / sizeof(code_%u[0]) },\n", kind, kind, kind);
    printf("};\n");
}

static void
print_names(void)
{
    printf("\nconst char sandbox_call_names[][SANDBOX_CALL_NAME] = {\n");
    for (int call = 0; call < CALLS; call++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, call);

        if (name != NULL && strlen(name) < SANDBOX_CALL_NAME)
            printf("    [%d] = \"%s\",\n", call, name);
        free(name);
    }
    printf("};\n"
           "const size_t sandbox_ncalls = sizeof(sandbox_call_names) / SANDBOX_CALL_NAME;\n");
}

int
main(void)
{
    printf("/* Made by tools/sandbox_filters.c. */\n#include \"vmm/vm/sandbox_filters.h\"\n");
    print_filters();
    print_names();
    return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
}
