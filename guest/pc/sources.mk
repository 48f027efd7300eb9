# SPDX-License-Identifier: BSD-2-Clause
GUEST_PC_FILES := \
	pc.c \
	pc_start.S
