/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes of loaders to guest memory, and what a person is told when one fails.
 */
#include "vmm/vm/guest_memory.h"

#include "vmm/base/limits.h"

#include <errno.h>
#include <string.h>

int
guest_memory_write(const struct guest_memory *memory, gpa_t gpa, const void *from, size_t size,
                   const char *what, struct failure *failure)
{
    struct vm_fault_info info = { .result = VM_OK };
    enum vm_result result = memory->write(memory->context, gpa, from, size, &info);

    if (result == VM_OK)
        return 0;
    if (result == VM_HOST_FAILURE)
        return failure_set(failure, info.error, "cannot write %s to guest memory at 0x%llx: %s: %s",
                           what, (unsigned long long)gpa_to_u64(info.gpa),
                           info.cause != NULL ? info.cause : "host failure",
                           limits_explain_cause(info.cause, info.error).text);
    return failure_set(failure, -EFAULT, "cannot write %s to guest memory at 0x%llx: %s", what,
                       (unsigned long long)gpa_to_u64(gpa), vm_result_name(result));
}
