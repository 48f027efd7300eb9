# SPDX-License-Identifier: BSD-2-Clause
PAGER_FILES := \
	file_pager.c \
	page_io.c \
	swap_device.c \
	swap_pager.c \
	swap_sums.c
