# SPDX-License-Identifier: BSD-2-Clause
DEVICE_FILES := \
	bus.c \
	console.c \
	escape.c \
	terminal.c
