/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine without vCPUs; see engine.h. */
#include "tests/bench/engine.h"

#include "tests/bench/bench.h"

/* What a VM has (vmm/vm/vm.c). */
#define STORE_PAGES ((uint64_t)1 << 28)

static int
null_window_create(void *md, struct pmap_window *w)
{
    (void)md;
    (void)w;
    return 0;
}

static void
null_window_destroy(void *md, struct pmap_window *w)
{
    (void)md;
    (void)w;
}

static int
null_enter(void *md, struct pmap_window *w, uint64_t first, unsigned npages,
           const struct pmap_frame *frames, unsigned *entered)
{
    (void)md;
    (void)w;
    (void)first;
    (void)frames;
    *entered = npages;
    return 0;
}

static void
null_change(void *md, struct pmap_window *w, uint64_t first, uint64_t npages)
{
    (void)md;
    (void)w;
    (void)first;
    (void)npages;
}

static const struct pmap_ops null_pmap_ops = {
    .window_create = null_window_create,
    .window_destroy = null_window_destroy,
    .window_rebase = null_window_create,
    .enter = null_enter,
    .remove = null_change,
    .protect = null_change,
    .wake = null_change,
};

static void
on_fatal(void *context, const char *message)
{
    (void)context;
    bench_fail("changing the address space of the windows", message);
}

static void
init_kvm(struct bench_engine *engine)
{
    struct failure failure = { 0 };

    if (kvm_host_open(&engine->host, &failure) != 0 ||
        kvm_vm_open(&engine->kvm, &engine->host, &failure) != 0)
        bench_fail("opening KVM", failure.message);
    const struct kvm_pmap_config config = { .kvm = &engine->kvm,
                                            .sys = &engine->sys,
                                            .fatal = on_fatal };
    bench_check(kvm_pmap_create(&config, &engine->kpmap),
                "making the address space of the windows");
}

void
bench_engine_init(struct bench_engine *engine, bool kvm)
{
    const struct vm_system_config config = { .store_pages = STORE_PAGES };

    engine->kpmap = NULL;
    bench_check(vm_system_init(&engine->sys, &config), "making a memory system");
    if (kvm)
        init_kvm(engine);
    bench_check(pmap_init(&engine->pmap, &engine->sys, kvm ? &kvm_pmap_ops : &null_pmap_ops,
                          engine->kpmap),
                "making a pmap");
    vm_map_init(&engine->map, &engine->sys, &engine->pmap);
}

void
bench_engine_fini(struct bench_engine *engine)
{
    vm_map_fini(&engine->map);
    pmap_fini(&engine->pmap);
    if (engine->kpmap != NULL) {
        kvm_pmap_destroy(engine->kpmap);
        kvm_vm_close(&engine->kvm);
        kvm_host_close(&engine->host);
    }
    vm_system_fini(&engine->sys);
}

void
bench_engine_map(struct bench_engine *engine, uint64_t gpa, uint64_t npages,
                 struct vm_object *object, vm_pindex_t offset)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(gpa),
        .end = gpa_from_u64(gpa + (npages << PAGE_SHIFT)),
        .object = object,
        .offset = offset,
        .maptype = VM_MAPTYPE_NORMAL,
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };

    if (object == NULL)
        bench_check(vm_object_create_default(&engine->sys, npages, &args.object), "making memory");
    bench_check(vm_map_insert(&engine->map, &args), "mapping memory");
}

#define WINDOW_FLAGS (VPTE_V | VPTE_R | VPTE_W | VPTE_X | VPTE_A | VPTE_M)

static void
set_entry(struct bench_engine *engine, uint64_t table, uint64_t index, vm_pindex_t frame)
{
    vpte_t entry = frame << PAGE_SHIFT | WINDOW_FLAGS;
    struct vm_fault_info info;

    if (vm_map_write(&engine->map, gpa_from_u64((table << PAGE_SHIFT) + index * sizeof(entry)),
                     &entry, sizeof(entry), &info) != VM_OK)
        bench_fail("writing a table", vm_result_name(info.result));
}

void
bench_engine_map_window(struct bench_engine *engine, uint64_t gpa, uint64_t npages,
                        struct vm_object *object, vm_pindex_t tables, uint64_t step)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(gpa),
        .end = gpa_from_u64(gpa + (npages << PAGE_SHIFT)),
        .object = object,
        .maptype = VM_MAPTYPE_VPAGETABLE,
        .format = &vpte64_format,
        .root = tables << PAGE_SHIFT | WINDOW_FLAGS,
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };

    set_entry(engine, tables, 0, tables + 1);
    set_entry(engine, tables + 1, 0, tables + 2);
    for (uint64_t i = 0; i < npages; i++) {
        if (i % 512 == 0)
            set_entry(engine, tables + 2, i / 512, tables + 3 + i / 512);
        set_entry(engine, tables + 3 + i / 512, i % 512, i * step % npages);
    }
    bench_check(vm_map_insert(&engine->map, &args), "mapping a window");
}

void
bench_engine_unmap(struct bench_engine *engine, uint64_t gpa, uint64_t npages)
{
    bench_check(vm_map_remove(&engine->map, gpa_from_u64(gpa),
                              gpa_from_u64(gpa + (npages << PAGE_SHIFT))),
                "unmapping memory");
}

void
bench_engine_fault(struct bench_engine *engine, uint64_t gpa, vm_prot_t access, unsigned flags)
{
    struct vm_fault_info info;

    if (vm_fault(&engine->map, gpa_from_u64(gpa), access, flags, &info) != VM_OK)
        bench_fail("fault", vm_result_name(info.result));
}

void
bench_engine_populate(struct bench_engine *engine, uint64_t gpa, uint64_t npages)
{
    for (uint64_t i = 0; i < npages; i++) {
        uint64_t at = gpa + (i << PAGE_SHIFT);

        if (pmap_extract(&engine->pmap, gpa_from_u64(at), NULL) == VM_PROT_NONE)
            bench_engine_fault(engine, at, VM_PROT_WRITE, VM_FAULT_BURST);
    }
}

void
bench_engine_drop(struct bench_engine *engine, uint64_t gpa, uint64_t npages)
{
    pmap_remove(&engine->pmap, gpa_from_u64(gpa), gpa_from_u64(gpa + (npages << PAGE_SHIFT)));
}

double
bench_engine_ns_per_fault(struct bench_engine *engine, uint64_t count,
                          uint64_t (*gpa)(uint64_t i, const void *context), const void *context,
                          vm_prot_t access)
{
    double start = bench_cpu_ns();

    for (uint64_t i = 0; i < count; i++)
        bench_engine_fault(engine, gpa(i, context), access, VM_FAULT_NORMAL);
    return (bench_cpu_ns() - start) / (double)count;
}
