/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM's memory for a debugger, by linear addresses, page by page. */
#include "vmm/gdb/gdb_vm.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vpagetable/vm_peek.h"

#include <errno.h>
#include <inttypes.h>

int
gdb_vm_translate(struct gdb_vm *target, unsigned cpu, uint64_t address, gpa_t *gpa, size_t *room)
{
    struct arch_debug_walk walk;
    int error =
        arch_debug_translate(&target->vm->vcpus[cpu].arch, vm_map_of(target->vm), address, &walk);

    *gpa = gpa_from_u64(walk.gpa);
    *room = PAGE_SIZE - (address & PAGE_MASK);
    return error;
}

size_t
gdb_vm_read(void *context, unsigned cpu, uint64_t address, void *to, size_t size)
{
    struct gdb_vm *target = context;
    struct vm_peek_info info;
    uint8_t *bytes = to;
    size_t done = 0, room;
    gpa_t gpa;

    while (done < size && gdb_vm_translate(target, cpu, address + done, &gpa, &room) == 0) {
        size_t part = vm_min(room, size - done);

        if (vm_peek(vm_map_of(target->vm), gpa, bytes + done, part, &info) != VM_OK)
            break;
        done += part;
    }
    return done;
}

int
gdb_vm_poke(struct gdb_vm *target, gpa_t gpa, const void *from, size_t size, char *why)
{
    struct vm_fault_info info;
    enum vm_result result = vm_poke(vm_map_of(target->vm), gpa, from, size, &info);

    if (result == VM_OK)
        return 0;
    snprintf(why, GDB_WHY_SIZE, "cannot write to guest address 0x%" PRIx64 ": %s%s",
             gpa_to_u64(info.gpa), vm_result_name(result),
             result == VM_VPTE_PROTECTION || result == VM_PROTECTION
                 ? ": a breakpoint there can be set by hbreak"
                 : "");
    return -EFAULT;
}

int
gdb_vm_write(void *context, unsigned cpu, uint64_t address, const void *from, size_t size,
             char *why)
{
    struct gdb_vm *target = context;
    const uint8_t *bytes = from;
    int error = 0;

    while (size != 0 && error == 0) {
        size_t room, part;
        gpa_t gpa;

        if (gdb_vm_translate(target, cpu, address, &gpa, &room) != 0) {
            snprintf(why, GDB_WHY_SIZE, "the guest's page tables do not map the address");
            return -EFAULT;
        }
        part = vm_min(room, size);
        error = gdb_vm_poke(target, gpa, bytes, part, why);
        address += part;
        bytes += part;
        size -= part;
    }
    return error;
}
