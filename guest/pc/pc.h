/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an image has that knows nothing of vkvm: a PC started by multiboot, in 32-bit protected mode,
 * flat, without paging.  It prints on the serial port and ends by port 0xf4.
 *
 * Its interrupts are the timer's; its memory is all that lies between PC_MEMORY and what vkvm run was given.
 * guest/tests/pc_*.c are linked with this instead of guest/lib.
 */
#ifndef GUEST_PC_H
#define GUEST_PC_H

#include <stdbool.h>
#include <stdint.h>

#define PC_PAGE_SIZE 4096u
#define PC_MEMORY UINT32_C(0x400000) /* free from here on */

/* --- Tests, as guest/lib/test.h prints them -------------------------------- */

void pc_test_begin(const char *name);

/* If it does not hold the test has failed, and the first such line is printed with both values. */
void pc_expect(bool holds, const char *what, uint32_t is, uint32_t expected);
#define PC_EXPECT_EQ(is, expected) \
    pc_expect((uint32_t)(is) == (uint32_t)(expected), #is, (uint32_t)(is), (uint32_t)(expected))

void pc_test_end(void);

/* Returns what pc_main ends with: 0, or 1 if a test failed. */
int pc_test_summary(void);

/* --- Memory ------------------------------------------------------------------ */

/* A word of a page; the pages begin at PC_MEMORY. */
static inline volatile uint32_t *
pc_word(uint32_t page, uint32_t word)
{
    return (volatile uint32_t *)(uintptr_t)(PC_MEMORY + page * PC_PAGE_SIZE + word * 4);
}

/*
 * Give each of the pages a dozen words that are its own and the round's; look whether they are still there,
 * in another order (npages is a power of 2).  Returns how many pages hold something else.
 */
void pc_fill(uint32_t npages, uint32_t round);
uint32_t pc_count_wrong(uint32_t npages, uint32_t round);

/* --- The timer --------------------------------------------------------------- */

/* Call `tick` with interrupts off, about a thousand times a second, from now on. */
void pc_timer_start(void (*tick)(void));

/* --- Another processor --------------------------------------------------------- */

/* Start processor 1 by INIT and SIPI; it calls `function` and halts. */
void pc_cpu_start(void (*function)(void));

static inline void
pc_pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}

/* --- The image -------------------------------------------------------------------- */

/* Returns 0 for a pass; interrupts are off. */
int pc_main(void);

/* Called by pc_start.S. */
void pc_interrupt(void);
void pc_secondary(void);

#endif
