/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console's calls, a page of the guest's buffer at a time: a page that cannot be reached ends
 * the call behind the one before it.
 */
#include "vmm/doorbell/doorbell_console.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/doorbell/doorbell.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vpagetable/vm_page.h"

#include <errno.h>

/* The part of the buffer behind its first `done` bytes that lies in one page. */
static size_t
buffer_part(const struct call_console *call, uint64_t done, gpa_t *start)
{
    uint64_t left = call->size - done, in_page;

    *start = gpa_add(call->buffer, done);
    in_page = PAGE_SIZE - (gpa_to_u64(*start) & PAGE_MASK);
    return left < in_page ? left : in_page;
}

int64_t
doorbell_console_write(struct vm *vm, const struct call_console *call)
{
    uint8_t bytes[PAGE_SIZE];
    struct vm_fault_info info;
    enum vm_result result;
    uint64_t done = 0;
    gpa_t start;

    while (done < call->size && (done == 0 || !vm_is_stopping(vm))) {
        size_t size = buffer_part(call, done, &start);

        result = vm_map_read(&vm->map, start, bytes, size, &info);
        if (result != VM_OK)
            return done != 0 ? (int64_t)done : doorbell_memory_error(vm, result, &info);
        vm_console_write(vm, bytes, size);
        done += size;
    }
    return (int64_t)done;
}

/*
 * Read into one page.  The page is held before a byte is taken from the input, which could not be
 * given back.  Returns the number of bytes; -VKVM_E*.
 */
static int64_t
read_part(struct vm *vm, gpa_t start, size_t size)
{
    struct vm_fault_info info;
    enum vm_result result;
    struct vm_page *m;
    ssize_t n;

    result = vm_fault_page(&vm->map, start, VM_PROT_WRITE, VM_FAULT_NORMAL, &m, &info);
    if (result != VM_OK)
        return doorbell_memory_error(vm, result, &info);
    n = console_take(&vm->console, (uint8_t *)vm_page_address(m) + (gpa_to_u64(start) & PAGE_MASK),
                     size);
    vm_page_unhold(m);
    return n >= 0 ? n : doorbell_error(VM_OK, (int)n);
}

int64_t
doorbell_console_read(struct vm *vm, const struct call_console *call)
{
    uint64_t done = 0;
    int64_t n;
    gpa_t start;

    while (done < call->size) {
        size_t size = buffer_part(call, done, &start);

        n = read_part(vm, start, size);
        if (n < 0 && done == 0)
            return n;
        if (n <= 0)
            break;
        done += (uint64_t)n;
    }
    return (int64_t)done;
}
