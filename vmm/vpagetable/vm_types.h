/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine's basic types: addresses, page indexes, protections, results.
 *
 * Each address space has its own type, so that mixing two of them does not
 * compile.  A host virtual address is a plain `void *`.
 */
#ifndef VM_TYPES_H
#define VM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE ((uint64_t)1 << PAGE_SHIFT)
#define PAGE_MASK (PAGE_SIZE - 1)

/* A guest-physical address, in bytes. */
typedef struct {
    uint64_t value;
} gpa_t;

/* A guest-virtual (linear) address, in bytes. */
typedef struct {
    uint64_t value;
} gva_t;

/* A page index inside an object. */
typedef uint64_t vm_pindex_t;

/* A page-sized slot of the frame store: file offset >> PAGE_SHIFT. */
typedef uint64_t vm_frame_t;

/* A set of VM_PROT_* bits. */
typedef uint8_t vm_prot_t;

#define VM_PROT_NONE ((vm_prot_t)0)
#define VM_PROT_READ ((vm_prot_t)1)
#define VM_PROT_WRITE ((vm_prot_t)2)
#define VM_PROT_EXECUTE ((vm_prot_t)4)
#define VM_PROT_RW (VM_PROT_READ | VM_PROT_WRITE)
/* Beside an access: check it against the entry's maximum, not its protection. */
#define VM_PROT_OVERRIDE ((vm_prot_t)0x80)
#define VM_PROT_ALL (VM_PROT_READ | VM_PROT_WRITE | VM_PROT_EXECUTE)

static inline gpa_t
gpa_from_u64(uint64_t value)
{
    return (gpa_t){ value };
}

static inline uint64_t
gpa_to_u64(gpa_t gpa)
{
    return gpa.value;
}

static inline gpa_t
gpa_add(gpa_t gpa, uint64_t size)
{
    return (gpa_t){ gpa.value + size };
}

static inline gpa_t
gpa_trunc_page(gpa_t gpa)
{
    return (gpa_t){ gpa.value & ~PAGE_MASK };
}

static inline gva_t
gva_from_u64(uint64_t value)
{
    return (gva_t){ value };
}

static inline uint64_t
gva_to_u64(gva_t gva)
{
    return gva.value;
}

static inline uint64_t
vm_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t
vm_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/*
 * What became of an operation on guest memory.  Everything but VM_HOST_FAILURE
 * is something a guest can cause; VM_HOST_FAILURE stands for a host operation
 * that failed, with a negative errno beside it (see vm_fault.h).
 */
enum vm_result {
    VM_OK = 0,
    VM_RETRY,           /* slept or lost a race: start over; never leaves the engine */
    VM_INVALID_ADDRESS, /* no map entry at the address */
    VM_PROTECTION,      /* the map entry forbids the access */
    VM_NOFAULT,         /* the map entry is a guard: it never resolves */
    VM_VPTE_INVALID,    /* V clear in an entry of the virtual page table */
    VM_VPTE_PROTECTION, /* R, W or X missing in an entry of the virtual page table */
    VM_BAD_FRAME,       /* a table page or the walk's result lies beyond the object */
    VM_BEYOND_OBJECT,   /* page index beyond the size of the entry's object */
    VM_IO_ERROR,        /* the pager could not read the page; but see vm_map.handles_loss */
    VM_OBJECT_DEAD,     /* the object is being destroyed */
    VM_HOST_FAILURE,    /* host error, see the errno beside it */
    VM_RESULT_COUNT
};

/* What an access is called in messages: "read", "write" or "fetch". */
const char *vm_access_name(vm_prot_t access);

/* The result's name as the reports print it, e.g. "vpte-invalid"; never NULL. */
const char *vm_result_name(enum vm_result result);

#endif
