# SPDX-License-Identifier: BSD-2-Clause
TRACE_FILES := \
	trace_lane.c \
	trace_record.c \
	trace_writer.c
