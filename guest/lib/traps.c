/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The C half of trap handling: the table of handlers and the last words.
 */
#include "guest/lib/traps.h"

#include "guest/lib/console.h"
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"

#include <stddef.h>

_Static_assert(offsetof(struct trap_frame, cs) == TRAP_FRAME_CS, "used by trap_entry.S");
_Static_assert(sizeof(struct trap_frame) == TRAP_FRAME_SIZE, "used by trap_entry.S");

static void (*trap_handlers[TRAP_VECTORS])(struct trap_frame *frame);

void (*trap_set_handler(unsigned vector,
                        void (*handler)(struct trap_frame *frame)))(struct trap_frame *frame)
{
    void (*before)(struct trap_frame *) = trap_handlers[vector];

    trap_handlers[vector] = handler;
    return before;
}

_Noreturn void
trap_fatal(const struct trap_frame *frame)
{
    console_take_over();
    console_printf("trap: vector %lu error 0x%lx rip 0x%lx cs 0x%lx rsp 0x%lx cr2 0x%lx cpu %u\n",
                   frame->vector, frame->error, frame->rip, frame->cs, frame->rsp, frame->cr2,
                   cpu_id());
    doorbell_exit(TRAP_EXIT_STATUS);
}

void
trap_dispatch(struct trap_frame *frame)
{
    if (frame->vector >= TRAP_VECTORS || trap_handlers[frame->vector] == NULL)
        trap_fatal(frame);
    trap_handlers[frame->vector](frame);
}
