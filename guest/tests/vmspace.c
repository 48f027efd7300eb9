/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vmspace calls: what they make, and every error they return.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define SIZE (UINT64_C(1) << 20)
#define RW (VKVM_MAP_READ | VKVM_MAP_WRITE)
#define ROUNDS 40

static void
ids_are_created_once_and_destroyed_once(void)
{
    test_begin("a vmspace id is created once and destroyed once");
    EXPECT(doorbell_vmspace_create(7) == 0, "create");
    EXPECT(doorbell_vmspace_create(7) == -VKVM_EEXIST, "create again");
    EXPECT(doorbell_vmspace_destroy(7) == 0, "destroy");
    EXPECT(doorbell_vmspace_destroy(7) == -VKVM_ENOENT, "destroy again");
    EXPECT(doorbell_vmspace_create(0) == -VKVM_EINVAL, "id 0");
    EXPECT(doorbell_vmspace_create(65536) == -VKVM_EINVAL, "id 65536");
    test_end();
}

static void
windows_are_checked(void)
{
    const uint64_t base = VKVM_WINDOW_BASE;

    test_begin("VMSPACE_MAP and VMSPACE_UNMAP check everything");
    EXPECT(doorbell_vmspace_map(3, base, SIZE, 0, RW) == -VKVM_ENOENT, "unknown vmspace");
    EXPECT(doorbell_vmspace_create(3) == 0, "create");
    EXPECT(doorbell_vmspace_map(3, base, SIZE, 0, RW) == 0, "map");
    EXPECT(doorbell_vmspace_map(3, base + SIZE - PAGE_SIZE, SIZE, 0, RW) == -VKVM_EEXIST,
           "overlap");
    EXPECT(doorbell_vmspace_map(3, base + SIZE, 0, 0, RW) == -VKVM_EINVAL, "empty");
    EXPECT(doorbell_vmspace_map(3, base + SIZE + 1, SIZE, 0, RW) == -VKVM_EINVAL, "unaligned");
    EXPECT(doorbell_vmspace_map(3, 0, SIZE, 0, RW) == -VKVM_EINVAL, "on RAM");
    EXPECT(doorbell_vmspace_map(3, VKVM_WINDOW_END - SIZE, 2 * SIZE, 0, RW) == -VKVM_EINVAL,
           "beyond the region");
    EXPECT(doorbell_vmspace_map(3, base, UINT64_MAX & ~PAGE_MASK, 0, RW) == -VKVM_EINVAL, "wraps");
    EXPECT(doorbell_vmspace_map(3, base + SIZE, SIZE, 0, 0x8000) == -VKVM_EINVAL, "flags");
    EXPECT(doorbell_vmspace_unmap(3, base, SIZE / 2) == -VKVM_ENOENT, "half a window");
    EXPECT(doorbell_vmspace_unmap(4, base, SIZE) == -VKVM_ENOENT, "another's window");
    EXPECT(doorbell_vmspace_unmap(3, base, SIZE) == 0, "unmap");
    EXPECT(doorbell_vmspace_unmap(3, base, SIZE) == -VKVM_ENOENT, "unmap again");
    EXPECT(doorbell_vmspace_destroy(3) == 0, "destroy");
    test_end();
}

static void
windows_come_and_go(void)
{
    struct window window;
    struct access_fault fault;

    test_begin("windows come and go many times and stay usable");
    for (uint64_t i = 0; i < ROUNDS; i++) {
        window_init(&window, &vpte64, 64);
        window_map_new(&window, i, VPTE_RW);
        access_store(window_address(&window, i), i, &fault);
        EXPECT(fault.count == 0, "round %lu", i);
        EXPECT(access_load(window_address(&window, i), &fault) == i, "round %lu", i);
        window_fini(&window);
    }
    test_end();
}

static void
unknown_calls_are_refused(void)
{
    static const uint64_t numbers[] = { VKVM_CALL_COUNT, 1000, UINT64_MAX, UINT64_C(1) << 32 };

    test_begin("an unknown call returns ENOSYS, a bad pointer EFAULT");
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        EXPECT(doorbell_call(numbers[i], (uint64_t[5]){ 1, 2, 3, 4, 5 }, (uint64_t *)0) ==
                   -VKVM_ENOSYS,
               "call %lu", numbers[i]);
    EXPECT(doorbell_statistics((struct vkvm_statistics *)0xdead0000000000) == -VKVM_EFAULT,
           "statistics to nowhere");
    EXPECT(doorbell_version() == VKVM_ABI_VERSION, "version");
    test_end();
}

int
guest_main(void)
{
    access_init();
    ids_are_created_once_and_destroyed_once();
    windows_are_checked();
    windows_come_and_go();
    unknown_calls_are_refused();
    return test_summary();
}
