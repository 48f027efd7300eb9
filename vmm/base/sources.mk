# SPDX-License-Identifier: BSD-2-Clause
BASE_FILES := \
	histogram.c \
	json.c
