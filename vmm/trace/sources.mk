# SPDX-License-Identifier: BSD-2-Clause
TRACE_FILES := \
	trace_record.c
# ... and what reads a trace: vkvm does without.
TRACE_READER_FILES := \
	trace_names.c \
	trace_reader.c
