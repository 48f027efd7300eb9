/* SPDX-License-Identifier: BSD-2-Clause */
/* A description's files, windows and devices. */
#include "vmm/boot/description_node.h"
#include "vmm/boot/fdt_device.h"

#include <errno.h>
#include <libfdt.h>
#include <string.h>

/* --- files ------------------------------------------------------------------- */

/* "rwx", as it is without, or "rx". */
static int
take_file_protection(const struct description_reading *reading, int node, bool *read_only)
{
    const char *text = NULL;
    int error = fdt_node_string(&reading->in, node, "vkvm,protection", &text);

    if (error != 0 || text == NULL)
        return error;
    *read_only = strcmp(text, "rx") == 0;
    if (*read_only || strcmp(text, "rwx") == 0)
        return 0;
    return fdt_node_refuse(&reading->in, node, "vkvm,protection",
                           "'%.64s' cannot be a file's: give \"rwx\" or \"rx\"", text);
}

static int
take_file(struct description_reading *reading, int node, int parent)
{
    static const char *const known[] = { "compatible",  "reg",          "vkvm,path",
                                         "vkvm,offset", "vkvm,sharing", "vkvm,protection",
                                         NULL };
    struct machine *machine = &reading->to->machine;
    struct machine_file file = { .shared = false };
    struct fdt_range range = { .size = 0 };
    unsigned n;
    int error = fdt_node_check(&reading->in, node, known);

    if (error == 0)
        error = description_check_room(reading, node, "files", machine->nfiles, MACHINE_MAX_FILES);
    if (error == 0)
        error = fdt_node_is_leaf(&reading->in, node);
    if (error == 0)
        error = description_need_compatible(reading, node, "vkvm,file-1");
    if (error == 0)
        error = fdt_node_reg(&reading->in, node, parent, &range, 1, &n);
    if (error == 0)
        error = description_file_name(reading, node, &file);
    if (error == 0)
        error = take_file_protection(reading, node, &file.read_only);
    if (error != 0)
        return error;
    file.start = gpa_from_u64(range.start);
    file.size = range.size;
    machine->files[machine->nfiles++] = file;
    return description_check_machine(reading, node, "reg");
}

int
description_files(struct description_reading *reading, int node, int parent)
{
    static const char *const known[] = { "compatible", "#address-cells", "#size-cells", NULL };
    int error = fdt_node_check(&reading->in, node, known);

    (void)parent;
    if (error == 0)
        error = description_need_compatible(reading, node, "vkvm,files-1");
    return error == 0 ? description_for_each(reading, node, take_file) : error;
}

/* --- windows ----------------------------------------------------------------- */

static int
take_format(const struct description_reading *reading, int node, struct machine_window *window)
{
    const char *text = NULL;
    int error = fdt_node_string(&reading->in, node, "vkvm,format", &text);

    if (error != 0 || text == NULL)
        return error;
    window->format = vpte_format_find(text);
    if (window->format == NULL)
        return fdt_node_refuse(&reading->in, node, "vkvm,format",
                               "'%.64s' is unknown: give \"vpte64\" or \"vpte32\"", text);
    return 0;
}

static int
take_protection(const struct description_reading *reading, int node, vm_prot_t *protection)
{
    const char *text = NULL;
    int error = fdt_node_string(&reading->in, node, "vkvm,protection", &text);

    if (error != 0 || text == NULL || machine_protection_find(text, protection) == 0)
        return error;
    return fdt_node_refuse(&reading->in, node, "vkvm,protection",
                           "'%.64s' is not a protection: give letters of rwx", text);
}

static int
take_window(struct description_reading *reading, int node, int parent)
{
    static const char *const known[] = { "compatible",      "reg", "vkvm,format", "vkvm,root",
                                         "vkvm,protection", NULL };
    struct machine *machine = &reading->to->machine;
    struct machine_window window = { .format = &vpte64_format, .protection = VM_PROT_ALL };
    struct fdt_range range = { .size = 0 };
    unsigned n;
    int error = fdt_node_check(&reading->in, node, known);

    if (error == 0)
        error = description_check_room(reading, node, "windows", machine->nwindows,
                                       MACHINE_MAX_WINDOWS);
    if (error == 0)
        error = fdt_node_is_leaf(&reading->in, node);
    if (error == 0)
        error = description_need_compatible(reading, node, "vkvm,window-1");
    if (error == 0)
        error = fdt_node_reg(&reading->in, node, parent, &range, 1, &n);
    if (error == 0)
        error = take_format(reading, node, &window);
    if (error == 0)
        error = fdt_node_u64(&reading->in, node, "vkvm,root", &window.root);
    if (error == 0)
        error = take_protection(reading, node, &window.protection);
    if (error != 0)
        return error;
    window.start = gpa_from_u64(range.start);
    window.size = range.size;
    machine->windows[machine->nwindows++] = window;
    return description_check_machine(reading, node, NULL);
}

int
description_windows(struct description_reading *reading, int node, int parent)
{
    static const char *const known[] = { "compatible", "#address-cells", "#size-cells", NULL };
    int error = fdt_node_check(&reading->in, node, known);

    (void)parent;
    if (error == 0)
        error = description_need_compatible(reading, node, "vkvm,windows-1");
    return error == 0 ? description_for_each(reading, node, take_window) : error;
}

/* --- devices ----------------------------------------------------------------- */

/* Which properties a device of that kind has. */
static const char *const *
known_of(const struct fdt_device *names)
{
    static const char *const of_disk[] = {
        "compatible", "reg", "vkvm,line", "vkvm,path", "vkvm,read-only", "vkvm,discard", NULL
    };
    static const char *const of_line[] = { "compatible", "reg", "vkvm,line", NULL };
    static const char *const of_others[] = { "compatible", "reg", NULL };

    if (names->kind == MACHINE_DISK)
        return of_disk;
    return names->has_line ? of_line : of_others;
}

/* Returns NULL when the node is refused. */
static const struct fdt_device *
find_device(const struct description_reading *reading, int node)
{
    const struct fdt_device *names;
    const char *list = NULL;
    size_t size = 0;

    if (fdt_node_strings(&reading->in, node, "compatible", &list, &size) != 0)
        return NULL;
    names = list == NULL ? NULL : fdt_device_find(list, (int)size);
    if (names == NULL) {
        fdt_node_refuse(&reading->in, node, list == NULL ? NULL : "compatible",
                        "is no device that there is: leave it out, or see docs/devicetree.md");
        return NULL;
    }
    if (fdt_node_check(&reading->in, node, known_of(names)) != 0)
        return NULL;
    return names;
}

/* What the device is like where it usually stands; it can be moved, but has its own size. */
static int
find_standard(const struct description_reading *reading, int node, const struct fdt_device *names,
              const struct machine_device **standard)
{
    const struct machine *machine = &reading->to->machine;

    *standard = machine_standard_device(machine->kind, names->kind);
    if (*standard == NULL)
        return fdt_node_refuse(&reading->in, node, "compatible",
                               "is no device of this kind of machine: leave it out");
    if (names->kind != MACHINE_DISK && machine_find_device(machine, names->kind) != NULL)
        return fdt_node_refuse(&reading->in, node, "compatible",
                               "is there a second time: leave one out");
    return 0;
}

/* A disk is of a file; there may be several. */
static int
take_disk(struct description_reading *reading, int node)
{
    struct machine *machine = &reading->to->machine;
    struct machine_disk disk = { .read_only = false };
    int error = description_check_room(reading, node, "disks", machine->ndisks, MACHINE_MAX_DISKS);

    if (error == 0)
        error =
            description_need_string(reading, node, "vkvm,path",
                                    "give a file, a block device or nbd://HOST/EXPORT", &disk.path);
    if (error == 0)
        error = fdt_node_flag(&reading->in, node, "vkvm,read-only", &disk.read_only);
    if (error == 0)
        error = fdt_node_flag(&reading->in, node, "vkvm,discard", &disk.discard);
    if (error != 0)
        return error;
    if (disk.read_only && disk.discard)
        return fdt_node_refuse(&reading->in, node, "vkvm,discard",
                               "does not go with vkvm,read-only: leave one out");
    disk.path_size = strlen(disk.path);
    machine->disks[machine->ndisks++] = disk;
    return 0;
}

static int
take_place(const struct description_reading *reading, int node, int parent,
           struct machine_device *device)
{
    uint64_t size = device->nports != 0 ? device->nports : device->size;
    struct fdt_range range = { .size = 0 };
    unsigned n;
    int error = fdt_node_reg(&reading->in, node, parent, &range, 1, &n);

    if (error != 0)
        return error;
    if (range.size != size)
        return fdt_node_refuse(&reading->in, node, "reg",
                               "has a size of 0x%llx: this device has 0x%llx",
                               (unsigned long long)range.size, (unsigned long long)size);
    if (device->nports != 0 && range.start > UINT16_MAX)
        return fdt_node_refuse(&reading->in, node, "reg", "port 0x%llx: the last is 0xffff",
                               (unsigned long long)range.start);
    if (device->nports != 0)
        device->port = (uint16_t)range.start;
    else
        device->start = gpa_from_u64(range.start);
    return 0;
}

static int
take_device(struct description_reading *reading, int node, int parent)
{
    struct machine *machine = &reading->to->machine;
    const struct machine_device *standard = NULL;
    const struct fdt_device *names = find_device(reading, node);
    struct machine_device device;
    uint32_t line = 0;
    int error;

    if (names == NULL)
        return -ENOEXEC;
    error = fdt_node_is_leaf(&reading->in, node);
    if (error == 0)
        error = find_standard(reading, node, names, &standard);
    if (error != 0)
        return error;
    device = *standard;
    error = take_place(reading, node, parent, &device);
    if (error == 0)
        error = fdt_node_u32(&reading->in, node, "vkvm,line", &line);
    if (error == 0 && device.kind == MACHINE_DISK) {
        device.disk = machine->ndisks;
        error = take_disk(reading, node);
    }
    if (error != 0)
        return error;
    device.line = line;
    machine->devices[machine->ndevices++] = device;
    return description_check_machine(reading, node, NULL);
}

/* A device whose place is ports. */
static int
take_port_device(struct description_reading *reading, int node, int parent)
{
    const struct fdt_device *names = find_device(reading, node);
    const struct machine_device *standard;

    if (names == NULL)
        return -ENOEXEC;
    standard = machine_standard_device(reading->to->machine.kind, names->kind);
    if (standard != NULL && standard->nports == 0)
        return fdt_node_refuse(&reading->in, node, NULL,
                               "has memory and no ports: put it into the root");
    return take_device(reading, node, parent);
}

int
description_io(struct description_reading *reading, int node, int parent)
{
    static const char *const known[] = { "compatible", "#address-cells", "#size-cells", NULL };
    int error = fdt_node_check(&reading->in, node, known);

    (void)parent;
    if (error == 0)
        error = description_need_compatible(reading, node, "vkvm,io");
    return error == 0 ? description_for_each(reading, node, take_port_device) : error;
}

/* A device outside /io, whose place is memory. */
int
description_device(struct description_reading *reading, int node, int parent)
{
    const struct fdt_device *names = find_device(reading, node);
    const struct machine_device *standard;

    if (names == NULL)
        return -ENOEXEC;
    standard = machine_standard_device(reading->to->machine.kind, names->kind);
    if (standard != NULL && standard->nports != 0)
        return fdt_node_refuse(&reading->in, node, NULL, "has ports: put it into /io");
    return take_device(reading, node, parent);
}
