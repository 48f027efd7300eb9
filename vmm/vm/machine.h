/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a virtual machine consists of, as a description: RAM, vCPUs, windows, files, devices.
 *
 * Made once, from options or a device tree (boot/description.h), checked once (machine_check), and
 * read by everybody who needs to know: the parts of the VM, the bus, the device tree.  Nothing here
 * owns anything.
 *
 * RAM is a list of ranges.  One object holds all of it, and the page index in that object is the
 * guest-physical page number, so a hole between ranges is a hole of the object.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include "vmm/base/failure.h"
#include "vmm/device/bus.h"
#include "vmm/vpagetable/vpte.h"

#define MACHINE_MAX_VCPUS 64
#define MACHINE_MAX_RAM 16
#define MACHINE_MAX_WINDOWS 64
#define MACHINE_MAX_FILES 64
#define MACHINE_MAX_DEVICES 32
#define MACHINE_MAX_DISKS 8

/* Which machine it is like. */
enum machine_kind {
    MACHINE_VKERNEL, /* vkvm_abi.h: a doorbell, windows, no interrupts; all vCPUs start at once */
    MACHINE_PC       /* interrupt controllers and a PC's devices; one vCPU starts the others */
};

/* Where a PC has no RAM below 4 GiB: devices, interrupt controllers, what KVM keeps for itself. */
#define MACHINE_PC_HOLE_START ((uint64_t)3 << 30)
#define MACHINE_PC_HOLE_END ((uint64_t)4 << 30)

/* Interrupt lines of a PC: the inputs of its I/O APIC, of which the first 16 are the PICs' too. */
#define MACHINE_LINES 24u

/* A PC's disks: the first one's registers and its line, those of the others behind them. */
#define MACHINE_PC_DISKS ((uint64_t)0xD0000000)
#define MACHINE_PC_DISK_LINE 16u

/* ... and where its free page reporting usually is. */
#define MACHINE_PC_BALLOON ((uint64_t)0xD0010000)
#define MACHINE_PC_BALLOON_LINE 10u

struct machine_ram {
    gpa_t start;
    uint64_t size; /* bytes */
};

/* A window of virtual page tables that is there from the start. */
struct machine_window {
    gpa_t start;                      /* in [VKVM_WINDOW_BASE, VKVM_WINDOW_END), as is the end */
    uint64_t size;                    /* bytes, whole pages */
    const struct vpte_format *format; /* borrowed */
    vpte_t root;
    vm_prot_t protection;
};

/* A file in the guest's memory. */
struct machine_file {
    gpa_t start;      /* where a window could be; disjoint from windows and other files */
    uint64_t size;    /* bytes, whole pages */
    uint64_t offset;  /* bytes of the file before it, whole pages */
    const char *path; /* borrowed: path_size bytes, which need not end in a NUL */
    size_t path_size;
    bool shared;    /* writes go to the file; else they stay in the VM */
    bool read_only; /* the guest cannot write */
};

/* A disk: a file, block device or server's export that a MACHINE_DISK shows (disk.h). */
struct machine_disk {
    const char *path; /* borrowed: path_size bytes, which need not end in a NUL */
    size_t path_size;
    bool read_only;
    bool discard; /* what the guest discards is given back to the host */
};

enum machine_device_kind {
    MACHINE_DOORBELL,
    MACHINE_CONSOLE,
    MACHINE_SERIAL,      /* serial.h */
    MACHINE_CMOS,        /* cmos.h */
    MACHINE_KEYBOARD,    /* reset.h: only the reset of a keyboard controller */
    MACHINE_PCI_CONFIG,  /* reset.h: no PCI bus, and the reset port between its ports */
    MACHINE_ACPI_PM,     /* acpi_pm.h */
    MACHINE_DEBUG_EXIT,  /* debug_exit.h */
    MACHINE_FW_CFG,      /* fw_cfg.h */
    MACHINE_TEST_PORTS,  /* test_device.h */
    MACHINE_TEST_LINES,  /* test_device.h */
    MACHINE_TEST_MEMORY, /* test_device.h */
    MACHINE_DISK,        /* virtio_mmio.h, virtio_blk.h */
    MACHINE_BALLOON,     /* virtio_mmio.h, virtio_balloon.h: free page reporting */
};

/* A device has ports, memory, or both. */
struct machine_device {
    enum machine_device_kind kind;
    uint16_t port;   /* first I/O port */
    uint16_t nports; /* 0 = none */
    unsigned line;   /* interrupt line; 0 = none: line 0 is the timer's */
    gpa_t start;     /* of its memory */
    uint64_t size;   /* bytes, whole pages; 0 = none */
    unsigned disk;   /* MACHINE_DISK: which of the disks it shows */
};

struct machine {
    enum machine_kind kind;
    unsigned nram;
    struct machine_ram ram[MACHINE_MAX_RAM]; /* sorted, disjoint */
    /* What RAM's object is over: the file's byte `offset` is address 0.  path NULL: zeros.  start and
     * size are not used, and it is never read-only. */
    struct machine_file ram_file;
    unsigned nvcpus; /* 1 .. MACHINE_MAX_VCPUS; the APIC id is the index */
    unsigned nwindows;
    struct machine_window windows[MACHINE_MAX_WINDOWS];
    unsigned nfiles;
    struct machine_file files[MACHINE_MAX_FILES];
    unsigned ndevices;
    struct machine_device devices[MACHINE_MAX_DEVICES];
    unsigned ndisks;
    struct machine_disk disks[MACHINE_MAX_DISKS]; /* each is shown by one device */
    enum bus_absent absent;                       /* what an address is where nothing is mapped */
};

/* The least and the most that a user can ask for: room for what stands in low memory; 1 TiB. */
#define MACHINE_MEMORY_MIN ((uint64_t)4 << 20)
#define MACHINE_MEMORY_MAX ((uint64_t)1 << 40)

/* Physical addresses no processor exceeds, for a check before there is one. */
#define MACHINE_PHYSICAL_BITS_MAX 52u

/* A machine with one vCPU, the doorbell and the console at the ports of vkvm_abi.h; no RAM. */
void machine_init(struct machine *machine);

/*
 * Make a PC of it: its devices, one for each disk among them, and its RAM laid out anew.  The number
 * of vCPUs, windows, files and disks stay.
 */
void machine_make_pc(struct machine *machine);

/* The device of that kind as a machine of that kind has it, or NULL if it has none. */
const struct machine_device *machine_standard_device(enum machine_kind kind,
                                                     enum machine_device_kind device);

/*
 * Give a PC the device that shows its disk i, at the first of the usual places and lines that is free.
 * There is room for it as long as each disk has one device.
 */
void machine_show_disk(struct machine *machine, unsigned i);

/*
 * Give a PC, or take from it, the device by which its guest reports free pages: at the usual place, unless it
 * has one.
 */
void machine_set_balloon(struct machine *machine, bool on);

/*
 * Give the machine `size` bytes of RAM: from address 0 up to the windows, the rest from
 * VKVM_RAM_HIGH_BASE on (vkvm_abi.h); of a PC what would lie in its hole comes behind that.
 */
void machine_set_memory(struct machine *machine, uint64_t size);

/*
 * Is this a machine that can be?  physical_bits is the width of the guest processor's physical
 * addresses.
 * Returns 0; -EINVAL with *failure filled: no RAM, RAM or places that are no whole pages, out of
 * order, overlapping, where they must not be or beyond physical_bits; a window that its format cannot
 * map; a number of anything above its maximum; devices that share a port or a line; a disk that not
 * exactly one device of a PC shows; more than one device for free page reporting.
 */
int machine_check(const struct machine *machine, unsigned physical_bits, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Can there be this window, whatever else the machine has?  `name` is what messages call it.
 * Returns 0; -EINVAL with *failure filled: beyond the windows' end, larger than its format can map, a
 * root that has too many bits for it.
 */
int machine_check_window(const struct machine_window *window, const char *name,
                         struct failure *failure) __attribute__((warn_unused_result));

/* Letters of rwx, as far as they hold; and back: -EINVAL for other letters or none. */
void machine_protection_text(vm_prot_t protection, char text[4]);
int machine_protection_find(const char *text, vm_prot_t *protection)
    __attribute__((warn_unused_result));

/* Bytes of RAM. */
uint64_t machine_memory_size(const struct machine *machine);

/* Pages of the object that holds all RAM: holes included, up to the end of the last range. */
uint64_t machine_ram_pages(const struct machine *machine);

/* End of the RAM that starts at address 0; 0 when there is none. */
uint64_t machine_low_end(const struct machine *machine);

/* The range of RAM that [gpa, gpa + size) lies in as a whole, or NULL. */
const struct machine_ram *machine_find_ram(const struct machine *machine, uint64_t gpa,
                                           uint64_t size);

/* The first device of that kind, or NULL. */
const struct machine_device *machine_find_device(const struct machine *machine,
                                                 enum machine_device_kind kind);

#endif
