/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that leaves the #VE area busy ends itself: the next #VE cannot be delivered.
 * The VM must end with a message; reaching the end of this image is the failure.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/traps.h"
#include "guest/lib/window.h"

static struct vkvm_ve_area area __attribute__((aligned(64)));

int
guest_main(void)
{
    struct window window;

    access_init();
    window_init(&window, &vpte64, 16);
    doorbell_fault_delivery(VKVM_DELIVER_VE, &area);
    area.busy = 1;
    test_begin("a #VE with a busy area ends the VM");
    (void)access_load(window_address(&window, 0), (struct access_fault *)0);
    EXPECT(false, "still running");
    test_end();
    return test_summary();
}
