# SPDX-License-Identifier: BSD-2-Clause
DEVICE_FILES := \
	acpi_pm.c \
	bus.c \
	cmos.c \
	console.c \
	debug_exit.c \
	disk.c \
	disk_file.c \
	disk_nbd.c \
	escape.c \
	fw_cfg.c \
	reset.c \
	serial.c \
	terminal.c \
	test_device.c \
	virtio.c \
	virtio_balloon.c \
	virtio_blk.c \
	virtio_mmio.c \
	virtio_worker.c \
	virtqueue.c
