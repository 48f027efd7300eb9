/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copying between guest-physical memory and the monitor, page by page, through the direct map.
 * vm_fault.h and vm_peek.h have the
 * contracts.
 *
 * Locks: none held by the callers.  The fault itself copies a page's bytes, before it lets go of
 * the map and the range interlock: fault_copy_bytes of vm_fault.c.
 */
#include "vmm/vpagetable/vm_fault_state.h"
#include "vmm/vpagetable/vm_peek.h"

/* Bytes from gpa to the end of its page, at most size. */
static size_t
copy_size(gpa_t gpa, size_t size)
{
    uint64_t left = PAGE_SIZE - (gpa.value & PAGE_MASK);

    return left < size ? left : size;
}

/* Copy up to the end of one page: to the guest if bytes->from, else to bytes->to. */
static enum vm_result
copy_page(struct vm_map *map, gpa_t gpa, const struct fault_bytes *bytes, unsigned flags,
          const struct vm_fault_origin *origin, struct vm_fault_info *info)
{
    struct faultstate fs;

    vm_fault_init(&fs, map->sys, &map->meter, map->stop,
                  bytes->from != NULL ? VM_PROT_WRITE : VM_PROT_READ, flags, info);
    fs.bytes = bytes;
    return vm_fault_run_map(&fs, map, gpa, origin);
}

static enum vm_result
copy_range(struct vm_map *map, gpa_t gpa, uint8_t *to, const uint8_t *from, size_t size,
           unsigned flags, const struct vm_fault_origin *origin, struct vm_fault_info *info)
{
    vm_prot_t access = from != NULL ? VM_PROT_WRITE : VM_PROT_READ;
    enum vm_result result = VM_OK;

    *info = (struct vm_fault_info){ .gpa = gpa, .access = access };
    if (size != 0 && size - 1 > UINT64_MAX - gpa.value) {
        info->result = VM_INVALID_ADDRESS;
        return info->result;
    }
    while (size != 0 && result == VM_OK) {
        size_t part = copy_size(gpa, size);
        const struct fault_bytes bytes = { to, from, gpa.value & PAGE_MASK, part };

        result = copy_page(map, gpa, &bytes, flags, origin, info);
        gpa = gpa_add(gpa, part);
        size -= part;
        if (from != NULL)
            from += part;
        else
            to += part;
    }
    return result;
}

enum vm_result
vm_map_read(struct vm_map *map, gpa_t gpa, void *to, size_t size, struct vm_fault_info *info)
{
    return copy_range(map, gpa, to, NULL, size, VM_FAULT_NORMAL, NULL, info);
}

enum vm_result
vm_map_peek(struct vm_map *map, gpa_t gpa, void *to, size_t size, struct vm_fault_info *info)
{
    return copy_range(map, gpa, to, NULL, size, VM_FAULT_QUIET, NULL, info);
}

enum vm_result
vm_map_write(struct vm_map *map, gpa_t gpa, const void *from, size_t size,
             struct vm_fault_info *info)
{
    return copy_range(map, gpa, NULL, from, size, VM_FAULT_NORMAL, NULL, info);
}

enum vm_result
vm_map_emulate(struct vm_map *map, gpa_t gpa, void *to, const void *from, size_t size,
               const struct vm_fault_origin *origin, struct vm_fault_info *info)
{
    return copy_range(map, gpa, from != NULL ? NULL : to, from, size, VM_FAULT_NORMAL, origin,
                      info);
}

enum vm_result
vm_poke(struct vm_map *map, gpa_t gpa, const void *from, size_t size, struct vm_fault_info *info)
{
    return copy_range(map, gpa, NULL, from, size, VM_FAULT_DEBUGGER | VM_FAULT_OVERRIDE, NULL,
                      info);
}
