/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instruction decoder: which addresses an instruction accesses, and finding the
 * instruction behind a store that KVM has already emulated.
 *
 * Code stands at CODE in linear memory, which is mapped to itself, but for one page
 * that is mapped nowhere and one whose physical address is another.
 */
#include "vmm/x86_64/insn.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CODE UINT64_C(0x400000)
#define CODE_SIZE 0x2000u
#define UNMAPPED UINT64_C(0x700000)
#define MOVED UINT64_C(0x800000)    /* linear ... */
#define MOVED_TO UINT64_C(0x123000) /* ... and where it is */
#define DATA UINT64_C(0x600000)

#define RFLAGS_ZF 0x040u
#define RFLAGS_DF 0x400u
#define RFLAGS_RF 0x10000u

#define BYTES(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

struct rig {
    uint8_t code[CODE_SIZE];
    size_t readable; /* bytes of code that can be read */
    struct kvm_regs regs;
    struct kvm_sregs sregs;
};

static size_t
rig_read(void *context, gva_t gva, void *to, size_t size)
{
    const struct rig *rig = context;
    uint64_t address = gva_to_u64(gva);

    if (address < CODE || address - CODE >= rig->readable)
        return 0;
    if (size > rig->readable - (address - CODE))
        size = rig->readable - (address - CODE);
    memcpy(to, rig->code + (address - CODE), size);
    return size;
}

static bool
rig_translate(void *context, gva_t gva, gpa_t *gpa)
{
    uint64_t address = gva_to_u64(gva);

    (void)context;
    if ((address & ~PAGE_MASK) == UNMAPPED)
        return false;
    if ((address & ~PAGE_MASK) == MOVED)
        address = MOVED_TO | (address & PAGE_MASK);
    *gpa = gpa_from_u64(address);
    return true;
}

/* 64-bit code; the instruction under test at CODE + 0x800, NOPs around it. */
static void
rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    memset(rig->code, 0x90, sizeof(rig->code));
    rig->readable = sizeof(rig->code);
    rig->sregs.efer = 0x500;
    rig->sregs.cs.l = 1;
    rig->regs.rip = CODE + 0x800;
    rig->regs.rflags = 2;
}

static void
rig_place(struct rig *rig, const uint8_t *bytes, size_t size)
{
    memcpy(rig->code + (rig->regs.rip - CODE), bytes, size);
}

static struct insn
rig_decode(struct rig *rig, const uint8_t *bytes, size_t size)
{
    struct insn insn = { 0 };

    cr_assert_eq(insn_decode(&rig->regs, &rig->sregs, bytes, size, &insn), 0);
    cr_assert_eq(insn.length, size);
    return insn;
}

static void
expect_access(const struct insn *insn, unsigned index, uint64_t address, uint64_t size,
              vm_prot_t access)
{
    cr_assert_lt(index, insn->naccesses);
    cr_assert(eq(u64, gva_to_u64(insn->access[index].address), address));
    cr_assert(eq(u64, insn->access[index].size, size));
    cr_assert(eq(u8, insn->access[index].access, access));
}

Test(insn, a_load_reads_and_a_store_writes_the_address_of_its_operand)
{
    struct rig rig;
    struct insn insn;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig.regs.r9 = 3;
    insn = rig_decode(&rig, BYTES(0x48, 0x8b, 0x06)); /* mov (%rsi),%rax */
    cr_assert_eq(insn.naccesses, 1);
    expect_access(&insn, 0, DATA, 8, VM_PROT_READ);
    insn = rig_decode(&rig, BYTES(0x42, 0x89, 0x44, 0x8e, 0xf0)); /* mov %eax,-16(%rsi,%r9,4) */
    expect_access(&insn, 0, DATA + 12 - 16, 4, VM_PROT_WRITE);
    insn = rig_decode(&rig, BYTES(0x66, 0x83, 0x06, 0x01)); /* addw $1,(%rsi) */
    expect_access(&insn, 0, DATA, 2, VM_PROT_RW);
}

Test(insn, addresses_relative_to_rip_count_from_the_next_instruction)
{
    struct rig rig;
    struct insn insn;

    rig_init(&rig);
    insn = rig_decode(&rig, BYTES(0xc7, 0x05, 0x10, 0, 0, 0, 2, 0, 0, 0)); /* movl $2,16(%rip) */
    expect_access(&insn, 0, CODE + 0x800 + 10 + 16, 4, VM_PROT_WRITE);
}

Test(insn, only_fs_and_gs_add_a_base_in_64_bit_mode)
{
    struct rig rig;
    struct insn insn;

    rig_init(&rig);
    rig.regs.rsi = 0x10;
    rig.sregs.fs.base = DATA;
    rig.sregs.ds.base = 0x1000;
    insn = rig_decode(&rig, BYTES(0x64, 0x89, 0x06)); /* mov %eax,%fs:(%rsi) */
    expect_access(&insn, 0, DATA + 0x10, 4, VM_PROT_WRITE);
    insn = rig_decode(&rig, BYTES(0x89, 0x06));
    expect_access(&insn, 0, 0x10, 4, VM_PROT_WRITE);
}

Test(insn, address_size_override_and_32_bit_mode_wrap_at_4_gib)
{
    struct rig rig;
    struct insn insn;

    rig_init(&rig);
    rig.regs.rsi = 0xffffffff00000010;
    insn = rig_decode(&rig, BYTES(0x67, 0x89, 0x46, 0xe0)); /* mov %eax,-32(%esi) */
    expect_access(&insn, 0, 0xfffffff0, 4, VM_PROT_WRITE);
    rig.sregs.cs.l = 0;
    rig.sregs.cs.db = 1;
    rig.sregs.ds.base = 0x100;
    insn = rig_decode(&rig, BYTES(0x89, 0x46, 0xe0));
    expect_access(&insn, 0, 0xf0, 4, VM_PROT_WRITE);
}

Test(insn, pushes_write_below_rsp_and_pops_read_at_rsp)
{
    struct rig rig;
    struct insn insn;

    rig_init(&rig);
    rig.regs.rsp = DATA;
    rig.regs.rbp = DATA + 0x100;
    insn = rig_decode(&rig, BYTES(0x50)); /* push %rax */
    expect_access(&insn, 0, DATA - 8, 8, VM_PROT_WRITE);
    insn = rig_decode(&rig, BYTES(0x66, 0x50)); /* push %ax */
    expect_access(&insn, 0, DATA - 2, 2, VM_PROT_WRITE);
    insn = rig_decode(&rig, BYTES(0xe8, 0, 0, 0, 0)); /* call */
    expect_access(&insn, 0, DATA - 8, 8, VM_PROT_WRITE);
    insn = rig_decode(&rig, BYTES(0x5b)); /* pop %rbx */
    expect_access(&insn, 0, DATA, 8, VM_PROT_READ);
    insn = rig_decode(&rig, BYTES(0xc9)); /* leave */
    expect_access(&insn, 0, DATA + 0x100, 8, VM_PROT_READ);
    insn = rig_decode(&rig, BYTES(0x48, 0xcf)); /* iretq */
    expect_access(&insn, 0, DATA, 40, VM_PROT_READ);
}

Test(insn, a_pop_into_memory_computes_its_address_with_the_new_rsp)
{
    struct rig rig;
    struct insn insn;

    rig_init(&rig);
    rig.regs.rsp = DATA;
    insn = rig_decode(&rig, BYTES(0x8f, 0x44, 0x24, 0x10)); /* pop 16(%rsp) */
    expect_access(&insn, 0, DATA + 8 + 16, 8, VM_PROT_WRITE);
    expect_access(&insn, 1, DATA, 8, VM_PROT_READ);
}

Test(insn, a_bit_number_in_a_register_selects_the_word_too)
{
    struct rig rig;
    struct insn insn;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig.regs.rax = 130;
    insn = rig_decode(&rig, BYTES(0x48, 0x0f, 0xab, 0x06)); /* bts %rax,(%rsi) */
    expect_access(&insn, 0, DATA + 16, 8, VM_PROT_RW);
    rig.regs.rax = (uint64_t)-1;
    insn = rig_decode(&rig, BYTES(0x0f, 0xab, 0x06)); /* bts %eax,(%rsi) */
    expect_access(&insn, 0, DATA - 4, 4, VM_PROT_RW);
}

Test(insn, address_computations_and_hints_access_nothing)
{
    struct rig rig;

    rig_init(&rig);
    cr_assert_eq(rig_decode(&rig, BYTES(0x48, 0x8d, 0x06)).naccesses, 0); /* lea */
    cr_assert_eq(rig_decode(&rig, BYTES(0x0f, 0x1f, 0x06)).naccesses, 0); /* nopl (%rsi) */
    cr_assert_eq(rig_decode(&rig, BYTES(0x0f, 0x18, 0x06)).naccesses, 0); /* prefetchnta */
}

Test(insn, bytes_that_end_too_early_or_mean_nothing_are_told_apart)
{
    struct rig rig;
    struct insn insn;

    rig_init(&rig);
    cr_assert_eq(insn_decode(&rig.regs, &rig.sregs, BYTES(0x48, 0x8b), &insn), -ENODATA);
    cr_assert_eq(insn_decode(&rig.regs, &rig.sregs, (const uint8_t *)"", 0, &insn), -ENODATA);
    cr_assert_eq(insn_decode(&rig.regs, &rig.sregs, BYTES(0x06), &insn), -EILSEQ);
}

Test(insn, an_access_across_pages_is_found_at_the_first_byte_in_the_page)
{
    struct rig rig;
    const struct insn_memory memory = { &rig, rig_read, rig_translate };
    struct insn insn;
    gva_t gva;

    rig_init(&rig);
    rig.regs.rsi = MOVED - 4;
    insn = rig_decode(&rig, BYTES(0x48, 0x8b, 0x06));
    cr_assert_neq(insn_find_access(&insn, &memory, gpa_from_u64(MOVED_TO), VM_PROT_READ, &gva),
                  NULL);
    cr_assert(eq(u64, gva_to_u64(gva), MOVED));
    cr_assert_neq(insn_find_access(&insn, &memory, gpa_from_u64(MOVED - PAGE_SIZE), VM_PROT_READ,
                                   &gva),
                  NULL);
    cr_assert(eq(u64, gva_to_u64(gva), MOVED - 4));
    cr_assert_eq(insn_find_access(&insn, &memory, gpa_from_u64(DATA), VM_PROT_READ, &gva), NULL);
}

Test(insn, of_two_accesses_to_a_page_the_one_of_the_right_kind_is_found)
{
    struct rig rig;
    const struct insn_memory memory = { &rig, rig_read, rig_translate };
    struct insn insn;
    gva_t gva;

    rig_init(&rig);
    rig.regs.rsi = DATA + 0x10;
    rig.regs.rdi = DATA + 0x80;
    insn = rig_decode(&rig, BYTES(0x48, 0xa5)); /* movsq */
    cr_assert_neq(insn_find_access(&insn, &memory, gpa_from_u64(DATA), VM_PROT_READ, &gva), NULL);
    cr_assert(eq(u64, gva_to_u64(gva), DATA + 0x10));
    cr_assert_neq(insn_find_access(&insn, &memory, gpa_from_u64(DATA), VM_PROT_WRITE, &gva), NULL);
    cr_assert(eq(u64, gva_to_u64(gva), DATA + 0x80));
}

Test(insn, an_access_whose_page_is_not_mapped_is_not_found)
{
    struct rig rig;
    const struct insn_memory memory = { &rig, rig_read, rig_translate };
    struct insn insn;
    gva_t gva;

    rig_init(&rig);
    rig.regs.rsi = UNMAPPED;
    insn = rig_decode(&rig, BYTES(0x48, 0x8b, 0x06));
    cr_assert_eq(insn_find_access(&insn, &memory, gpa_from_u64(UNMAPPED), VM_PROT_READ, &gva),
                 NULL);
}

/* --- rewinding: rig.regs are those before; the test says what KVM left ------ */

static struct insn_store
make_store(uint64_t gpa, unsigned size, uint64_t value)
{
    struct insn_store store = { .gpa = gpa_from_u64(gpa), .size = size };

    memcpy(store.data, &value, sizeof(value));
    return store;
}

static int
rewind_from(struct rig *rig, const struct kvm_regs *after, const struct insn_store *store,
            struct kvm_regs *before)
{
    const struct insn_memory memory = { rig, rig_read, rig_translate };

    return insn_rewind(after, &rig->sregs, &memory, store, before);
}

static void
expect_rewind(struct rig *rig, const struct kvm_regs *after, uint64_t gpa, unsigned size,
              uint64_t value)
{
    struct insn_store store = make_store(gpa, size, value);
    struct kvm_regs before;

    cr_assert_eq(rewind_from(rig, after, &store, &before), 0);
    cr_assert(eq(u64, before.rip, rig->regs.rip));
    cr_assert_arr_eq(&before, &rig->regs, sizeof(before));
}

static void
expect_no_rewind(struct rig *rig, const struct kvm_regs *after, uint64_t gpa, unsigned size,
                 uint64_t value)
{
    struct insn_store store = make_store(gpa, size, value);
    struct kvm_regs before;

    cr_assert_eq(rewind_from(rig, after, &store, &before), -ENOTSUP);
}

Test(insn, a_plain_store_is_found_before_rip)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = MOVED + 8;
    rig.regs.rax = 0x1122334455667788;
    rig_place(&rig, BYTES(0x48, 0x89, 0x06)); /* mov %rax,(%rsi) */
    after = rig.regs;
    after.rip += 3;
    expect_rewind(&rig, &after, MOVED_TO + 8, 8, rig.regs.rax);
    expect_no_rewind(&rig, &after, MOVED_TO + 8, 8, rig.regs.rax + 1);
    expect_no_rewind(&rig, &after, MOVED_TO + 16, 8, rig.regs.rax);
    expect_no_rewind(&rig, &after, MOVED_TO + 8, 2, rig.regs.rax);
}

Test(insn, every_byte_register_tells_what_it_stores)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rbp = DATA;
    rig.regs.rax = 0xa2a1;
    rig.regs.rsi = 0xb2b1;
    rig.regs.r8 = 0xc2c1;
    after = rig.regs;
    rig_place(&rig, BYTES(0x88, 0x65, 0x00)); /* mov %ah,(%rbp) */
    after.rip = rig.regs.rip + 3;
    expect_rewind(&rig, &after, DATA, 1, 0xa2);
    rig_place(&rig, BYTES(0x40, 0x88, 0x75, 0x00)); /* mov %sil,(%rbp) */
    after.rip = rig.regs.rip + 4;
    expect_rewind(&rig, &after, DATA, 1, 0xb1);
    rig_place(&rig, BYTES(0x44, 0x88, 0x45, 0x00)); /* mov %r8b,(%rbp) */
    expect_rewind(&rig, &after, DATA, 1, 0xc1);
}

Test(insn, a_read_modify_write_is_found_whatever_it_did_to_the_flags)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig.regs.rax = 5;
    rig_place(&rig, BYTES(0x48, 0x01, 0x06)); /* add %rax,(%rsi) */
    after = rig.regs;
    after.rip += 3;
    expect_rewind(&rig, &after, DATA, 8, 12345);
}

Test(insn, push_pop_and_call_get_their_stack_pointer_back)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsp = DATA + 0x100;
    rig.regs.rsi = MOVED;
    rig.regs.rax = 77;
    rig_place(&rig, BYTES(0x50)); /* push %rax */
    after = rig.regs;
    after.rip += 1;
    after.rsp -= 8;
    expect_rewind(&rig, &after, DATA + 0xf8, 8, 77);
    rig_place(&rig, BYTES(0x8f, 0x06)); /* pop (%rsi) */
    after = rig.regs;
    after.rip += 2;
    after.rsp += 8;
    expect_rewind(&rig, &after, MOVED_TO, 8, 99);
    rig_place(&rig, BYTES(0xe8, 0x00, 0x01, 0, 0)); /* call .+0x105 */
    after = rig.regs;
    after.rip += 5 + 0x100;
    after.rsp -= 8;
    expect_rewind(&rig, &after, DATA + 0xf8, 8, rig.regs.rip + 5);
    after.rip += 1;
    expect_no_rewind(&rig, &after, DATA + 0xf8, 8, rig.regs.rip + 5);
}

Test(insn, a_call_through_a_register_is_found)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsp = DATA;
    rig.regs.r11 = CODE + 0x100;
    rig_place(&rig, BYTES(0x41, 0xff, 0xd3)); /* call *%r11 */
    after = rig.regs;
    after.rip = rig.regs.r11;
    after.rsp -= 8;
    expect_rewind(&rig, &after, DATA - 8, 8, rig.regs.rip + 3);
}

Test(insn, string_stores_get_their_pointers_back_in_both_directions)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rdi = DATA;
    rig.regs.rsi = MOVED;
    rig.regs.rax = 42;
    rig_place(&rig, BYTES(0x48, 0xab)); /* stosq */
    after = rig.regs;
    after.rip += 2;
    after.rdi += 8;
    expect_rewind(&rig, &after, DATA, 8, 42);
    rig_place(&rig, BYTES(0x66, 0xa5)); /* movsw */
    rig.regs.rflags |= RFLAGS_DF;
    after = rig.regs;
    after.rip += 2;
    after.rdi -= 2;
    after.rsi -= 2;
    expect_rewind(&rig, &after, DATA, 2, 7);
}

Test(insn, a_repeated_string_store_in_progress_stands_at_rip)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rdi = DATA;
    rig.regs.rcx = 3;
    rig.regs.rflags |= RFLAGS_RF;
    rig_place(&rig, BYTES(0xf3, 0x48, 0xa5)); /* rep movsq */
    after = rig.regs;
    after.rdi += 8;
    after.rsi += 8;
    after.rcx -= 1;
    expect_rewind(&rig, &after, DATA, 8, 7);
}

Test(insn, the_last_round_of_a_repeated_string_store_has_left_it)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rdi = DATA;
    rig.regs.rcx = 1;
    rig.regs.rax = 9;
    rig_place(&rig, BYTES(0xf3, 0x48, 0xab)); /* rep stosq */
    after = rig.regs;
    after.rip += 3;
    after.rdi += 8;
    after.rcx = 0;
    expect_rewind(&rig, &after, DATA, 8, 9);
}

Test(insn, a_stos_before_a_rep_stos_in_progress_is_not_taken_for_it)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rdi = DATA;
    rig.regs.rcx = 5;
    rig_place(&rig, BYTES(0x48, 0xab, 0xf3, 0x48, 0xab)); /* stosq; rep stosq */
    after = rig.regs;
    after.rip += 2;
    after.rdi += 8;
    expect_rewind(&rig, &after, DATA, 8, 0);
}

Test(insn, a_wide_store_is_found_by_each_of_its_pieces)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig_place(&rig, BYTES(0x0f, 0x29, 0x06)); /* movaps %xmm0,(%rsi) */
    after = rig.regs;
    after.rip += 3;
    expect_rewind(&rig, &after, DATA, 8, 1);
    expect_rewind(&rig, &after, DATA + 8, 8, 2);
    expect_no_rewind(&rig, &after, DATA + 4, 8, 2);
}

Test(insn, a_store_across_pages_is_found_by_each_of_its_pieces)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = MOVED - 2;
    rig.regs.rax = 0x1122334455667788;
    rig_place(&rig, BYTES(0x48, 0x89, 0x06));
    after = rig.regs;
    after.rip += 3;
    expect_rewind(&rig, &after, MOVED - 2, 2, 0x7788);
    expect_rewind(&rig, &after, MOVED_TO, 6, 0x112233445566);
    expect_no_rewind(&rig, &after, MOVED_TO, 6, 0x112233445567);
}

Test(insn, the_last_byte_of_the_instruction_before_is_not_taken_for_a_prefix)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig.regs.rax = 1;
    /* mov 0x40(%rdi),%rdx ends in 0x40, a REX prefix that would change nothing. */
    rig.regs.rip = CODE + 0x900;
    rig_place(&rig, BYTES(0x48, 0x8b, 0x57, 0x40, 0x89, 0x06));
    rig.regs.rip += 4;
    after = rig.regs;
    after.rip += 2;
    expect_rewind(&rig, &after, DATA, 4, 1);
}

Test(insn, a_prefix_that_changes_nothing_belongs_to_its_instruction)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig_place(&rig, BYTES(0x44, 0x89, 0x06)); /* mov %r8d,(%rsi), where EAX is 0 as well */
    after = rig.regs;
    after.rip += 3;
    expect_rewind(&rig, &after, DATA, 4, 0);
}

Test(insn, code_whose_page_before_cannot_be_read_is_still_found)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig.regs.rip = CODE; /* nothing can be read below */
    rig_place(&rig, BYTES(0x44, 0x89, 0x06));
    after = rig.regs;
    after.rip += 3;
    expect_rewind(&rig, &after, DATA, 4, 0);
}

Test(insn, what_an_instruction_has_overwritten_and_nothing_tells_is_not_guessed)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig_place(&rig, BYTES(0x48, 0x11, 0x06)); /* adc: the old carry is gone */
    after = rig.regs;
    after.rip += 3;
    expect_no_rewind(&rig, &after, DATA, 8, 1);
    rig_place(&rig, BYTES(0x0f, 0xc1, 0x0e)); /* xadd: the old ECX is gone */
    expect_no_rewind(&rig, &after, DATA, 4, 1);
    rig_place(&rig, BYTES(0x0f, 0xb1, 0x0e)); /* cmpxchg that failed: the old EAX is gone */
    expect_no_rewind(&rig, &after, DATA, 4, 1);
    rig.regs.rdi = DATA;
    rig_place(&rig, BYTES(0x90, 0x90, 0x6c)); /* insb: the byte is gone */
    after.rdi = DATA + 1;
    expect_no_rewind(&rig, &after, DATA, 1, 1);
}

Test(insn, a_cmpxchg_that_stored_is_found)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig.regs.rflags |= RFLAGS_ZF;
    rig_place(&rig, BYTES(0x0f, 0xb1, 0x0e));
    after = rig.regs;
    after.rip += 3;
    expect_rewind(&rig, &after, DATA, 4, 1);
}

Test(insn, a_read_modify_write_across_pages_is_not_undone_after_its_first_part)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = MOVED - 4;
    rig_place(&rig, BYTES(0x48, 0x01, 0x06)); /* add %rax,(%rsi) */
    after = rig.regs;
    after.rip += 3;
    expect_rewind(&rig, &after, MOVED - 4, 4, 1);
    expect_no_rewind(&rig, &after, MOVED_TO, 4, 1);
}

Test(insn, a_store_of_no_or_too_many_bytes_is_refused)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig_place(&rig, BYTES(0x48, 0x89, 0x06));
    after = rig.regs;
    after.rip += 3;
    expect_no_rewind(&rig, &after, DATA, 0, 0);
    expect_no_rewind(&rig, &after, DATA, 9, 0);
}
