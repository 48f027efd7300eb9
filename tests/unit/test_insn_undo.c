/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding the instruction behind a store that KVM has already emulated, and undoing it.
 *
 * rig.regs are those before the instruction; the test says what KVM left.
 */
#include "vmm/x86_64/insn_undo.h"

#include "tests/unit/insn_rig.h"

#include <errno.h>

#define RFLAGS_CF 0x001u
#define RFLAGS_AF 0x010u

static struct insn_completed
completed_with(const struct rig *rig, const struct kvm_regs *after, uint64_t gpa, unsigned size,
               uint64_t value)
{
    struct insn_completed completed = { .regs = *after, .sregs = &rig->sregs, .nstores = 1 };

    completed.stores[0].gpa = gpa_from_u64(gpa);
    completed.stores[0].size = size;
    memcpy(completed.stores[0].data, &value, sizeof(value));
    return completed;
}

static int
undo(struct rig *rig, const struct insn_completed *completed, struct insn_undone *undone)
{
    const struct insn_memory memory = { rig, rig_read, rig_translate };

    return insn_undo(completed, &memory, undone);
}

static struct insn_undone
expect_undone(struct rig *rig, const struct kvm_regs *after, uint64_t gpa, unsigned size,
              uint64_t value)
{
    struct insn_completed completed = completed_with(rig, after, gpa, size, value);
    struct insn_undone undone;

    cr_assert_eq(undo(rig, &completed, &undone), 0);
    cr_assert(eq(u64, undone.before.rip, rig->regs.rip));
    cr_assert_arr_eq(&undone.before, &rig->regs, sizeof(undone.before));
    return undone;
}

/* Returns where the instruction stands that is to blame, 0 if there is none. */
static uint64_t
expect_not_undone(struct rig *rig, const struct kvm_regs *after, uint64_t gpa, unsigned size,
                  uint64_t value)
{
    struct insn_completed completed = completed_with(rig, after, gpa, size, value);
    struct insn_undone undone;

    cr_assert_eq(undo(rig, &completed, &undone), -ENOTSUP);
    return undone.found ? undone.before.rip : 0;
}

/* The registers behind the instruction in BYTES, which is placed. */
static struct kvm_regs
run_past(struct rig *rig, const uint8_t *bytes, size_t size)
{
    struct kvm_regs after = rig->regs;

    rig_place(rig, bytes, size);
    after.rip += size;
    return after;
}

static void
set_data(struct rig *rig, uint64_t address, uint64_t value)
{
    rig->data_readable = true;
    memcpy(rig->data + (address - DATA), &value, sizeof(value));
}

Test(insn_undo, a_plain_store_is_found_before_rip)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = MOVED + 8;
    rig.regs.rax = 0x1122334455667788;
    after = run_past(&rig, BYTES(0x48, 0x89, 0x06)); /* mov %rax,(%rsi) */
    expect_undone(&rig, &after, MOVED_TO + 8, 8, rig.regs.rax);
    expect_not_undone(&rig, &after, MOVED_TO + 8, 8, rig.regs.rax + 1);
    expect_not_undone(&rig, &after, MOVED_TO + 16, 8, rig.regs.rax);
    expect_not_undone(&rig, &after, MOVED_TO + 8, 2, rig.regs.rax);
}

Test(insn_undo, every_byte_register_tells_what_it_stores)
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
    expect_undone(&rig, &after, DATA, 1, 0xa2);
    rig_place(&rig, BYTES(0x40, 0x88, 0x75, 0x00)); /* mov %sil,(%rbp) */
    after.rip = rig.regs.rip + 4;
    expect_undone(&rig, &after, DATA, 1, 0xb1);
    rig_place(&rig, BYTES(0x44, 0x88, 0x45, 0x00)); /* mov %r8b,(%rbp) */
    expect_undone(&rig, &after, DATA, 1, 0xc1);
}

Test(insn_undo, a_read_modify_write_is_found_whatever_it_did_to_the_flags)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig.regs.rax = 5;
    after = run_past(&rig, BYTES(0x48, 0x01, 0x06)); /* add %rax,(%rsi) */
    expect_undone(&rig, &after, DATA, 8, 12345);
}

Test(insn_undo, push_pop_and_call_get_their_stack_pointer_back)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsp = DATA + 0x100;
    rig.regs.rsi = MOVED;
    rig.regs.rax = 77;
    after = run_past(&rig, BYTES(0x50)); /* push %rax */
    after.rsp -= 8;
    expect_undone(&rig, &after, DATA + 0xf8, 8, 77);
    after = run_past(&rig, BYTES(0x8f, 0x06)); /* pop (%rsi) */
    after.rsp += 8;
    expect_undone(&rig, &after, MOVED_TO, 8, 99);
    rig_place(&rig, BYTES(0xe8, 0x00, 0x01, 0, 0)); /* call .+0x105 */
    after = rig.regs;
    after.rip += 5 + 0x100;
    after.rsp -= 8;
    expect_undone(&rig, &after, DATA + 0xf8, 8, rig.regs.rip + 5);
    after.rip += 1;
    expect_not_undone(&rig, &after, DATA + 0xf8, 8, rig.regs.rip + 5);
}

Test(insn_undo, a_call_through_a_register_is_found)
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
    expect_undone(&rig, &after, DATA - 8, 8, rig.regs.rip + 3);
}

Test(insn_undo, string_stores_get_their_pointers_back_in_both_directions)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rdi = DATA;
    rig.regs.rsi = MOVED;
    rig.regs.rax = 42;
    after = run_past(&rig, BYTES(0x48, 0xab)); /* stosq */
    after.rdi += 8;
    expect_undone(&rig, &after, DATA, 8, 42);
    rig_place(&rig, BYTES(0x66, 0xa5)); /* movsw */
    rig.regs.rflags |= RFLAGS_DF;
    after = rig.regs;
    after.rip += 2;
    after.rdi -= 2;
    after.rsi -= 2;
    expect_undone(&rig, &after, DATA, 2, 7);
}

Test(insn_undo, a_repeated_string_store_in_progress_stands_at_rip)
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
    expect_undone(&rig, &after, DATA, 8, 7);
}

Test(insn_undo, the_last_round_of_a_repeated_string_store_has_left_it)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rdi = DATA;
    rig.regs.rcx = 1;
    rig.regs.rax = 9;
    after = run_past(&rig, BYTES(0xf3, 0x48, 0xab)); /* rep stosq */
    after.rdi += 8;
    after.rcx = 0;
    expect_undone(&rig, &after, DATA, 8, 9);
}

Test(insn_undo, a_stos_before_a_rep_stos_in_progress_is_not_taken_for_it)
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
    expect_undone(&rig, &after, DATA, 8, 0);
}

Test(insn_undo, a_wide_store_is_found_by_each_of_its_pieces)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    after = run_past(&rig, BYTES(0x0f, 0x29, 0x06)); /* movaps %xmm0,(%rsi) */
    expect_undone(&rig, &after, DATA, 8, 1);
    expect_undone(&rig, &after, DATA + 8, 8, 2);
    expect_not_undone(&rig, &after, DATA + 4, 8, 2);
}

Test(insn_undo, a_store_across_pages_is_found_by_each_of_its_pieces)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = MOVED - 2;
    rig.regs.rax = 0x1122334455667788;
    after = run_past(&rig, BYTES(0x48, 0x89, 0x06));
    expect_undone(&rig, &after, MOVED - 2, 2, 0x7788);
    expect_undone(&rig, &after, MOVED_TO, 6, 0x112233445566);
    expect_not_undone(&rig, &after, MOVED_TO, 6, 0x112233445567);
}

Test(insn_undo, the_last_byte_of_the_instruction_before_is_not_taken_for_a_prefix)
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
    expect_undone(&rig, &after, DATA, 4, 1);
}

Test(insn_undo, a_prefix_that_changes_nothing_belongs_to_its_instruction)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    after = run_past(&rig, BYTES(0x44, 0x89, 0x06)); /* mov %r8d,(%rsi), where EAX is 0 as well */
    expect_undone(&rig, &after, DATA, 4, 0);
}

Test(insn_undo, code_whose_page_before_cannot_be_read_is_still_found)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig.regs.rip = CODE; /* nothing can be read below */
    after = run_past(&rig, BYTES(0x44, 0x89, 0x06));
    expect_undone(&rig, &after, DATA, 4, 0);
}

Test(insn_undo, a_store_of_no_or_too_many_bytes_is_refused)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    after = run_past(&rig, BYTES(0x48, 0x89, 0x06));
    expect_not_undone(&rig, &after, DATA, 0, 0);
    expect_not_undone(&rig, &after, DATA, 9, 0);
}

Test(insn_undo, the_carry_that_an_addition_took_in_follows_from_memory)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig.regs.rax = 5;
    rig.regs.rflags |= RFLAGS_CF;
    set_data(&rig, DATA, 7);
    after = run_past(&rig, BYTES(0x48, 0x11, 0x06)); /* adc %rax,(%rsi) */
    after.rflags &= ~(uint64_t)RFLAGS_CF;
    expect_undone(&rig, &after, DATA, 8, 13);
    rig.regs.rflags &= ~(uint64_t)RFLAGS_CF;
    expect_undone(&rig, &after, DATA, 8, 12);
    after = run_past(&rig, BYTES(0x48, 0x19, 0x06)); /* sbb %rax,(%rsi) */
    expect_undone(&rig, &after, DATA, 8, 2);
    rig.regs.rflags |= RFLAGS_CF;
    expect_undone(&rig, &after, DATA, 8, 1);
}

Test(insn_undo, an_addition_that_memory_and_flags_contradict_is_not_taken)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig.regs.rax = 5;
    set_data(&rig, DATA, 7);
    after = run_past(&rig, BYTES(0x48, 0x11, 0x06));
    cr_assert_eq(expect_not_undone(&rig, &after, DATA, 8, 14), 0);
    after = run_past(&rig, BYTES(0x48, 0x01, 0x06)); /* add %rax,(%rsi) */
    expect_not_undone(&rig, &after, DATA, 8, 13);
    after = run_past(&rig, BYTES(0x48, 0x21, 0x06)); /* and %rax,(%rsi) */
    expect_not_undone(&rig, &after, DATA, 8, 2);
}

Test(insn_undo, rotations_through_the_carry_turn_it_back)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig.regs.rflags |= RFLAGS_CF;
    after = run_past(&rig, BYTES(0x48, 0xd1, 0x16)); /* rclq (%rsi) */
    after.rflags &= ~(uint64_t)RFLAGS_CF;
    set_data(&rig, DATA, 5);
    expect_undone(&rig, &after, DATA, 8, 11);
    after = run_past(&rig, BYTES(0xc0, 0x1e, 0x02)); /* rcrb $2,(%rsi) */
    after.rflags &= ~(uint64_t)RFLAGS_CF;
    set_data(&rig, DATA, 0x85);
    expect_undone(&rig, &after, DATA, 1, 0xe1);
}

Test(insn_undo, an_exchange_gives_its_register_back)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    rig.regs.rcx = 9;
    set_data(&rig, DATA, 7);
    after = run_past(&rig, BYTES(0x48, 0x0f, 0xc1, 0x0e)); /* xadd %rcx,(%rsi) */
    after.rcx = 7;
    expect_undone(&rig, &after, DATA, 8, 16);
    after = run_past(&rig, BYTES(0x48, 0x87, 0x0e)); /* xchg %rcx,(%rsi) */
    after.rcx = 7;
    expect_undone(&rig, &after, DATA, 8, 9);
    after = run_past(&rig, BYTES(0x48, 0x0f, 0xc1, 0x36)); /* xadd %rsi,(%rsi) */
    after.rsi = 7;
    expect_undone(&rig, &after, DATA, 8, DATA + 7);
}

Test(insn_undo, a_compare_exchange_that_failed_stays_completed)
{
    struct rig rig;
    struct kvm_regs after;
    struct insn_completed completed;
    struct insn_undone undone;

    rig_init(&rig);
    rig.regs.rsi = DATA;
    set_data(&rig, DATA, 7);
    after = run_past(&rig, BYTES(0x0f, 0xb1, 0x0e)); /* cmpxchg %ecx,(%rsi) */
    after.rax = 7;
    completed = completed_with(&rig, &after, DATA, 4, 7);
    cr_assert_eq(undo(&rig, &completed, &undone), 0);
    cr_assert(undone.unchanged);
    expect_not_undone(&rig, &after, DATA, 4, 8);
    rig.regs.rax = after.rax;
    after.rflags |= RFLAGS_ZF;
    rig.regs.rflags |= RFLAGS_ZF;
    cr_assert_not(expect_undone(&rig, &after, DATA, 4, 0).unchanged);
}

Test(insn_undo, enter_gets_the_frame_pointer_back_that_it_stored)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsp = DATA + 0x100;
    rig.regs.rbp = 0x1234;
    after = run_past(&rig, BYTES(0xc8, 0x40, 0x00, 0x00)); /* enter $64,$0 */
    after.rbp = DATA + 0xf8;
    after.rsp = DATA + 0xf8 - 64;
    expect_undone(&rig, &after, DATA + 0xf8, 8, 0x1234);
}

Test(insn_undo, pusha_gets_its_stack_pointer_back)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.sregs.efer = 0;
    rig.sregs.cs.l = 0;
    rig.sregs.cs.db = 1;
    rig.regs.rsp = DATA + 0x100;
    after = run_past(&rig, BYTES(0x60));
    after.rsp -= 32;
    expect_undone(&rig, &after, DATA + 0xf8, 8, 0);
}

Test(insn_undo, input_that_was_not_stored_is_given_back)
{
    struct rig rig;
    struct kvm_regs after;
    struct insn_completed completed;
    struct insn_undone undone;

    rig_init(&rig);
    rig.regs.rdi = DATA;
    rig.regs.rcx = 10;
    after = run_past(&rig, BYTES(0xf3, 0x6c)); /* rep insb */
    after.rdi += 10;
    after.rcx = 0;
    completed = completed_with(&rig, &after, DATA, 8, 0x1122334455667788);
    completed.ninputs = 10;
    cr_assert_eq(undo(&rig, &completed, &undone), 0);
    cr_assert_eq(undone.ninputs, 10);
    cr_assert_arr_eq(&undone.before, &rig.regs, sizeof(rig.regs));
    /* In progress: more has been stored before, and is to come. */
    after.rip -= 2;
    after.rcx = 100;
    after.rflags |= RFLAGS_RF;
    completed.regs = after;
    cr_assert_eq(undo(&rig, &completed, &undone), 0);
    cr_assert_eq(undone.before.rcx, 110);
}

/* KVM stores one element then and drops what else it has read. */
Test(insn_undo, backwards_only_input_of_one_element_is_given_back)
{
    struct rig rig;
    struct kvm_regs after;
    struct insn_completed completed;
    struct insn_undone undone;

    rig_init(&rig);
    rig.regs.rdi = DATA + 8;
    rig.regs.rcx = 3;
    rig.regs.rflags |= RFLAGS_DF | RFLAGS_RF;
    after = run_past(&rig, BYTES(0xf3, 0x6d)); /* rep insl */
    after.rip -= 2;
    after.rdi -= 4;
    after.rcx -= 1;
    completed = completed_with(&rig, &after, DATA + 8, 4, 1);
    completed.ninputs = 1;
    cr_assert_eq(undo(&rig, &completed, &undone), 0);
    cr_assert_eq(undone.ninputs, 1);
    cr_assert_arr_eq(&undone.before, &rig.regs, sizeof(rig.regs));
    completed.ninputs = 3;
    cr_assert_eq(undo(&rig, &completed, &undone), -ENOTSUP);
    cr_assert_eq(undone.before.rip, rig.regs.rip);
}

Test(insn_undo, a_far_call_is_blamed_and_not_undone)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    rig.regs.rsp = DATA + 0x100;
    rig.regs.rsi = DATA;
    after = run_past(&rig, BYTES(0x48, 0xff, 0x1e)); /* lcall *(%rsi) */
    after.rip = CODE + 0x100;
    after.rsp -= 16;
    cr_assert_eq(expect_not_undone(&rig, &after, DATA + 0xf0, 8, rig.regs.rip + 3), rig.regs.rip);
}

Test(insn_undo, a_store_that_nothing_explains_blames_nobody)
{
    struct rig rig;
    struct kvm_regs after;

    rig_init(&rig);
    after = rig.regs;
    cr_assert_eq(expect_not_undone(&rig, &after, DATA, 8, 1), 0);
}

Test(insn_undo, what_a_store_across_pages_has_stored_already_is_restored)
{
    struct rig rig;
    struct kvm_regs after;
    struct insn_undone undone;

    rig_init(&rig);
    rig.regs.rsi = MOVED - 4;
    rig.regs.rax = 0x20;
    after = run_past(&rig, BYTES(0x48, 0x01, 0x06)); /* add %rax,(%rsi): 5fffffff0 + 20 */
    set_data(&rig, MOVED - 4, 0x500000010);
    undone = expect_undone(&rig, &after, MOVED_TO, 4, 6);
    cr_assert(eq(u64, gva_to_u64(undone.restore), MOVED - 4));
    cr_assert_eq(undone.nrestore, 4);
    cr_assert_arr_eq(undone.restore_data, "\xf0\xff\xff\xff", 4);
    /* The first page refused, the second took its part. */
    set_data(&rig, MOVED - 4, 0x6fffffff0);
    undone = expect_undone(&rig, &after, MOVED - 4, 4, 0x10);
    cr_assert(eq(u64, gva_to_u64(undone.restore), MOVED));
    cr_assert_eq(undone.nrestore, 4);
    cr_assert_arr_eq(undone.restore_data, "\5\0\0\0", 4);
}

Test(insn_undo, both_parts_of_a_store_across_pages_may_have_been_dropped)
{
    struct rig rig;
    struct kvm_regs after;
    struct insn_completed completed;
    struct insn_undone undone;

    rig_init(&rig);
    rig.regs.rsi = MOVED - 4;
    rig.regs.rax = 0x20;
    after = run_past(&rig, BYTES(0x48, 0x11, 0x06)); /* adc */
    set_data(&rig, MOVED - 4, 0x5fffffff0);
    completed = completed_with(&rig, &after, MOVED - 4, 4, 0x10);
    completed.stores[1] = (struct insn_store){ gpa_from_u64(MOVED_TO), 4, { 6 } };
    completed.nstores = 2;
    cr_assert_eq(undo(&rig, &completed, &undone), 0);
    cr_assert_eq(undone.nrestore, 0);
    cr_assert_arr_eq(&undone.before, &rig.regs, sizeof(rig.regs));
}

Test(insn_undo, bits_that_are_gone_are_chosen_so_that_the_result_comes_again)
{
    struct rig rig;
    struct kvm_regs after;
    struct insn_undone undone;
    uint32_t low;

    rig_init(&rig);
    rig.regs.rsi = MOVED - 4;
    rig.regs.rflags |= RFLAGS_CF;
    after = run_past(&rig, BYTES(0x48, 0xc1, 0x2e, 0x04)); /* shrq $4,(%rsi) of 211234567f */
    set_data(&rig, MOVED - 4, 0x2111234567);
    undone = expect_undone(&rig, &after, MOVED_TO, 4, 0x2);
    memcpy(&low, undone.restore_data, sizeof(low));
    cr_assert_eq(low, 0x12345678u);
}
