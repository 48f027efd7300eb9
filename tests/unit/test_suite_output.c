/* SPDX-License-Identifier: BSD-2-Clause */
/* Where reports go: whole or not there, as they grow, and what cannot be written. */
#include "vmm/test_tool/output.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[80];
static struct failure failure;
static struct output output;

/* A folder with a report of an earlier run. */
static void
begin(void)
{
    FILE *old;

    strcpy(folder, "/tmp/suite_output.XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/report", folder);
    old = fopen(path, "w");
    cr_assert(old != NULL);
    fputs("old", old);
    fclose(old);
    failure = (struct failure){ .message = "" };
}

/* How many files begin with the report's name. */
static size_t
count_files(void)
{
    char pattern[96];
    glob_t found;
    size_t n;

    snprintf(pattern, sizeof(pattern), "%s*", path);
    n = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
    globfree(&found);
    return n;
}

static void
expect_text(const char *wanted)
{
    char text[64] = "";
    FILE *file = fopen(path, "r");

    cr_assert(file != NULL);
    (void)!fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    cr_expect(zero(int, strcmp(text, wanted)), "%s", text);
}

static void
end(void)
{
    unlink(path);
    cr_expect(zero(sz, count_files()));
    cr_expect(zero(int, rmdir(folder)));
}

Test(suite_output, a_whole_report_is_there_only_at_the_end)
{
    struct stat status;
    mode_t mask = umask(027);

    begin();
    cr_assert(zero(int, output_open(&output, path, true, &failure)));
    cr_assert(ne(int, access(path, F_OK), 0), "the old one is gone");
    fputs("new", output.to);
    cr_assert(zero(int, output_close(&output, true, &failure)));
    expect_text("new");
    cr_assert(eq(sz, count_files(), 1));
    cr_assert(zero(int, stat(path, &status)));
    cr_assert(eq(uint, status.st_mode & 0777, 0640), "as any new file");
    umask(mask);
    end();
}

Test(suite_output, of_a_whole_report_that_is_not_good_nothing_is_left)
{
    begin();
    cr_assert(zero(int, output_open(&output, path, true, &failure)));
    fputs("half", output.to);
    cr_assert(zero(int, output_close(&output, false, &failure)));
    cr_assert(zero(sz, count_files()));
    end();
}

Test(suite_output, another_report_grows_in_its_file)
{
    begin();
    cr_assert(zero(int, output_open(&output, path, false, &failure)));
    fputs("new", output.to);
    fflush(output.to);
    expect_text("new");
    cr_assert(zero(int, output_close(&output, false, &failure)));
    expect_text("new");
    end();
}

Test(suite_output, what_is_no_plain_file_is_written_itself)
{
    begin();
    unlink(path);
    cr_assert(zero(int, symlink("/dev/full", path)));
    cr_assert(zero(int, output_open(&output, path, true, &failure)));
    cr_assert(output.temporary == NULL);
    fputs("new", output.to);
    cr_assert(eq(int, output_close(&output, true, &failure), -ENOSPC));
    cr_assert(strstr(failure.message, "No space left on device: make room") != NULL, "%s",
              failure.message);
    end();
}

Test(suite_output, a_file_that_is_full_when_it_is_closed_is_an_error_and_leaves_nothing)
{
    struct rlimit limit = { .rlim_cur = 2, .rlim_max = RLIM_INFINITY };

    begin();
    signal(SIGXFSZ, SIG_IGN);
    cr_assert(zero(int, getrlimit(RLIMIT_FSIZE, &limit)));
    limit.rlim_cur = 2;
    cr_assert(zero(int, output_open(&output, path, true, &failure)));
    fputs("new", output.to);
    cr_assert(zero(int, setrlimit(RLIMIT_FSIZE, &limit)));
    cr_assert(eq(int, output_close(&output, true, &failure), -EFBIG));
    cr_assert(strstr(failure.message, path) != NULL);
    cr_assert(zero(sz, count_files()));
    end();
}

Test(suite_output, a_name_that_is_taken_meanwhile_is_an_error_and_leaves_nothing)
{
    begin();
    cr_assert(zero(int, output_open(&output, path, true, &failure)));
    cr_assert(zero(int, mkdir(path, 0777)));
    cr_assert(eq(int, output_close(&output, true, &failure), -EISDIR));
    cr_assert(eq(sz, count_files(), 1));
    rmdir(path);
    end();
}

Test(suite_output, a_folder_that_is_not_there_is_an_error)
{
    for (unsigned whole = 0; whole < 2; whole++) {
        cr_assert(eq(int, output_open(&output, "/nothere/report", whole != 0, &failure), -ENOENT));
        cr_assert(strstr(failure.message, "'/nothere/report'") != NULL, "%s", failure.message);
    }
}
