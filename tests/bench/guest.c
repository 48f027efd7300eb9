/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM that runs touch.S; see guest.h. */
#include "tests/bench/guest.h"

#include "tests/bench/bench.h"
#include "vmm/doorbell/doorbell.h"

void
bench_guest_init(struct bench_guest *guest, uint64_t memory)
{
    *guest = (struct bench_guest){
        .host = { .prefault_pages = VM_PREFAULT_DEFAULT, .fast_fault = true },
        .config = { .timeout_ms = 60000, .guest = &doorbell_guest_ops },
    };
    machine_init(&guest->config.machine);
    machine_set_memory(&guest->config.machine, memory);
}

void
bench_guest_poke(struct vm_map *map, uint64_t gpa, const void *data, size_t size)
{
    struct vm_fault_info info;

    if (vm_map_write(map, gpa_from_u64(gpa), data, size, &info) != VM_OK)
        bench_fail("writing guest memory", vm_result_name(info.result));
}

static void
peek(struct vm_map *map, uint64_t gpa, void *data, size_t size)
{
    struct vm_fault_info info;

    if (vm_map_read(map, gpa_from_u64(gpa), data, size, &info) != VM_OK)
        bench_fail("reading guest memory", vm_result_name(info.result));
}

void
bench_guest_populate(struct vm_map *map, const struct touch_params *touch)
{
    struct vm_fault_info info;

    for (uint64_t i = 0; i < touch->count; i++) {
        gpa_t gpa = gpa_from_u64(touch->base + (i * touch->stride & touch->mask));

        if (pmap_extract(map->pmap, gpa, NULL) != VM_PROT_RW &&
            vm_fault(map, gpa, VM_PROT_WRITE, VM_FAULT_BURST, &info) != VM_OK)
            bench_fail("populating guest memory", vm_result_name(info.result));
    }
}

struct vm_page *
bench_pin(struct vm_map *map, uint64_t gpa)
{
    struct vm_page *m;

    if (vm_fault_page_quick(map, gpa_from_u64(gpa), VM_PROT_READ, &m) != VM_OK)
        bench_fail("pinning a page", "it is not there");
    vm_mutex_lock(&m->object->lock);
    vm_page_wire(m);
    vm_mutex_unlock(&m->object->lock);
    vm_page_unhold(m);
    return m;
}

void
bench_unpin(struct vm_page *m)
{
    struct vm_object *object = m->object;

    vm_mutex_lock(&object->lock);
    vm_page_unwire(m, true);
    vm_mutex_unlock(&object->lock);
}

void
bench_guest_add_region(struct vm_map *map, uint64_t gpa, uint64_t npages)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(gpa),
        .end = gpa_from_u64(gpa + (npages << PAGE_SHIFT)),
        .maptype = VM_MAPTYPE_NORMAL,
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };

    bench_check(vm_object_create_default(map->sys, npages, &args.object), "making memory");
    bench_check(vm_map_insert(map, &args), "mapping memory");
}

static void
load(struct bench_guest *guest, struct vm_map *map)
{
    struct touch_shared shared = { .ncpus = guest->config.machine.nvcpus };

    bench_guest_poke(map, TOUCH_CODE, touch_begin, (size_t)(touch_end - touch_begin));
    bench_guest_poke(map, TOUCH_SHARED, &shared, sizeof(shared));
    for (unsigned i = 0; i < guest->config.machine.nvcpus; i++)
        bench_guest_poke(map, TOUCH_PARAMS(i), &guest->touch[i], sizeof(guest->touch[i]));
}

static double
elapsed(const struct bench_guest *guest)
{
    uint64_t begin = UINT64_MAX, end = 0;

    for (unsigned i = 0; i < guest->config.machine.nvcpus; i++) {
        begin = guest->touch[i].begin < begin ? guest->touch[i].begin : begin;
        end = guest->touch[i].end > end ? guest->touch[i].end : end;
    }
    return (double)(end - begin) / bench_cycles_per_ns();
}

double
bench_guest_run(struct bench_guest *guest)
{
    const struct arch_start start = { .entry = gpa_from_u64(TOUCH_CODE) };
    struct failure failure = { 0 };
    struct vm_outcome outcome;
    struct vm_host *host;
    struct vm_map *map;
    struct vm *vm;

    if (vm_host_create(&guest->host, &host, &failure) != 0 ||
        vm_create(host, &guest->config, &vm, &failure) != 0)
        bench_fail("creating a VM", failure.message);
    map = vm_map_of(vm);
    if (guest->prepare != NULL)
        guest->prepare(guest, map);
    load(guest, map);
    if (vm_set_start(vm, &start, &failure) != 0)
        bench_fail("starting a VM", failure.message);
    vm_run(vm, &outcome);
    if (outcome.end != VM_END_GUEST)
        bench_fail("running the guest", outcome.message);
    for (unsigned i = 0; i < guest->config.machine.nvcpus; i++)
        peek(map, TOUCH_PARAMS(i), &guest->touch[i], sizeof(guest->touch[i]));
    if (guest->finish != NULL)
        guest->finish(guest, map);
    vm_destroy(vm);
    vm_host_destroy(host);
    return elapsed(guest);
}

double
bench_guest_us_per_page(struct bench_guest *guest)
{
    uint64_t pages = 0;
    double ns = bench_guest_run(guest);

    for (unsigned i = 0; i < guest->config.machine.nvcpus; i++)
        pages += guest->touch[i].count;
    return ns / 1e3 / (double)pages;
}
