# SPDX-License-Identifier: BSD-2-Clause
BASE_FILES := \
	event_loop.c \
	failure.c \
	file.c \
	histogram.c \
	json.c \
	limits.c \
	size_text.c \
	utf8.c \
	workers.c
