# SPDX-License-Identifier: BSD-2-Clause
GUEST_LIB_FILES := \
	access.c \
	console.c \
	cpu.c \
	expect.c \
	fdt.c \
	pressure.c \
	race.c \
	ram.c \
	region.c \
	ring3.c \
	smp.c \
	start.S \
	string.c \
	test.c \
	trap_entry.S \
	traps.c \
	vpte.c \
	window.c
