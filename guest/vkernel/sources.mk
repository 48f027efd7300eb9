# SPDX-License-Identifier: BSD-2-Clause
GUEST_vkernel_FILES := \
	fault.c \
	main.c \
	page.c \
	proc.c \
	scan.c \
	shm.c \
	space.c \
	space_copy.c \
	space_vpte.c \
	swap.c \
	trap.c \
	user_bad.c \
	user_fork.c \
	user_lib.c \
	user_main.c \
	user_mappings.c \
	user_scan.c \
	user_sieve.c \
	user_sort.c \
	user_stress.c \
	user_times.c
