# SPDX-License-Identifier: BSD-2-Clause
BOOT_FILES := \
	bzimage.c \
	description.c \
	description_map.c \
	description_memory.c \
	description_node.c \
	elf.c \
	fdt.c \
	fdt_build.c \
	fdt_device.c \
	fdt_node.c \
	flat.c \
	foreign.c \
	gzip.c \
	image.c \
	multiboot.c \
	pc_start.c \
	start_info.c \
	unpack.c
