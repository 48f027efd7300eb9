/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of the engine's results and accesses.
 */
#include "vmm/vpagetable/vm_types.h"

static const char *const result_names[VM_RESULT_COUNT] = {
    [VM_OK] = "ok",
    [VM_RETRY] = "retry",
    [VM_INVALID_ADDRESS] = "invalid-address",
    [VM_PROTECTION] = "protection",
    [VM_NOFAULT] = "nofault",
    [VM_VPTE_INVALID] = "vpte-invalid",
    [VM_VPTE_PROTECTION] = "vpte-protection",
    [VM_BAD_FRAME] = "bad-frame",
    [VM_BEYOND_OBJECT] = "beyond-object",
    [VM_IO_ERROR] = "io-error",
    [VM_OBJECT_DEAD] = "object-dead",
    [VM_HOST_FAILURE] = "host-failure",
};

const char *
vm_access_name(vm_prot_t access)
{
    if (access == VM_PROT_WRITE)
        return "write";
    return access == VM_PROT_EXECUTE ? "fetch" : "read";
}

const char *
vm_result_name(enum vm_result result)
{
    if ((unsigned)result >= VM_RESULT_COUNT || result_names[result] == NULL)
        return "unknown";
    return result_names[result];
}
