# SPDX-License-Identifier: BSD-2-Clause
BOOT_FILES := \
	bzimage.c \
	elf.c \
	fdt.c \
	flat.c \
	foreign.c \
	gzip.c \
	image.c \
	multiboot.c \
	pc_start.c \
	start_info.c \
	unpack.c
