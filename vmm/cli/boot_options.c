/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The options of `vkvm run` that say how an image is started.
 */
#include "vmm/cli/boot_options.h"

#include "vmm/cli/value.h"

#include <errno.h>
#include <string.h>

/* The end of what real mode reaches, where a start without a mode is one in it. */
#define REAL_MODE_END 0x100000u

/* Longer than any number. */
#define NUMBER_MAX 32

static const struct {
    const char *name;
    enum arch_protocol protocol;
} modes[] = {
    { "real", ARCH_PROTOCOL_FLAT16 },
    { "protected", ARCH_PROTOCOL_FLAT32 },
    { "long", ARCH_PROTOCOL_FLAT64 },
};

static int
take_file(const char **name, const char *option, const char *value, struct failure *failure)
{
    if (*value == '\0')
        return failure_set(failure, CLI_USAGE, "%s= has no name: give a file", option);
    *name = value;
    return CLI_OK;
}

int
boot_options_append(struct boot_options *boot, const char *value, struct failure *failure)
{
    (void)failure;
    boot->append = value;
    return CLI_OK;
}

int
boot_options_initrd(struct boot_options *boot, const char *value, struct failure *failure)
{
    return take_file(&boot->initrd, "--initrd", value, failure);
}

int
boot_options_module(struct boot_options *boot, const char *value, struct failure *failure)
{
    const char *comma = strchr(value, ',');
    struct pc_module module = {
        .path = value,
        .path_size = comma == NULL ? strlen(value) : (size_t)(comma - value),
        .arguments = comma == NULL ? "" : comma + 1,
    };

    if (module.path_size == 0)
        return failure_set(failure, CLI_USAGE,
                           "--module=" FAILURE_NAME " has no name: give FILE or FILE,ARGUMENTS",
                           value);
    if (boot->nmodules == PC_START_MAX_MODULES)
        return failure_set(failure, CLI_USAGE, "too many --module: give at most %u",
                           PC_START_MAX_MODULES);
    boot->modules[boot->nmodules++] = module;
    return CLI_OK;
}

/* An address, up to the end or a comma; *rest is what is behind that, or NULL. */
static int
take_address(const char *option, const char *value, uint64_t *address, const char **rest,
             struct failure *failure)
{
    const char *comma = strchr(value, ',');
    size_t size = comma == NULL ? strlen(value) : (size_t)(comma - value);
    char number[NUMBER_MAX];

    if (size < sizeof(number)) {
        memcpy(number, value, size);
        number[size] = '\0';
        *rest = comma == NULL ? NULL : comma + 1;
        if (value_size(number, address) == 0)
            return CLI_OK;
    }
    return failure_set(failure, CLI_USAGE,
                       "%s=" FAILURE_NAME " is no address: give one like 0x7c00 or 1M", option,
                       value);
}

int
boot_options_load(struct boot_options *boot, const char *value, struct failure *failure)
{
    const char *rest = NULL;
    int status = take_address("--load", value, &boot->flat.load, &rest, failure);

    if (status == CLI_OK && rest != NULL)
        return failure_set(failure, CLI_USAGE,
                           "--load=" FAILURE_NAME " is no address: the mode goes to --entry",
                           value);
    boot->flat.given = true;
    return status;
}

static int
take_mode(struct boot_options *boot, const char *name, struct failure *failure)
{
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(name, modes[i].name) == 0) {
            boot->flat.protocol = modes[i].protocol;
            boot->has_mode = true;
            return CLI_OK;
        }
    }
    return failure_set(failure, CLI_USAGE,
                       "--entry: the mode " FAILURE_NAME " is unknown: give real, protected or "
                       "long",
                       name);
}

int
boot_options_entry(struct boot_options *boot, const char *value, struct failure *failure)
{
    const char *mode = NULL;
    int status = take_address("--entry", value, &boot->flat.entry, &mode, failure);

    boot->has_entry = true;
    if (status == CLI_OK && mode != NULL)
        status = take_mode(boot, mode, failure);
    return status;
}

int
boot_options_check(struct boot_options *boot, struct failure *failure)
{
    if (!boot->flat.given && boot->has_entry)
        return failure_set(failure, CLI_USAGE,
                           "--entry is for a file without headers: say with --load where it "
                           "belongs");
    if (!boot->has_entry)
        boot->flat.entry = boot->flat.load;
    if (!boot->has_mode)
        boot->flat.protocol =
            boot->flat.entry < REAL_MODE_END ? ARCH_PROTOCOL_FLAT16 : ARCH_PROTOCOL_FLAT32;
    return CLI_OK;
}
