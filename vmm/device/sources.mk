# SPDX-License-Identifier: BSD-2-Clause
DEVICE_FILES := \
	console.c \
	terminal.c
