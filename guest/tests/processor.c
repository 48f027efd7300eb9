/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the guest's own page tables and control registers say holds while every page of it, tables and
 * code too, comes from vm_fault; and what CPUID does not offer cannot be had.
 *
 * A software KVM emulates ring 0 and does not know some of its instructions, which ends the VM: tests that
 * need them are left out there.
 */
#include "guest/lib/access.h"
#include "guest/lib/cpu.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ram.h"
#include "guest/lib/ring3.h"
#include "guest/lib/string.h"
#include "guest/lib/test.h"
#include "guest/lib/traps.h"
#include "guest/lib/x86.h"

#define TRAP_UD 6
#define TRAP_GP 13

#define PTE_P UINT64_C(1)
#define PTE_W UINT64_C(2)
#define PTE_U UINT64_C(4)
#define PTE_KEY1 (UINT64_C(1) << 59)
#define PF_KEY UINT64_C(0x20)

#define CR0_WP (UINT64_C(1) << 16)
#define CR3_KEEP (UINT64_C(1) << 63)

#define SLOT 2 /* of the root: of our own page */
#define OUR_PAGE ((uint64_t)SLOT << 39)

/* Features: where CPUID offers them, and the bit of CR4 that turns them on. */
enum {
    SMEP,
    SMAP,
    UMIP,
    PKU,
    PCID,
    LA57,
    NFEATURES
};
static const struct feature {
    const char *name;
    uint32_t leaf;
    unsigned reg; /* 1 = EBX, 2 = ECX */
    unsigned bit;
    uint64_t cr4;
} features[NFEATURES] = {
    [SMEP] = { "SMEP", 7, 1, 7, 1 << 20 },  [SMAP] = { "SMAP", 7, 1, 20, 1 << 21 },
    [UMIP] = { "UMIP", 7, 2, 2, 1 << 11 },  [PKU] = { "PKU", 7, 2, 3, 1 << 22 },
    [PCID] = { "PCID", 1, 2, 17, 1 << 17 }, [LA57] = { "LA57", 7, 2, 16, 1 << 12 },
};

static unsigned ring;
static uint64_t *our_entry; /* for OUR_PAGE */
static uint64_t our_root;
static uint64_t frames; /* two pages with 1 and 2 as their first word */
static uint64_t resume; /* where to go on after a trap */
static unsigned caught; /* the trap's vector, 0: none */

/* --- instructions ------------------------------------------------------------ */

static void
cpuid(uint32_t leaf, uint32_t value[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(value[0]), "=b"(value[1]), "=c"(value[2]), "=d"(value[3])
                     : "a"(leaf), "c"(0));
}

static bool
is_offered(unsigned which)
{
    uint32_t value[4];

    cpuid(features[which].leaf, value);
    return (value[features[which].reg] >> features[which].bit & 1) != 0;
}

static uint64_t
read_cr4(void)
{
    uint64_t value;

    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}

/* Returns the vector of the trap, or 0. */
static unsigned
write_cr4(uint64_t value)
{
    caught = 0;
    __asm__ volatile("movq $1f, %0\n\tmov %1, %%cr4\n1:" : "=m"(resume) : "r"(value) : "memory");
    return caught;
}

static void
write_cr3(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr3" ::"r"(value) : "memory");
}

static void
write_cr0_wp(bool on)
{
    uint64_t value;

    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    value = on ? value | CR0_WP : value & ~CR0_WP;
    __asm__ volatile("mov %0, %%cr0" ::"r"(value) : "memory");
}

static void
write_ac(bool on)
{
    uint64_t flags;

    __asm__ volatile("pushfq; pop %0" : "=r"(flags));
    flags = on ? flags | RFLAGS_AC : flags & ~(uint64_t)RFLAGS_AC;
    __asm__ volatile("push %0; popfq" ::"r"(flags) : "memory", "cc");
}

static uint64_t
read_msr(uint32_t msr)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static void
write_msr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static void
on_trap(struct trap_frame *frame)
{
    caught = (unsigned)frame->vector;
    frame->rip = resume;
}

/* The handler of `syscall`: on the caller's stack, and straight back with the level it ran in. */
__asm__(".pushsection .text\n"
        "syscall_entry:\n"
        "        mov %cs, %eax\n"
        "        and $3, %eax\n"
        "        jnz 1f\n"
        "        sysretq\n"
        "1:      jmp *%rcx\n"
        ".popsection\n");
extern const char syscall_entry[];

static uint64_t
syscall_level(uint64_t number)
{
    uint64_t result = number;

    __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
    return result | (uint64_t)x86_cpl() << 8;
}

/* The level that `syscall` in ring 3 enters, and behind it, as 0x300, the one it came back to. */
static uint64_t
enter_by_syscall(void)
{
    const uint32_t star = 0xc0000081, lstar = 0xc0000082, fmask = 0xc0000084, efer = 0xc0000080;
    uint64_t levels;

    write_msr(star, (uint64_t)VKVM_SEL_KERNEL_CODE << 32 | (uint64_t)(VKVM_SEL_KERNEL_DATA | 3)
                                                               << 48);
    write_msr(lstar, (uint64_t)syscall_entry);
    write_msr(fmask, 0);
    write_msr(efer, read_msr(efer) | 1);
    levels = ring3_call(syscall_level, 77);
    write_msr(efer, read_msr(efer) & ~UINT64_C(1));
    return levels;
}

/* --- a page of our own -------------------------------------------------------- */

/* In ring 0 all else belongs to the supervisor then, so that SMAP and SMEP leave us alive. */
static void
make_our_root(void)
{
    uint64_t *root, *table = (uint64_t *)ram_alloc();
    const uint64_t *boot = (const uint64_t *)(x86_read_cr3() & ~PAGE_MASK);

    our_root = (uint64_t)table;
    root = table;
    memcpy(root, boot, PAGE_SIZE);
    if (ring == 0)
        root[0] &= ~PTE_U;
    for (unsigned level = 0; level < 3; level++) {
        uint64_t next = ram_alloc();

        table[level == 0 ? SLOT : 0] = next | PTE_P | PTE_W | PTE_U;
        table = (uint64_t *)next;
    }
    our_entry = table;
    frames = ram_alloc_run(2, PAGE_SIZE);
    *(uint64_t *)frames = 1;
    *(uint64_t *)(frames + PAGE_SIZE) = 2;
}

static void
set_our_page(uint64_t flags)
{
    *our_entry = frames | flags;
    write_cr3(our_root);
}

/* --- tests ----------------------------------------------------------------------- */

/* The model: does an access fault, and with which bits? */
static bool
is_refused(uint64_t flags, bool store, bool wp, uint64_t *error)
{
    *error = (flags & PTE_P ? VKVM_PF_PRESENT : 0) | (store ? VKVM_PF_WRITE : 0);
    if ((flags & PTE_P) == 0 || (ring == 3 && (flags & PTE_U) == 0))
        return true;
    return store && (flags & PTE_W) == 0 && (ring == 3 || wp);
}

static void
expect_access(uint64_t flags, bool store, bool wp)
{
    struct access_fault fault;
    uint64_t error;
    bool refused = is_refused(flags, store, wp, &error);

    if (store)
        access_store(OUR_PAGE, 1, &fault);
    else
        EXPECT(access_load(OUR_PAGE, &fault) == (refused ? 0 : 1), "flags 0x%lx: wrong data",
               flags);
    if (!refused)
        EXPECT(fault.count == 0, "flags 0x%lx store %u WP %u: error 0x%lx", flags, store, wp,
               fault.error);
    else
        EXPECT(access_faulted_with(&fault, error) && fault.cr2 == OUR_PAGE,
               "flags 0x%lx store %u WP %u: %u faults, error 0x%lx cr2 0x%lx", flags, store, wp,
               fault.count, fault.error, fault.cr2);
}

static void
the_guests_page_tables_decide(void)
{
    static const uint64_t flags[] = { 0, PTE_P, PTE_P | PTE_W, PTE_P | PTE_U,
                                      PTE_P | PTE_W | PTE_U };

    test_begin("the guest's own page tables and CR0.WP decide, with the error code of the model");
    for (unsigned wp = 0; wp < 2; wp++) {
        write_cr0_wp(wp != 0);
        for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
            set_our_page(flags[i]);
            expect_access(flags[i], false, wp != 0);
            expect_access(flags[i], true, wp != 0);
        }
    }
    test_end();
}

/* Turn a feature on in CR4 for a test; says in the test's line why not. */
static bool
turn_on(unsigned which)
{
    if (!is_offered(which)) {
        test_skip("CPUID does not offer it");
        return false;
    }
    return EXPECT(write_cr4(read_cr4() | features[which].cr4) == 0,
                  "%s cannot be turned on: trap %u", features[which].name, caught);
}

static void
turn_off(unsigned which)
{
    EXPECT(write_cr4(read_cr4() & ~features[which].cr4) == 0, "%s cannot be turned off",
           features[which].name);
}

static void
smap_guards_user_pages(void)
{
    struct access_fault fault;

    test_begin("SMAP: ring 0 reaches a user page with AC set only");
    set_our_page(PTE_P | PTE_W | PTE_U);
    if (turn_on(SMAP)) {
        (void)access_load(OUR_PAGE, &fault);
        EXPECT(access_faulted_with(&fault, VKVM_PF_PRESENT), "%u faults, error 0x%lx", fault.count,
               fault.error);
        write_ac(true);
        EXPECT(access_load(OUR_PAGE, &fault) == 1 && fault.count == 0, "error 0x%lx", fault.error);
        write_ac(false);
        turn_off(SMAP);
    }
    test_end();
}

static void
write_pkru(uint32_t value)
{
    __asm__ volatile("wrpkru" ::"a"(value), "c"(0), "d"(0));
}

static void
protection_keys_guard_user_pages(void)
{
    struct access_fault fault;

    test_begin("PKU: a key that is closed refuses reads, one for reading refuses writes");
    set_our_page(PTE_P | PTE_W | PTE_U | PTE_KEY1);
    if (turn_on(PKU)) {
        write_cr0_wp(true);
        write_pkru(1 << 2);
        (void)access_load(OUR_PAGE, &fault);
        EXPECT(access_faulted_with(&fault, VKVM_PF_PRESENT | PF_KEY), "%u faults, error 0x%lx",
               fault.count, fault.error);
        write_pkru(2 << 2);
        EXPECT(access_load(OUR_PAGE, &fault) == 1 && fault.count == 0, "error 0x%lx", fault.error);
        access_store(OUR_PAGE, 1, &fault);
        EXPECT(access_faulted_with(&fault, VKVM_PF_PRESENT | VKVM_PF_WRITE | PF_KEY),
               "%u faults, error 0x%lx", fault.count, fault.error);
        write_pkru(0);
        access_store(OUR_PAGE, 1, &fault);
        EXPECT(fault.count == 0, "error 0x%lx", fault.error);
        turn_off(PKU);
    }
    test_end();
}

static void
invpcid(uint64_t pcid, uint64_t address)
{
    struct {
        uint64_t pcid, address;
    } descriptor = { pcid, address };

    __asm__ volatile("invpcid %0, %1" ::"m"(descriptor), "r"(UINT64_C(0)) : "memory");
}

static void
each_pcid_sees_its_own(void)
{
    struct access_fault fault;

    test_begin("PCID: another one sees a changed entry at once, the old one after INVPCID");
    set_our_page(PTE_P | PTE_W | PTE_U);
    if (turn_on(PCID)) {
        write_cr3(our_root | 1);
        EXPECT(access_load(OUR_PAGE, &fault) == 1, "wrong data");
        *our_entry = (frames + PAGE_SIZE) | PTE_P | PTE_W | PTE_U;
        write_cr3(our_root | 2);
        EXPECT(access_load(OUR_PAGE, &fault) == 2, "the entry of another PCID");
        invpcid(1, OUR_PAGE);
        write_cr3(our_root | 1 | CR3_KEEP);
        EXPECT(access_load(OUR_PAGE, &fault) == 2, "the entry from before INVPCID");
        write_cr3(our_root);
        turn_off(PCID);
    }
    test_end();
}

static uint64_t
store_gdt(uint64_t unused)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) gdt;

    (void)unused;
    caught = 0;
    __asm__ volatile("movq $1f, %0\n\tsgdt %1\n1:" : "=m"(resume), "=m"(gdt) : : "memory");
    return caught;
}

static void
umip_hides_tables(void)
{
    uint64_t trap;

    test_begin("UMIP: ring 3 may not read the GDT's address");
    if (turn_on(UMIP)) {
        trap = ring3_call(store_gdt, 0);
        EXPECT(trap == TRAP_GP, "trap %lu", trap);
        turn_off(UMIP);
    }
    test_end();
}

static void
what_is_not_offered_cannot_be_had(void)
{
    test_begin("what CPUID does not offer CR4 does not take");
    for (unsigned i = 0; i < NFEATURES; i++) {
        if (!is_offered(i))
            EXPECT(write_cr4(read_cr4() | features[i].cr4) == TRAP_GP, "%s: trap %u",
                   features[i].name, caught);
    }
    test_end();
}

static void
cache_instructions_keep_data(void)
{
    uint64_t run = ram_alloc_run(3, PAGE_SIZE);

    test_begin("flushing and fencing a page that nobody touched, and one that was written");
    for (unsigned i = 0; i < 3; i++) {
        volatile uint64_t *word = (volatile uint64_t *)(run + i * PAGE_SIZE);

        __asm__ volatile("clflush %0; mfence" ::"m"(*word));
        EXPECT(*word == 0, "not zeros");
        *word = i + 1;
        __asm__ volatile("clflush %0; lfence; sfence" ::"m"(*word));
        EXPECT(*word == i + 1, "lost");
    }
    test_end();
}

/* KVM writes the instruction that this processor has over the other one: a write to code. */
static void
hypercalls_are_answered(void)
{
    int64_t intel = 999, amd = 999;

    test_begin("a hypercall of either maker's is answered by KVM, which may patch the code");
    __asm__ volatile("vmcall" : "+a"(intel) : "b"(0), "c"(0), "d"(0), "S"(0) : "memory");
    __asm__ volatile("vmmcall" : "+a"(amd) : "b"(0), "c"(0), "d"(0), "S"(0) : "memory");
    EXPECT(intel == -1000 && amd == -1000, "vmcall %ld, vmmcall %ld", intel, amd);
    test_end();
}

/*
 * A host whose own counters are not alike has the guest's go on where it was when a vCPU changes processors:
 * that undoes a write since the last entry, rarely.
 */
#define TSC_TRIES 8

static void
the_time_stamp_counter_can_be_moved(void)
{
    const uint32_t tsc_adjust = 0x3b;
    uint64_t before, after = 0, year = UINT64_C(1) << 56;

    test_begin("TSC_ADJUST moves the time-stamp counter, which never goes back by itself");
    before = read_msr(tsc_adjust);
    for (unsigned i = 0; i < TSC_TRIES && after < year; i++) {
        write_msr(tsc_adjust, before);
        write_msr(tsc_adjust, before + year);
        after = x86_read_tsc();
    }
    EXPECT(after >= year, "the counter shows 0x%lx", after);
    write_msr(tsc_adjust, before);
    after = x86_read_tsc();
    for (unsigned i = 0; i < 1000; i++) {
        before = after;
        after = x86_read_tsc();
        EXPECT(after >= before && after < year, "0x%lx after 0x%lx", after, before);
    }
    test_end();
}

static void
registers_keep_what_is_written(void)
{
    uint64_t seen;
    uint32_t first[4], again[4];

    test_begin("CR8 keeps what is written, and CPUID says the same each time");
    for (uint64_t value = 0; value < 16; value++) {
        __asm__ volatile("mov %1, %%cr8; mov %%cr8, %0" : "=&r"(seen) : "r"(value));
        EXPECT(seen == value, "%lu became %lu", value, seen);
    }
    __asm__ volatile("mov %0, %%cr8" ::"r"(UINT64_C(0)));
    cpuid(7, first);
    for (unsigned i = 0; i < 100; i++) {
        cpuid(7, again);
        EXPECT(memcmp(first, again, sizeof(first)) == 0, "another answer");
    }
    test_end();
}

static void
syscall_enters_ring_0(uint64_t levels)
{
    test_begin("syscall enters ring 0 where LSTAR says, and sysret leaves it");
    EXPECT(levels == 0x300, "levels 0x%lx", levels);
    test_end();
}

/* What a software KVM can do ... */
static void
test_everywhere(void)
{
    the_guests_page_tables_decide();
    registers_keep_what_is_written();
    cache_instructions_keep_data();
}

/* ... and what it cannot. */
static void
test_hardware(uint64_t levels)
{
    what_is_not_offered_cannot_be_had();
    protection_keys_guard_user_pages();
    each_pcid_sees_its_own();
    if (ring == 0) {
        smap_guards_user_pages();
        return;
    }
    umip_hides_tables();
    hypercalls_are_answered();
    the_time_stamp_counter_can_be_moved();
    syscall_enters_ring_0(levels);
}

int
guest_main(void)
{
    uint64_t boot_root = x86_read_cr3(), levels;

    access_init();
    trap_set_handler(TRAP_GP, on_trap);
    trap_set_handler(TRAP_UD, on_trap);
    ring = (unsigned)fdt_argument_number("ring", 3);
    levels = enter_by_syscall();
    make_our_root();
    write_cr3(our_root);
    test_everywhere();
    if (levels != 0x303) /* docs/hosts.md: with a software KVM it stays in ring 3 */
        test_hardware(levels);
    write_cr3(boot_root);
    return test_summary();
}
