/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PC that its images see: serial port, both interrupt controllers, the interval timer, and the local
 * APIC as far as it starts another processor.
 *
 * Sources: Intel 8259A and 8254 data sheets; Intel SDM vol. 3, 11.6 and 9.4.
 */
#include "guest/pc/pc.h"

#define COM1 0x3f8
#define COM1_STATUS (COM1 + 5)
#define COM1_EMPTY 0x20

#define PIC 0x20
#define PIC_MASK 0x21
#define PIC2_MASK 0xa1
#define PIC_END_OF_INTERRUPT 0x20
#define VECTOR_TIMER 0x20
#define PIT_COUNTER 0x40
#define PIT_MODE 0x43
#define PIT_HZ 1193182
#define TICKS_HZ 1000

#define APIC UINT32_C(0xfee00000)
#define APIC_SPURIOUS 0xf0
#define APIC_COMMAND 0x300
#define APIC_COMMAND_HIGH 0x310
#define APIC_INIT 0x4500
#define APIC_STARTUP 0x4600

#define TRAMPOLINE UINT32_C(0x8000)
#define SELECTOR_CODE 8
#define WORDS 12 /* of a page that pc_fill writes */

/* Intel SDM vol. 3, 7.11. */
struct pc_gate {
    uint16_t low;
    uint16_t selector;
    uint16_t type;
    uint16_t high;
};

struct pc_table_register {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

extern const uint8_t pc_trampoline[], pc_trampoline_end[]; /* pc_start.S */
extern const uint8_t pc_timer_entry[];

static struct pc_gate pc_gates[VECTOR_TIMER + 1];
static void (*pc_tick)(void);
static void (*pc_second)(void);

static const char *pc_test_name;
static bool pc_test_has_failed;
static unsigned pc_npassed, pc_nfailed;

static inline void
out_byte(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint8_t
in_byte(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* --- Tests ----------------------------------------------------------------- */

static void
print(const char *text)
{
    for (; *text != '\0'; text++) {
        while ((in_byte(COM1_STATUS) & COM1_EMPTY) == 0)
            pc_pause();
        out_byte(COM1, (uint8_t)*text);
    }
}

static void
print_hex(uint32_t value)
{
    char text[11] = "0x00000000";

    for (unsigned i = 0; i < 8; i++)
        text[2 + i] = "0123456789abcdef"[value >> (28 - 4 * i) & 0xf];
    print(text);
}

void
pc_test_begin(const char *name)
{
    pc_test_name = name;
    pc_test_has_failed = false;
}

void
pc_expect(bool holds, const char *what, uint32_t is, uint32_t expected)
{
    if (holds || pc_test_has_failed)
        return;
    pc_test_has_failed = true;
    print("FAIL ");
    print(pc_test_name);
    print(": ");
    print(what);
    print(" is ");
    print_hex(is);
    print(", expected ");
    print_hex(expected);
    print("\n");
}

void
pc_test_end(void)
{
    pc_npassed += !pc_test_has_failed;
    pc_nfailed += pc_test_has_failed;
    if (pc_test_has_failed)
        return;
    print("PASS ");
    print(pc_test_name);
    print("\n");
}

int
pc_test_summary(void)
{
    return pc_nfailed != 0 || pc_npassed == 0;
}

/* --- Memory ---------------------------------------------------------------- */

static uint32_t
word_at(uint32_t page, uint32_t i)
{
    return (page * 7 + i * 85) % (PC_PAGE_SIZE / 4);
}

/* Never 0, which is what a lost page reads as. */
static uint32_t
value_of(uint32_t page, uint32_t i, uint32_t round)
{
    return ((page * UINT32_C(0x9e3779b1)) ^ (i << 20) ^ round) | 1;
}

void
pc_fill(uint32_t npages, uint32_t round)
{
    for (uint32_t page = 0; page < npages; page++)
        for (uint32_t i = 0; i < WORDS; i++)
            *pc_word(page, word_at(page, i)) = value_of(page, i, round);
}

uint32_t
pc_count_wrong(uint32_t npages, uint32_t round)
{
    uint32_t wrong = 0;

    for (uint32_t n = 0; n < npages; n++) {
        uint32_t page = n * 37 % npages; /* odd: each page once */
        uint32_t difference = 0;

        for (uint32_t i = 0; i < WORDS; i++)
            difference |= *pc_word(page, word_at(page, i)) ^ value_of(page, i, round);
        wrong += difference != 0;
    }
    return wrong;
}

/* --- The timer ------------------------------------------------------------- */

void
pc_interrupt(void)
{
    pc_tick();
    out_byte(PIC, PIC_END_OF_INTERRUPT);
}

static void
start_pic(void)
{
    static const uint8_t first[] = { VECTOR_TIMER, 4, 1, 0xfe }; /* the timer's line alone */

    out_byte(PIC, 0x11);
    for (unsigned i = 0; i < sizeof(first); i++)
        out_byte(PIC_MASK, first[i]);
    out_byte(PIC2_MASK, 0xff);
}

void
pc_timer_start(void (*tick)(void))
{
    struct pc_table_register idtr = { sizeof(pc_gates) - 1, (uint32_t)(uintptr_t)pc_gates };
    uint32_t entry = (uint32_t)(uintptr_t)pc_timer_entry;

    pc_tick = tick;
    pc_gates[VECTOR_TIMER] = (struct pc_gate){ .low = (uint16_t)entry,
                                               .selector = SELECTOR_CODE,
                                               .type = 0x8e00,
                                               .high = (uint16_t)(entry >> 16) };
    __asm__ volatile("lidt %0" ::"m"(idtr));
    start_pic();
    out_byte(PIT_MODE, 0x34);
    out_byte(PIT_COUNTER, PIT_HZ / TICKS_HZ & 0xff);
    out_byte(PIT_COUNTER, PIT_HZ / TICKS_HZ >> 8);
    __asm__ volatile("sti");
}

/* --- Another processor ------------------------------------------------------- */

static void
apic_write(uint32_t offset, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)(APIC + offset) = value;
}

static void
apic_send(uint32_t command)
{
    apic_write(APIC_COMMAND_HIGH, UINT32_C(1) << 24);
    apic_write(APIC_COMMAND, command);
}

void
pc_secondary(void)
{
    pc_second();
}

void
pc_cpu_start(void (*function)(void))
{
    volatile uint8_t *to = (volatile uint8_t *)(uintptr_t)TRAMPOLINE;

    pc_second = function;
    for (const uint8_t *from = pc_trampoline; from < pc_trampoline_end; from++)
        *to++ = *from;
    apic_write(APIC_SPURIOUS, 0x1ff);
    apic_send(APIC_INIT);
    apic_send(APIC_STARTUP | TRAMPOLINE >> 12);
}
