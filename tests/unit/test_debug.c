/* SPDX-License-Identifier: BSD-2-Clause */
/* A debugger's registers, and its walks of the guest's page tables. */
#include "tests/unit/fault_rig.h"
#include "vmm/vpagetable/vm_peek.h"
#include "vmm/x86_64/debug_registers.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define P 1u
#define LARGE 0x80u
#define PG 0x80000000u
#define PSE 0x10u
#define PAE 0x20u
#define LA57 0x1000u
#define LMA 0x400u

/* --- registers ---------------------------------------------------------------------- */

/* A register by its name, from all of them. */
static uint64_t
value_of(const uint8_t *bytes, const char *name)
{
    const struct arch_debug_register *reg;
    uint64_t value = 0;
    size_t offset;

    for (unsigned i = 0; (reg = arch_debug_register(i, &offset)) != NULL; i++) {
        if (strcmp(reg->name, name) == 0) {
            memcpy(&value, bytes + offset, reg->bits < 64 ? reg->bits / 8 : 8);
            return value;
        }
    }
    cr_assert(false, "no register %s", name);
    return 0;
}

Test(debug, registers_have_gdbs_numbers)
{
    static const struct {
        unsigned number;
        const char *name;
    } fixed[] = { { 0, "rax" },   { 7, "rsp" },    { 16, "rip" },     { 17, "eflags" },
                  { 18, "cs" },   { 24, "st0" },   { 32, "fctrl" },   { 39, "fop" },
                  { 40, "xmm0" }, { 56, "mxcsr" }, { 57, "fs_base" }, { 58, "gs_base" } };
    size_t offset;

    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        cr_assert_str_eq(arch_debug_register(fixed[i].number, &offset)->name, fixed[i].name);
    cr_assert_null(arch_debug_register(arch_debug_register_count(), &offset));
    cr_assert_leq(arch_debug_registers_size(), ARCH_DEBUG_REGISTERS_SIZE);
}

Test(debug, each_register_comes_from_where_kvm_has_it_and_goes_back)
{
    uint8_t bytes[ARCH_DEBUG_REGISTERS_SIZE];
    struct debug_registers r, back;
    const void *before = &r, *after = &back; /* both were zeroed, padding too */

    memset(&r, 0, sizeof(r));
    r.regs.rax = 0x1122334455667788;
    r.regs.rip = 0x200000;
    r.regs.rflags = 0x10202;
    r.sregs.cs.selector = 0x33;
    r.sregs.cr3 = 0x2000;
    r.sregs.gs.base = 0x7000;
    r.fpu.fcw = 0x37f;
    r.fpu.mxcsr = 0x1f80;
    r.fpu.xmm[15][0] = 0xA5;
    r.fpu.ftwx = 0x81;
    r.kernel_gs_base = 9;
    debug_registers_pack(&r, bytes);
    cr_assert(eq(u64, value_of(bytes, "rax"), r.regs.rax));
    cr_assert(eq(u64, value_of(bytes, "eflags"), 0x10202));
    cr_assert(eq(u64, value_of(bytes, "cs"), 0x33));
    cr_assert(eq(u64, value_of(bytes, "cr3"), 0x2000));
    cr_assert(eq(u64, value_of(bytes, "gs_base"), 0x7000));
    cr_assert(eq(u64, value_of(bytes, "fctrl"), 0x37f));
    cr_assert(eq(u64, value_of(bytes, "ftag"), 0x3ffc));
    cr_assert(eq(u64, value_of(bytes, "xmm15"), 0xA5));
    cr_assert(eq(u64, value_of(bytes, "k_gs_base"), 9));
    memset(&back, 0, sizeof(back));
    debug_registers_unpack(&back, bytes);
    cr_assert(zero(int, memcmp(before, after, sizeof(r))));
}

/* --- walks -------------------------------------------------------------------------- */

static struct arch_debug_walk walk;

static void
set(struct rig *rig, uint64_t gpa, uint64_t value, unsigned size)
{
    cr_assert(eq(int, vm_poke(&rig->map, gpa_from_u64(gpa), &value, size, &rig_info), VM_OK));
}

static uint64_t
get(struct rig *rig, uint64_t gpa)
{
    struct vm_peek_info info;
    uint64_t value;

    cr_assert(eq(int, vm_peek(&rig->map, gpa_from_u64(gpa), &value, 8, &info), VM_OK));
    return value;
}

static void
leads(struct rig *rig, const struct kvm_sregs *sregs, uint64_t from, uint64_t to)
{
    cr_assert(zero(int, debug_walk(sregs, &rig->map, from, &walk)));
    cr_assert_eq(walk.gpa, to, "0x%lx, not 0x%lx", (unsigned long)walk.gpa, (unsigned long)to);
}

static void
leads_nowhere(struct rig *rig, const struct kvm_sregs *sregs, uint64_t from)
{
    cr_assert(eq(int, debug_walk(sregs, &rig->map, from, &walk), -EFAULT));
}

Test(debug, without_paging_an_address_is_physical)
{
    const struct kvm_sregs sregs = { .cr0 = 1 };
    struct rig rig;

    rig_init(&rig, 0);
    leads(&rig, &sregs, 0x12345, 0x12345);
    cr_assert(zero(uint, walk.nsteps));
    rig_fini(&rig);
}

Test(debug, long_mode_is_walked_and_no_bit_set)
{
    struct kvm_sregs sregs = { .cr0 = PG | 1, .cr4 = PAE, .efer = LMA, .cr3 = PAGE(1) | 0x18 };
    struct rig rig;

    rig_init(&rig, 0);
    set(&rig, PAGE(1), PAGE(2) | P, 8);
    set(&rig, PAGE(2), PAGE(3) | P, 8);
    set(&rig, PAGE(2) + 8, PAGE(0x40000) | LARGE | P, 8);
    set(&rig, PAGE(3), PAGE(4) | P, 8);
    set(&rig, PAGE(3) + 8, PAGE(0x200) | LARGE | P, 8);
    set(&rig, PAGE(4) + 8 * 5, PAGE(77) | P, 8);
    leads(&rig, &sregs, PAGE(5) + 3, PAGE(77) + 3);
    cr_assert_str_eq(walk.mode, "4-level");
    cr_assert(eq(uint, walk.nsteps, 4));
    cr_assert(eq(u64, walk.steps[3].address, PAGE(4) + 40));
    cr_assert(eq(u64, walk.steps[3].value, PAGE(77) | P));
    cr_assert(eq(u64, get(&rig, PAGE(1)), PAGE(2) | P));
    cr_assert(eq(u64, get(&rig, PAGE(4) + 40), PAGE(77) | P));
    leads(&rig, &sregs, 0x234567, 0x200000 + 0x34567);
    leads(&rig, &sregs, 0x40000007, 0x40000007);
    leads_nowhere(&rig, &sregs, PAGE(6));
    leads_nowhere(&rig, &sregs, UINT64_C(0xFFFF800000000000));
    set(&rig, PAGE(2) + 16, PAGE(RIG_PAGES) | P, 8); /* a table where no memory is */
    leads_nowhere(&rig, &sregs, UINT64_C(0x80000000));
    rig_fini(&rig);
}

Test(debug, five_levels_are_walked)
{
    struct kvm_sregs sregs = { .cr0 = PG | 1, .cr4 = PAE | LA57, .efer = LMA, .cr3 = PAGE(1) };
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned i = 1; i < 5; i++)
        set(&rig, PAGE(i), PAGE(i + 1) | P, 8);
    set(&rig, PAGE(5), PAGE(99) | P, 8);
    leads(&rig, &sregs, 8, PAGE(99) + 8);
    cr_assert(eq(uint, walk.nsteps, 5));
    rig_fini(&rig);
}

Test(debug, pae_is_walked)
{
    struct kvm_sregs sregs = { .cr0 = PG | 1, .cr4 = PAE, .cr3 = PAGE(1) | 0x20 };
    struct rig rig;

    rig_init(&rig, 0);
    set(&rig, PAGE(1) + 0x20 + 8, PAGE(2) | P, 8);
    set(&rig, PAGE(2), PAGE(3) | P, 8);
    set(&rig, PAGE(2) + 8, PAGE(0x200) | LARGE | P, 8);
    set(&rig, PAGE(3) + 8, PAGE(55) | P, 8);
    leads(&rig, &sregs, 0x40001004, PAGE(55) + 4);
    leads(&rig, &sregs, 0x40212345, 0x200000 + 0x12345);
    leads(&rig, &sregs, UINT64_C(0x740001004), PAGE(55) + 4);
    leads_nowhere(&rig, &sregs, 0);
    rig_fini(&rig);
}

Test(debug, thirty_two_bit_paging_is_walked)
{
    struct kvm_sregs sregs = { .cr0 = PG | 1, .cr3 = PAGE(1), .cr4 = PSE };
    struct rig rig;

    rig_init(&rig, 0);
    set(&rig, PAGE(1) + 4, PAGE(2) | P, 4);
    set(&rig, PAGE(1) + 8, 0x800000 | 1u << 13 | LARGE | P, 4);
    set(&rig, PAGE(2) + 4, PAGE(66) | P, 4);
    leads(&rig, &sregs, 0x401008, PAGE(66) + 8);
    cr_assert_str_eq(walk.mode, "32-bit");
    leads(&rig, &sregs, 0x812345, UINT64_C(0x100812345));
    leads_nowhere(&rig, &sregs, 0);
    leads_nowhere(&rig, &sregs, 0x402000);
    rig_fini(&rig);
}
