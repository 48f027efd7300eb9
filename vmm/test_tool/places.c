/* SPDX-License-Identifier: BSD-2-Clause */
/* Only what a run made is ever removed: names of ours, and directories that we made. */
#include "vmm/test_tool/places.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_DIRECTORIES 16

static int
remove_entry(const char *path, const struct stat *status, int flag, struct FTW *at)
{
    (void)status;
    (void)flag;
    (void)at;
    remove(path);
    return 0;
}

/* With all that is in it; follows no link. */
static void
remove_tree(const char *path)
{
    nftw(path, remove_entry, OPEN_DIRECTORIES, FTW_DEPTH | FTW_PHYS);
}

/* Make the directory and those above it.  Returns 0, or -errno. */
static int
make_directories(char *path)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        int error = mkdir(path, 0777) != 0 && errno != EEXIST ? -errno : 0;
        *slash = '/';
        if (error != 0)
            return error;
    }
    return mkdir(path, 0777) != 0 && errno != EEXIST ? -errno : 0;
}

static int
make_own(struct places *places, struct failure *failure)
{
    const char *parent = getenv("TMPDIR");
    char *path;

    if (parent == NULL || *parent == '\0')
        parent = "/tmp";
    if (asprintf(&path, "%s/vkvm-test.XXXXXX", parent) < 0)
        return failure_set(failure, -ENOMEM, "no memory");
    if (mkdtemp(path) == NULL) {
        int error = failure_set(failure, -errno,
                                "cannot make a directory in " FAILURE_NAME
                                ": %s: set TMPDIR, or give --out",
                                parent, strerror(errno));
        free(path);
        return error;
    }
    places->root = path;
    return 0;
}

int
places_init(struct places *places, const char *out, struct failure *failure)
{
    char *path;
    int error;

    *places = (struct places){ .kept = out != NULL };
    if (out == NULL)
        return make_own(places, failure);
    path = strdup(out);
    if (path == NULL)
        return failure_set(failure, -ENOMEM, "no memory");
    error = make_directories(path);
    places->root = error == 0 ? realpath(path, NULL) : NULL;
    if (error == 0 && places->root == NULL)
        error = -errno;
    free(path);
    if (error != 0)
        return failure_set(failure, error,
                           "cannot make --out=" FAILURE_NAME ": %s: give another directory", out,
                           strerror(-error));
    return 0;
}

void
places_fini(struct places *places)
{
    if (places->root != NULL && !places->kept)
        remove_tree(places->root);
    free(places->root);
    places->root = NULL;
}

/* Names have no '#' and no blank on a disk. */
static char *
folder_name(const struct places *places, const char *name, unsigned attempt)
{
    const char *mark = strstr(name, " #");
    int length = mark == NULL ? (int)strlen(name) : (int)(mark - name);
    char retry[32] = "", *folder;

    if (attempt > 0)
        snprintf(retry, sizeof(retry), "-retry%u", attempt);
    if (asprintf(&folder, "%s/%.*s%s%s%s", places->root, length, name, mark == NULL ? "" : ".",
                 mark == NULL ? "" : mark + 2, retry) < 0)
        return NULL;
    return folder;
}

static char *
file_name(const char *folder, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

int
place_make(struct place *place, const struct places *places, const char *name, unsigned attempt,
           struct failure *failure)
{
    int error = 0;

    *place = (struct place){ .folder = folder_name(places, name, attempt) };
    if (place->folder == NULL)
        return failure_set(failure, -ENOMEM, "no memory");
    place->files = file_name(place->folder, "files");
    place->console = file_name(place->folder, "console");
    place->stats = file_name(place->folder, "stats.json");
    place->trace = file_name(place->folder, "trace");
    if (place->files == NULL || place->console == NULL || place->stats == NULL ||
        place->trace == NULL) {
        place_fini(place);
        return failure_set(failure, -ENOMEM, "no memory");
    }
    error = make_directories(place->folder);
    if (error == 0) {
        place_clear(place);
        unlink(place->console);
        unlink(place->stats);
        unlink(place->trace);
        error = mkdir(place->files, 0777) != 0 ? -errno : 0;
    }
    if (error != 0) {
        failure_set(failure, error, "cannot make its directory " FAILURE_NAME ": %s", place->files,
                    strerror(-error));
        place_fini(place);
    }
    return error;
}

void
place_clear(const struct place *place)
{
    remove_tree(place->files);
}

void
place_fini(struct place *place)
{
    free(place->folder);
    free(place->files);
    free(place->console);
    free(place->stats);
    free(place->trace);
    *place = (struct place){ 0 };
}
