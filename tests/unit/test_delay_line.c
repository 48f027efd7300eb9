/* SPDX-License-Identifier: BSD-2-Clause */
/* The delay line: it holds as many descriptors as it says, and gives all of them back. */
#include "vmm/kvm/delay_line.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

static unsigned
count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned n = 0;

    cr_assert(directory != NULL);
    while (readdir(directory) != NULL)
        n++;
    closedir(directory);
    return n;
}

Test(delay_line, a_line_gives_all_its_descriptors_back)
{
    unsigned before = count_descriptors();
    int fd = eventfd(0, EFD_CLOEXEC);
    struct delay_line line;

    for (unsigned length = 0; length <= DELAY_LINE_MAX; length = length * 2 + 1) {
        delay_line_init(&line, fd, length);
        cr_assert(eq(uint, line.length, length));
        cr_assert(eq(uint, count_descriptors() - before - 1, length == 0 ? 0 : length + 1));
        delay_line_fini(&line);
        cr_assert(eq(uint, count_descriptors() - before, 1), "of %u", length);
    }
    close(fd);
}

Test(delay_line, where_descriptors_are_short_so_is_the_line)
{
    unsigned before = count_descriptors();
    int fd = eventfd(0, EFD_CLOEXEC);
    struct delay_line line;
    struct rlimit limit;

    cr_assert(zero(int, getrlimit(RLIMIT_NOFILE, &limit)));
    limit.rlim_cur = (rlim_t)fd + 1 + 10;
    cr_assert(zero(int, setrlimit(RLIMIT_NOFILE, &limit)));
    delay_line_init(&line, fd, DELAY_LINE_MAX);
    cr_assert(lt(uint, line.length, 11));
    delay_line_fini(&line);
    cr_assert(eq(uint, count_descriptors() - before, 1));
    close(fd);
}
