/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes that do what they must not.  Each crime is committed by a child; the kernel
 * must end the child, and only the child.
 */
#include "guest/include/vkvm_abi.h"
#include "guest/vkernel/user.h"

static volatile uint64_t bad_witness = 7;

static void
bad_write(uint64_t address)
{
    *(volatile uint64_t *)address = 1;
}

static void
bad_read(uint64_t address)
{
    (void)*(volatile uint64_t *)address;
}

/* The kernel's memory, at the address where the kernel itself has it. */
static void
bad_read_kernel(void)
{
    bad_read(0x200000);
}

static void
bad_write_kernel(void)
{
    bad_write(0x200000);
}

/* In the window, but in no region. */
static void
bad_write_nowhere(void)
{
    bad_write(USER_MAPPINGS - USER_PAGE);
}

/* The window's own guest-physical address, which no process has mapped. */
static void
bad_read_window(void)
{
    bad_read(VKVM_WINDOW_BASE);
}

static void
bad_write_text(void)
{
    bad_write(USER_BASE);
}

static void
bad_jump(void)
{
    ((void (*)(void))(USER_MAPPINGS - USER_PAGE))();
}

static void
bad_instruction(void)
{
    __asm__ volatile("ud2");
}

static void
bad_privilege(void)
{
    __asm__ volatile("cli; hlt");
}

/* Ending the VM is not a process's to do. */
static void
bad_doorbell(void)
{
    __asm__ volatile("outl %%eax, %%dx" ::"a"(VKVM_CALL_EXIT), "d"(VKVM_PORT_DOORBELL), "D"(1));
}

static void (*const bad_deeds[])(void) = {
    bad_read_kernel, bad_write_kernel, bad_write_nowhere, bad_read_window, bad_write_text,
    bad_jump,        bad_instruction,  bad_privilege,     bad_doorbell,
};

_Static_assert(sizeof(bad_deeds) / sizeof(bad_deeds[0]) == BAD_DEEDS, "the kernel counts them");

int
user_bad(void)
{
    for (uint64_t i = 0; i < BAD_DEEDS; i++) {
        int64_t child = user_fork();
        int64_t status;

        USER_CHECK(child >= 0);
        if (child == 0) {
            bad_witness = 8;
            bad_deeds[i]();
            user_exit(0);
        }
        status = user_wait();
        if (status != STATUS_KILLED)
            user_print("  bad: deed %lu ended with status %lu\n", i, (uint64_t)status);
        USER_CHECK(status == STATUS_KILLED);
        USER_CHECK(bad_witness == 7);
    }
    USER_CHECK(user_call(CALL_WRITE, 0x200000, 8, 0) == -1);
    USER_CHECK(user_call(CALL_WRITE, (uint64_t)-8, 16, 0) == -1);
    USER_CHECK(user_call(CALL_SCAN, USER_BASE, 1, 0x200000) == -1);
    USER_CHECK(user_call(CALL_SCAN, USER_BASE, UINT64_MAX, USER_HEAP) == -1);
    USER_CHECK(user_call(CALL_GROW, UINT64_MAX, 0, 0) == -1);
    USER_CHECK(user_call(CALL_MAP_SHARED, 1, UINT64_MAX, 0) == -1);
    USER_CHECK(user_call((enum vkernel_call)1000, 0, 0, 0) == -1);
    return 0;
}
