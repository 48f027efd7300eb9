# SPDX-License-Identifier: BSD-2-Clause
BASE_FILES := \
	failure.c \
	file.c \
	histogram.c \
	json.c \
	limits.c \
	size_text.c \
	workers.c
