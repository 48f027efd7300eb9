# SPDX-License-Identifier: BSD-2-Clause
TRACE_FILES := \
	trace_lane.c \
	trace_record.c \
	trace_writer.c
# ... and what reads a trace: vkvm does without.
TRACE_READER_FILES := \
	trace_names.c \
	trace_reader.c \
	trace_text.c
