# SPDX-License-Identifier: BSD-2-Clause
BOOT_FILES := \
	fdt.c \
	image.c
