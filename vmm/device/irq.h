/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An interrupt line from a device to whatever interrupt controller the machine has.
 *
 * The controller is a function that the maker of the device gives it (vmm/kvm/irqchip.h for a PC),
 * so that a device knows none.  A line that nobody listens to has no function.
 */
#ifndef IRQ_H
#define IRQ_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Set the level of an input of the controller.  Any thread, under a device's locks: it takes none
 * that a device's access could wait for.
 */
typedef void irq_set_fn(void *controller, unsigned line, bool level);

struct irq_line {
    irq_set_fn *set;  /* NULL = nobody listens */
    void *controller; /* borrowed */
    unsigned line;
};

static inline void
irq_line_set(const struct irq_line *line, bool level)
{
    if (line->set != NULL)
        line->set(line->controller, line->line, level);
}

#endif
