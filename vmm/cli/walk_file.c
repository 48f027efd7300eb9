/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file as the memory of page tables.
 */
#include "vmm/cli/walk_file.h"

#include "vmm/base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int
walk_file_open(struct walk_file *file, const char *name, bool writable, struct failure *failure)
{
    uint64_t size = 0;
    int error = file_open(name, writable ? O_RDWR : O_RDONLY, &file->fd, &size, failure);

    file->name = name;
    file->npages = size >> PAGE_SHIFT;
    file->writable = writable;
    if (error == 0)
        return CLI_OK;
    return error == -ENOENT ? CLI_NOT_FOUND : CLI_NOT_LOADABLE;
}

void
walk_file_close(struct walk_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

/* struct walk_memory's page: a table used at two levels has one copy. */
static int
copy_page(void *context, vm_pindex_t table, void **page)
{
    struct walk_file *file = context;
    unsigned i;
    int error;

    for (i = 0; i < file->ncopies; i++) {
        if (file->tables[i] == table) {
            *page = file->copies[i];
            return 0;
        }
    }
    assert(i < WALK_MAX_LEVELS);
    error = file_read_at(file->fd, file->copies[i], PAGE_SIZE, table << PAGE_SHIFT);
    if (error != 0)
        return error;
    file->tables[i] = table;
    file->ncopies++;
    *page = file->copies[i];
    return 0;
}

static int
write_at(int fd, const void *from, size_t size, uint64_t offset)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = pwrite(fd, (const char *)from + done, size - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    return 0;
}

/* From the top, as a walk sets bits (vpte.h, W7); entries are little-endian, as is the host. */
static int
write_entries(const struct walk_file *file, const struct walk_outcome *outcome, size_t size)
{
    for (unsigned i = 0; i < outcome->nentries; i++) {
        const struct walk_entry *entry = &outcome->entries[i];
        int error;

        if (entry->after == entry->value)
            continue;
        error = write_at(file->fd, &entry->after, size, entry->at);
        if (error != 0)
            return error;
    }
    return 0;
}

int
walk_file_translate(struct walk_file *file, const struct walk_tables *tables, uint64_t address,
                    vm_prot_t access, struct walk_outcome *outcome, struct failure *failure)
{
    const struct walk_memory memory = { .page = copy_page, .context = file };
    const struct vpte_format *vpte = tables->format.vpte;
    int result;

    file->ncopies = 0;
    result = walk_translate(tables, &memory, address, access, outcome);
    if (result != 0)
        return failure_set(failure, CLI_FAILED, "cannot read " FAILURE_NAME ": %s", file->name,
                           strerror(-result));
    if (file->writable)
        result = write_entries(file, outcome, vpte != NULL ? vpte->entry_size : sizeof(uint64_t));
    if (result != 0)
        return failure_set(failure, CLI_FAILED,
                           "cannot write " FAILURE_NAME ": %s: walk a copy of it", file->name,
                           strerror(-result));
    return CLI_OK;
}
