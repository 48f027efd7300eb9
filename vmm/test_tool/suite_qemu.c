/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * QEMU's options, as kvm-unit-tests' configurations have them, in vkvm's words.
 *
 * What changes nothing that a guest could see here is left out.  A test that wants what vkvm has not is
 * not refused with its file, which may hold a hundred others: it is told why it cannot run.
 */
#include "vmm/test_tool/suite_build.h"

#include "vmm/cli/value.h"
#include "vmm/x86_64/cpu_feature.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The first reason is kept. */
static void
refuse(struct suite_build *build, const char *option, const char *value)
{
    if (build->test->refused == NULL)
        build->test->refused =
            arena_printf(build->arena, "%.200s:%u: vkvm has nothing like QEMU's %.100s%s%.200s",
                         build->file, build->pair->line, option, *value == '\0' ? "" : " ", value);
}

/* SIZE, or size=SIZE, with options behind: mebibytes unless it says otherwise. */
static int
take_memory(struct suite_build *build, const char *value, struct failure *failure)
{
    size_t skipped = strncmp(value, "size=", 5) == 0 ? 5 : 0;
    size_t length = strcspn(value + skipped, ",");
    char *size = arena_strndup(build->arena, value + skipped, length + 1);
    uint64_t bytes;

    if (size == NULL)
        return 0;
    size[length] = '\0';
    if (length > 0 && isdigit((unsigned char)size[length - 1]))
        size[length] = 'M';
    else if (length > 0)
        size[length - 1] = (char)toupper((unsigned char)size[length - 1]);
    if (value_size(size, &bytes) != 0)
        return suite_build_fail(build, failure, "-m %.100s is no size: give one like 512 or 2G",
                                value);
    suite_build_option(build, arena_printf(build->arena, "--memory=%s", size));
    return 0;
}

static int
take_cpus(struct suite_build *build, const char *value, struct failure *failure)
{
    size_t skipped = strncmp(value, "cpus=", 5) == 0 ? 5 : 0;
    char *number = arena_strndup(build->arena, value + skipped, strcspn(value + skipped, ","));

    return number == NULL ? 0 : suite_build_cpus(build, number, failure);
}

/* A feature that is to be off, by the name that QEMU has for it. */
static void
feature_off(struct suite_build *build, const char *name, size_t length)
{
    char text[64];

    if (length == 12 && memcmp(name, "tsc-deadline", 12) == 0) {
        suite_build_option(build, "--cpu=tsc_deadline_timer=off");
        return;
    }
    snprintf(text, sizeof(text), "%.*s", (int)length, name);
    for (char *p = text; *p != '\0'; p++) {
        if (*p == '-' || *p == '.')
            *p = '_';
    }
    if (cpu_feature_find(text, strlen(text)) >= 0)
        suite_build_option(build, arena_printf(build->arena, "--cpu=%s=off", text));
}

/*
 * MODEL,+FEATURE,-FEATURE,PROPERTY...: the guest has what KVM offers, without what is taken away.  What
 * is added is there if KVM offers it; a feature that vkvm cannot switch is nothing it could take away.
 */
static int
take_cpu(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)failure;
    for (size_t length; *value != '\0'; value += length + (value[length] != '\0')) {
        length = strcspn(value, ",");
        if (*value == '-')
            feature_off(build, value + 1, length - 1);
    }
    return 0;
}

static int
take_append(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)failure;
    build->test->arguments = value;
    return 0;
}

static int
take_initrd(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)failure;
    suite_build_option(build, "--initrd");
    suite_build_option(build, suite_build_path(build, build->images, value));
    return 0;
}

/* Is each word between commas one that changes nothing here? */
static bool
all_known(const char *value, const char *const *known, size_t nknown)
{
    for (size_t length; *value != '\0'; value += length + (value[length] != '\0')) {
        size_t i = 0;

        length = strcspn(value, ",");
        while (i < nknown && (strlen(known[i]) != length || strncmp(known[i], value, length) != 0))
            i++;
        if (i == nknown)
            return false;
    }
    return true;
}

static int
take_machine(struct suite_build *build, const char *value, struct failure *failure)
{
    static const char *const known[] = { "pc",      "q35",        "accel=kvm",
                                         "pit=off", "vmport=off", "kernel-irqchip=on",
                                         "smm=off" };

    (void)failure;
    if (!all_known(value, known, COUNT(known)))
        refuse(build, "-machine", value);
    return 0;
}

static int
take_accel(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)failure;
    if (strcmp(value, "kvm") != 0)
        refuse(build, "-accel", value);
    return 0;
}

/* The machine has these, or a guest does without. */
static int
take_device(struct suite_build *build, const char *value, struct failure *failure)
{
    static const char *const there[] = { "pc-testdev", "isa-debug-exit", "pci-testdev" };
    size_t length = strcspn(value, ",");

    (void)failure;
    for (size_t i = 0; i < COUNT(there); i++) {
        if (strlen(there[i]) == length && strncmp(there[i], value, length) == 0)
            return 0;
    }
    refuse(build, "-device", value);
    return 0;
}

static int
take_nothing(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)build;
    (void)value;
    (void)failure;
    return 0;
}

static const struct qemu_option {
    const char *name;
    bool has_value;
    int (*take)(struct suite_build *build, const char *value, struct failure *failure);
} options[] = {
    { "-m", true, take_memory },
    { "-smp", true, take_cpus },
    { "-cpu", true, take_cpu },
    { "-append", true, take_append },
    { "-initrd", true, take_initrd },
    { "-machine", true, take_machine },
    { "-M", true, take_machine },
    { "-accel", true, take_accel },
    { "-device", true, take_device },
    { "-enable-kvm", false, take_nothing },
    { "-nodefaults", false, take_nothing },
    { "-no-reboot", false, take_nothing },
    { "-nographic", false, take_nothing },
    { "-display", true, take_nothing },
    { "-serial", true, take_nothing },
    { "-vnc", true, take_nothing },
    { "-overcommit", true, take_nothing },
};

static const struct qemu_option *
find_option(const char *name)
{
    for (size_t i = 0; i < COUNT(options); i++) {
        if (strcmp(options[i].name, name) == 0 ||
            (name[0] == '-' && strcmp(options[i].name, name + 1) == 0))
            return &options[i];
    }
    return NULL;
}

int
suite_qemu_options(struct suite_build *build, struct failure *failure)
{
    char **words = suite_text_words(build->arena, build->pair->value, failure);
    int error = 0;

    if (words == NULL)
        return suite_build_fail(build, failure, "a quote has no end: close it");
    for (; error == 0 && *words != NULL; words++) {
        const struct qemu_option *option = find_option(*words);

        if (option == NULL) {
            refuse(build, *words, "");
            break;
        }
        if (option->has_value && words[1] == NULL)
            return suite_build_fail(build, failure, "%s has no value: give one", *words);
        error = option->take(build, option->has_value ? words[1] : "", failure);
        words += option->has_value;
    }
    return error;
}
