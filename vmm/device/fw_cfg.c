/* SPDX-License-Identifier: BSD-2-Clause */
/* The firmware configuration ports. */
#include "vmm/device/fw_cfg.h"

#include "vmm/device/access.h"

#define SELECTOR 0
#define DATA 1

#define KEY_SIGNATURE 0x00
#define KEY_ID 0x01
#define KEY_RAM_SIZE 0x03
#define KEY_NVCPUS 0x05
#define KEY_MAX_VCPUS 0x0F

#define ID_TRADITIONAL 1 /* no DMA */

static uint64_t
item(const struct fw_cfg *fw_cfg)
{
    switch (fw_cfg->selected) {
    case KEY_SIGNATURE:
        return 'Q' | 'E' << 8 | 'M' << 16 | (uint64_t)'U' << 24;
    case KEY_ID:
        return ID_TRADITIONAL;
    case KEY_RAM_SIZE:
        return fw_cfg->memory_size;
    case KEY_NVCPUS:
    case KEY_MAX_VCPUS:
        return fw_cfg->nvcpus;
    default:
        return 0;
    }
}

static uint8_t
next_byte(struct fw_cfg *fw_cfg)
{
    uint8_t byte = 0;

    if (fw_cfg->offset < sizeof(uint64_t))
        byte = (uint8_t)(item(fw_cfg) >> 8 * fw_cfg->offset++);
    return byte;
}

static void
read_data(struct fw_cfg *fw_cfg, const struct bus_access *access)
{
    uint8_t *bytes = access->data;

    for (size_t i = 0; i < (size_t)access->size * access->count; i++)
        bytes[i] = next_byte(fw_cfg);
}

int
fw_cfg_access(void *device, const struct bus_access *access)
{
    struct fw_cfg *fw_cfg = device;

    if (access->offset == SELECTOR && access->size == 2 && access->write) {
        fw_cfg->selected = (uint16_t)access_value(access, access->count - 1);
        fw_cfg->offset = 0;
    } else if (access->offset == DATA && !access->write) {
        read_data(fw_cfg, access);
    }
    return 0;
}
