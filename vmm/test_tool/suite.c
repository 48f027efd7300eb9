/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From files to suites.  A suite is added only when all of it is known to be right.
 */
#include "vmm/test_tool/suite.h"

#include "vmm/base/file.h"
#include "vmm/test_tool/arena.h"
#include "vmm/test_tool/suite_build.h"
#include "vmm/test_tool/suite_matrix.h"
#include "vmm/test_tool/suite_text.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_MAX (16u << 20)
#define SUFFIX ".cfg"
#define FOREIGN "unittests" SUFFIX /* what kvm-unit-tests calls its configurations */
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+=,:@%~-"

/* --- One file -------------------------------------------------------------- */

/* The whole file, with a NUL behind it, in the arena. */
static int
read_file(struct arena *arena, const char *path, char **text, struct failure *failure)
{
    uint64_t size;
    int fd = -1;
    int error = file_open(path, O_RDONLY, &fd, &size, failure);

    if (error != 0)
        return error;
    *text = size <= CONFIG_MAX ? arena_alloc(arena, size + 1) : NULL;
    if (size > CONFIG_MAX)
        error = failure_set(failure, -EINVAL, FAILURE_NAME " is no configuration: it is too large",
                            path);
    else if (*text == NULL)
        error = failure_set(failure, -ENOMEM, "no memory for " FAILURE_NAME, path);
    else if ((error = file_read_at(fd, *text, size, 0)) != 0)
        failure_set(failure, error, "cannot read " FAILURE_NAME ": %s", path, strerror(-error));
    close(fd);
    if (error == 0 && (*text == NULL || strlen(*text) != size))
        error =
            failure_set(failure, -EINVAL, FAILURE_NAME " is no configuration: it is no text", path);
    return error;
}

/* The file's folder, absolute; NULL with *failure filled. */
static char *
folder_of(struct arena *arena, const char *path, struct failure *failure)
{
    char folder[PATH_MAX];
    char *slash, *result;

    if (realpath(path, folder) == NULL) {
        failure_set(failure, -errno, "cannot find " FAILURE_NAME ": %s", path, strerror(errno));
        return NULL;
    }
    slash = strrchr(folder, '/');
    if (slash != folder)
        *slash = '\0';
    result = arena_strndup(arena, folder, strlen(folder));
    if (result == NULL)
        failure_set(failure, -ENOMEM, "no memory for " FAILURE_NAME, path);
    return result;
}

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

static bool
is_name(const char *name)
{
    return *name != '\0' && *name != '.' && name[strspn(name, NAME_CHARACTERS)] == '\0';
}

/* The configuration's name without .cfg; of kvm-unit-tests' the folder's, since all are called alike. */
static int
name_suite(struct suite *suite, const char *folder, struct failure *failure)
{
    const char *name = base_name(suite->file);
    size_t length = strlen(name);

    if (strcmp(name, FOREIGN) == 0) {
        name = base_name(folder);
        length = strlen(name);
    } else if (length > strlen(SUFFIX) && strcmp(name + length - strlen(SUFFIX), SUFFIX) == 0) {
        length -= strlen(SUFFIX);
    }
    suite->name = arena_strndup(suite->arena, name, length);
    if (suite->name == NULL)
        return failure_set(failure, -ENOMEM, "no memory for " FAILURE_NAME, suite->file);
    if (!is_name(suite->name))
        return failure_set(failure, -EINVAL,
                           FAILURE_NAME " is no name for a suite: letters, digits and some of "
                                        "._+=,:@%%~- make one",
                           suite->name);
    return 0;
}

/* One test of a section. */
static int
add_test(struct suite *suite, struct suite_build *build, const struct suite_section *section,
         struct failure *failure)
{
    struct suite_test *test = &suite->tests[suite->ntests];

    *test = (struct suite_test){
        .file = suite->file, .line = section->line, .arguments = "", .exit_status = -1
    };
    build->section = section;
    build->test = test;
    build->noptions = build->room = 0;
    test->name = arena_printf(suite->arena, "%s/%s", suite->name, section->name);
    if (test->name == NULL)
        return failure_set(failure, -ENOMEM, "no memory for the configuration");
    if (!is_name(section->name) || strlen(test->name) > SUITE_NAME_MAX)
        return failure_set(failure, -EINVAL,
                           "%.200s:%u: [%.200s] is no name for a test: letters, digits and some "
                           "of ._+=,:@%%~- make one, of at most %d characters",
                           suite->file, section->line, section->name, SUITE_NAME_MAX);
    for (size_t i = 0; i < suite->ntests; i++) {
        if (strcmp(suite->tests[i].name, test->name) == 0)
            return failure_set(failure, -EEXIST,
                               "%.200s:%u: [%.200s] is there already, in line %u: give it another "
                               "name",
                               suite->file, section->line, section->name, suite->tests[i].line);
    }
    suite->ntests++;
    return suite_keys_read(build, failure);
}

/* All tests of a section. */
static int
add_section(struct suite *suite, struct suite_build *build, const struct suite_section *section,
            struct failure *failure)
{
    struct suite_matrix matrix;
    struct suite_section taken;
    int error = suite_matrix_parse(suite->arena, suite->file, section, &matrix, failure);

    if (error != 0)
        return error;
    suite->tests = arena_grow(suite->arena, suite->tests, suite->ntests * sizeof(*suite->tests),
                              (suite->ntests + matrix.ntests) * sizeof(*suite->tests));
    if (suite->tests == NULL)
        return failure_set(failure, -ENOMEM, "no memory for the configuration");
    for (size_t i = 0; error == 0 && i < matrix.ntests; i++) {
        error = suite_matrix_take(suite->arena, suite->file, &matrix, i, build->folder, section,
                                  &taken, failure);
        if (error == 0)
            error = add_test(suite, build, &taken, failure);
        build->section = NULL;
    }
    return error;
}

/* Fill a suite whose file and arena are known. */
static int
read_suite(struct suite *suite, const struct suite_places *places, struct failure *failure)
{
    struct suite_build build = { .arena = suite->arena, .file = suite->file };
    struct suite_sections sections;
    char images[PATH_MAX];
    char *text = NULL;
    int error = read_file(suite->arena, suite->file, &text, failure);

    if (error == 0)
        error = suite_text_parse(suite->arena, suite->file, text, &sections, failure);
    if (error != 0)
        return error;
    build.folder = folder_of(suite->arena, suite->file, failure);
    if (build.folder == NULL)
        return failure->code;
    build.images = build.folder;
    if (places->images != NULL) {
        if (realpath(places->images, images) == NULL)
            return failure_set(failure, -errno, "cannot find --images=" FAILURE_NAME ": %s",
                               places->images, strerror(errno));
        build.images = images;
    }
    build.foreign = strcmp(base_name(suite->file), FOREIGN) == 0;
    error = name_suite(suite, build.folder, failure);
    for (size_t i = 0; error == 0 && i < sections.n; i++)
        error = add_section(suite, &build, &sections.sections[i], failure);
    if (error == 0 && suite->ntests == 0)
        error = failure_set(failure, -EINVAL, FAILURE_NAME " has no test: add a section [TEST]",
                            suite->file);
    return error;
}

/* --- Several --------------------------------------------------------------- */

static void
suite_destroy(struct suite *suite)
{
    arena_destroy(suite->arena);
    free(suite);
}

static int
check_unique(const struct suites *suites, const struct suite *suite, struct failure *failure)
{
    assert(suite->name != NULL);
    for (size_t i = 0; i < suites->nsuites; i++) {
        if (strcmp(suites->suites[i]->name, suite->name) == 0)
            return failure_set(failure, -EEXIST,
                               "two suites are called '%.100s', '%.200s' and '%.200s': run one at "
                               "a time, or rename one",
                               suite->name, suites->suites[i]->file, suite->file);
    }
    return 0;
}

static int
add_file(struct suites *suites, const char *path, const struct suite_places *places,
         struct failure *failure)
{
    struct suite *suite = calloc(1, sizeof(*suite));
    struct suite **grown;
    int error;

    if (suite == NULL)
        return failure_set(failure, -ENOMEM, "no memory for " FAILURE_NAME, path);
    suite->arena = arena_create();
    if (suite->arena != NULL)
        suite->file = arena_strndup(suite->arena, path, strlen(path));
    if (suite->file == NULL)
        error = failure_set(failure, -ENOMEM, "no memory for " FAILURE_NAME, path);
    else
        error = read_suite(suite, places, failure);
    if (error == 0)
        error = check_unique(suites, suite, failure);
    grown = error != 0 ? NULL
                       : reallocarray(suites->suites, suites->nsuites + 1, sizeof(*suites->suites));
    if (grown == NULL) {
        suite_destroy(suite);
        return error != 0 ? error
                          : failure_set(failure, -ENOMEM, "no memory for " FAILURE_NAME, path);
    }
    suites->suites = grown;
    suites->suites[suites->nsuites++] = suite;
    return 0;
}

static int
is_config(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);

    return entry->d_name[0] != '.' && length > strlen(SUFFIX) &&
           strcmp(entry->d_name + length - strlen(SUFFIX), SUFFIX) == 0;
}

static int
add_directory(struct suites *suites, const char *path, const struct suite_places *places,
              struct failure *failure)
{
    struct dirent **names = NULL;
    char file[PATH_MAX];
    int n = scandir(path, &names, is_config, alphasort);
    int error = 0;

    if (n < 0)
        return failure_set(failure, -errno, "cannot read the directory " FAILURE_NAME ": %s", path,
                           strerror(errno));
    if (n == 0)
        error =
            failure_set(failure, -ENOENT, FAILURE_NAME " has no *" SUFFIX ": name a suite", path);
    for (int i = 0; i < n; i++) {
        if (error == 0 &&
            snprintf(file, sizeof(file), "%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/",
                     names[i]->d_name) >= (int)sizeof(file))
            error = failure_set(failure, -ENAMETOOLONG, FAILURE_NAME " is too long", path);
        if (error == 0)
            error = add_file(suites, file, places, failure);
        free(names[i]);
    }
    free(names);
    return error;
}

int
suites_add(struct suites *suites, const char *path, const struct suite_places *places,
           struct failure *failure)
{
    size_t before = suites->nsuites;
    struct stat status;
    int error;

    if (*path == '\0')
        return failure_set(failure, -ENOENT, "a suite has no name: give a directory or a *" SUFFIX);
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        error = add_directory(suites, path, places, failure);
    else
        error = add_file(suites, path, places, failure);
    while (error != 0 && suites->nsuites > before)
        suite_destroy(suites->suites[--suites->nsuites]);
    return error;
}

void
suites_fini(struct suites *suites)
{
    for (size_t i = 0; i < suites->nsuites; i++)
        suite_destroy(suites->suites[i]);
    free(suites->suites);
    *suites = (struct suites){ 0 };
}

const struct suite_test *
suites_find(const struct suites *suites, const char *name)
{
    for (size_t i = 0; i < suites->nsuites; i++) {
        const struct suite *suite = suites->suites[i];

        for (size_t j = 0; j < suite->ntests; j++) {
            if (strcmp(suite->tests[j].name, name) == 0)
                return &suite->tests[j];
        }
    }
    return NULL;
}
