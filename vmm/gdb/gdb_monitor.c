/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `monitor` commands: what of the VM is neither register nor memory.  They only look, and leave no
 * trace.
 */
#include "vmm/gdb/gdb_vm.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vpagetable/vm_budget.h"
#include "vmm/vpagetable/vm_map_entry.h"
#include "vmm/vpagetable/vm_peek.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Objects of a chain, and entries of a map, that are shown at most. */
#define CHAIN_MAX 256u
#define ENTRIES_MAX 4096u

static const char *
type_name(enum vm_object_type type)
{
    return type == OBJT_DEFAULT ? "zero-fill" : type == OBJT_SWAP ? "swap" : "file";
}

static void
print_protection(FILE *to, vm_prot_t prot)
{
    fprintf(to, "%c%c%c", (prot & VM_PROT_READ) != 0 ? 'r' : '-',
            (prot & VM_PROT_WRITE) != 0 ? 'w' : '-', (prot & VM_PROT_EXECUTE) != 0 ? 'x' : '-');
}

/* Locks: M held. */
static void
print_entry(FILE *to, const struct vm_map_entry *entry)
{
    fprintf(to, "0x%010" PRIx64 "-0x%010" PRIx64 " ", gpa_to_u64(entry->start),
            gpa_to_u64(entry->end));
    print_protection(to, entry->protection);
    if (entry->object == NULL)
        fputs(" guard", to);
    else if (entry->maptype == VM_MAPTYPE_VPAGETABLE)
        fprintf(to, " window %s root 0x%" PRIx64 " object %p", entry->format->name,
                atomic_load(&entry->root), (void *)entry->object);
    else
        fprintf(to, " memory object %p page %" PRIu64, (void *)entry->object, entry->offset);
    if ((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
        fputs(" needs-copy", to);
    if (entry->wired_count != 0)
        fputs(" wired", to);
    putc('\n', to);
}

static void
show_map(struct gdb_vm *target, unsigned cpu, const char *argument, FILE *to)
{
    struct vm_map *map = vm_map_of(target->vm);
    const struct vm_map_entry *entry;
    unsigned n = 0;

    (void)cpu;
    (void)argument;
    vm_rwlock_read_lock(&map->lock);
    TAILQ_FOREACH (entry, &map->entries, link) {
        if (n++ == ENTRIES_MAX) {
            fprintf(to, "... %u entries in all\n", map->nentries);
            break;
        }
        print_entry(to, entry);
    }
    vm_rwlock_read_unlock(&map->lock);
}

/* --- the chain ------------------------------------------------------------------------ */

/* Hand over hand, as a fault goes; the first object has a reference of the caller's. */
static void
print_chain(FILE *to, struct vm_object *object) VM_NO_LOCK_ANALYSIS
{
    vm_mutex_lock(&object->lock);
    for (unsigned depth = 0; depth < CHAIN_MAX; depth++) {
        struct vm_object *next = object->backing_object;

        fprintf(to,
                "%u: object %p %s, %" PRIu64 " pages, %" PRIu64
                " resident, %u references, %u shadows",
                depth, (void *)object, type_name(object->type), object->size,
                object->resident_count, object->ref_count - (depth == 0) /* ours */,
                object->shadow_count);
        if (next == NULL) {
            putc('\n', to);
            break;
        }
        fprintf(to, ", shows the next from page %" PRIu64 "\n", object->backing_object_offset);
        vm_mutex_lock(&next->lock);
        vm_mutex_unlock(&object->lock);
        object = next;
    }
    vm_mutex_unlock(&object->lock);
}

/* A number, decimal or hexadecimal, and nothing behind it. */
static bool
parse_address(const char *text, uint64_t *address)
{
    char *end;

    errno = 0;
    *address = strtoull(text, &end, 0);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

static void
show_chain(struct gdb_vm *target, unsigned cpu, const char *argument, FILE *to)
{
    struct vm_map *map = vm_map_of(target->vm);
    struct vm_map_entry *entry;
    struct vm_object *object = NULL;
    uint64_t gpa;

    (void)cpu;
    if (!parse_address(argument, &gpa)) {
        fputs("give a guest-physical address: monitor chain 0x1000\n", to);
        return;
    }
    vm_rwlock_read_lock(&map->lock);
    entry = vm_map_entry_search(map, gpa_from_u64(gpa));
    if (entry != NULL && gpa_to_u64(entry->start) <= gpa) {
        print_entry(to, entry);
        object = entry->object;
        if (object != NULL)
            vm_object_ref(object);
    } else {
        fprintf(to, "nothing is mapped at guest-physical 0x%" PRIx64 "\n", gpa);
    }
    vm_rwlock_read_unlock(&map->lock);
    if (object != NULL) {
        print_chain(to, object);
        vm_object_unref(object);
    }
}

/* --- a walk --------------------------------------------------------------------------- */

static void
print_window_walk(FILE *to, const struct vm_peek_info *info)
{
    fprintf(to, "window: root 0x%" PRIx64 "\n", info->vptes[0]);
    for (unsigned level = 1; level <= info->level; level++)
        fprintf(to, "  level %u: table page %" PRIu64 ", entry 0x%" PRIx64 "\n", level,
                info->tables[level - 1], info->vptes[level]);
}

static void
print_place(FILE *to, const struct vm_peek_info *info)
{
    static const char *const places[] = {
        [VM_PEEK_NOWHERE] = "nowhere yet: zeros",
        [VM_PEEK_RESIDENT] = "resident",
        [VM_PEEK_PAGER] = "in swap or its file",
    };

    if (info->window)
        print_window_walk(to, info);
    if (info->result == VM_OK)
        fprintf(to, "page %" PRIu64 " of the object, %s, %u objects down the chain\n", info->pindex,
                places[info->place], info->depth);
    else
        fprintf(to, "cannot be accessed: %s\n", vm_result_name(info->result));
}

static void
show_walk(struct gdb_vm *target, unsigned cpu, const char *argument, FILE *to)
{
    struct vm_map *map = vm_map_of(target->vm);
    struct arch_debug_walk walk;
    struct vm_peek_info info;
    uint64_t address;
    uint8_t byte;
    int error;

    if (!parse_address(argument, &address)) {
        fputs("give a linear address: monitor walk 0x1000\n", to);
        return;
    }
    if (!gdb_vm_all_rest(target)) {
        fputs("the vCPUs do not rest: one waits for a page\n", to);
        return;
    }
    error = arch_debug_translate(&target->vm->vcpus[cpu].arch, map, address, &walk);
    fprintf(to, "vCPU %u, %s\n", cpu, walk.mode);
    for (unsigned i = 0; i < walk.nsteps; i++)
        fprintf(to, "  entry at 0x%" PRIx64 ": 0x%" PRIx64 "\n", walk.steps[i].address,
                walk.steps[i].value);
    if (error != 0) {
        fputs("not mapped\n", to);
        return;
    }
    fprintf(to, "guest-physical 0x%" PRIx64 "\n", walk.gpa);
    (void)!vm_peek(map, gpa_from_u64(walk.gpa), &byte, 1, &info);
    print_place(to, &info);
}

/* --- counters ------------------------------------------------------------------------- */

static void
show_statistics(struct gdb_vm *target, unsigned cpu, const char *argument, FILE *to)
{
    const struct vm *vm = target->vm;

    (void)cpu;
    (void)argument;
#define PRINT_MAP(name, text) \
    fprintf(to, "%12" PRIu64 "  %s\n", vm_meter_get(&vm->map.meter, name), text);
#define PRINT_SYSTEM(name, text) \
    fprintf(to, "%12" PRIu64 "  %s\n", vm_meter_get(&vm->host->sys.meter, name), text);
    VM_MAP_METER_FIELDS(PRINT_MAP)
    VM_SYSTEM_METER_FIELDS(PRINT_SYSTEM)
#undef PRINT_MAP
#undef PRINT_SYSTEM
    fprintf(to, "%12" PRIu64 "  pages in memory now, of all VMs\n",
            vm_budget_resident(&vm->host->sys));
    fprintf(to, "%12" PRIu64 "  pages mapped now\n", pmap_mapped_pages(&vm->pmap));
}

/* gdb_vm.h: where KVM does not stop the vCPU is walked, if it can be stepped. */
static const char *
how(bool stops, bool steps)
{
    return stops ? "yes" : steps ? "by steps" : "no";
}

static void
print_ability(FILE *to, const char *ring, const struct arch_debug_ability *can)
{
    fprintf(to, "%s: step %s, breakpoints %s, hardware breakpoints %s, watchpoints %s\n", ring,
            can->step ? "yes" : "no", how(can->breakpoints, can->step), how(can->points, can->step),
            how(can->watches, can->step));
}

static void
show_abilities(struct gdb_vm *target, unsigned cpu, const char *argument, FILE *to)
{
    (void)cpu;
    (void)argument;
    print_ability(to, "ring 0", &target->abilities.kernel);
    print_ability(to, "ring 3", &target->abilities.user);
}

/* --- commands ------------------------------------------------------------------------- */

static void show_help(struct gdb_vm *target, unsigned cpu, const char *argument, FILE *to);

static const struct command {
    const char *name;
    const char *help;
    void (*show)(struct gdb_vm *target, unsigned cpu, const char *argument, FILE *to);
} commands[] = {
    { "help", "this", show_help },
    { "map", "the guest-physical address space, entry by entry", show_map },
    { "chain", "GPA: the objects behind a guest-physical address", show_chain },
    { "walk", "ADDRESS: from a linear address of the current thread to its page", show_walk },
    { "stats", "the counters of --stats, as they are now", show_statistics },
    { "abilities", "what this host's KVM can do for a debugger", show_abilities },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void
show_help(struct gdb_vm *target, unsigned cpu, const char *argument, FILE *to)
{
    (void)target;
    (void)cpu;
    (void)argument;
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(to, "%-10s %s\n", commands[i].name, commands[i].help);
}

void
gdb_monitor(void *context, unsigned cpu, const char *command, FILE *to)
{
    const char *argument = command + strcspn(command, " ");
    size_t size = (size_t)(argument - command);

    argument += strspn(argument, " ");
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strlen(commands[i].name) == size && strncmp(commands[i].name, command, size) == 0) {
            commands[i].show(context, cpu, argument, to);
            return;
        }
    }
    fprintf(to, "vkvm does not know '%.64s': try monitor help\n", command);
}
