# SPDX-License-Identifier: BSD-2-Clause
TRACE_FILES := \
	trace_record.c
