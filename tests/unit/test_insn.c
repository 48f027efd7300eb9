/* SPDX-License-Identifier: BSD-2-Clause */
/* The instruction decoder: which addresses an instruction accesses. */
#include "vmm/x86_64/insn.h"

#include "tests/unit/insn_rig.h"

#include <errno.h>

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

Test(insn, an_instruction_is_named_with_its_bytes)
{
    struct rig rig;
    char name[64];

    rig_init(&rig);
    insn_name(&rig.sregs, BYTES(0x48, 0xd1, 0x16, 0x90), name, sizeof(name));
    cr_assert_str_eq(name, "rcl (48 d1 16)");
    insn_name(&rig.sregs, BYTES(0x06, 0x90), name, sizeof(name));
    cr_assert_str_eq(name, "06 90");
    insn_name(&rig.sregs, BYTES(0x48, 0xd1, 0x16), name, 9);
    cr_assert_str_eq(name, "rcl (48)");
    insn_name(&rig.sregs, BYTES(0x48, 0xd1, 0x16), name, 0);
}

Test(insn, only_table_stores_are_tried_again_by_kvm)
{
    struct rig rig;

    rig_init(&rig);
    cr_assert(insn_is_retried(&rig.sregs, BYTES(0x0f, 0x01, 0x06)));
    cr_assert(insn_is_retried(&rig.sregs, BYTES(0x0f, 0x01, 0x0e)));
    cr_assert_not(insn_is_retried(&rig.sregs, BYTES(0x48, 0x89, 0x06)));
    cr_assert_not(insn_is_retried(&rig.sregs, BYTES(0x0f)));
}
