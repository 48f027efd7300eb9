/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The smallest guest: print a line and exit, for measuring how long a start takes.
 * The boot argument "status=N" chooses the exit status.
 */
#include "guest/lib/console.h"
#include "guest/lib/cpu.h"
#include "guest/lib/fdt.h"

int
guest_main(void)
{
    static const char line[] = "hello from ring 0\n";

    console_write(line, sizeof(line) - 1);
    return (int)fdt_argument_number("status", 0);
}
