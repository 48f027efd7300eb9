# SPDX-License-Identifier: BSD-2-Clause
# vkvm-trace's, its main aside.
TRACE_TOOL_FILES := \
	dump_chrome.c \
	dump_csv.c \
	dump_folded.c \
	dump_jsonl.c \
	dump_perfetto.c \
	dump_text.c \
	kernel_events.c \
	tool_options.c \
	trace_cairo.c \
	trace_canon.c \
	trace_check.c \
	trace_diff.c \
	trace_dump.c \
	trace_grid.c \
	trace_heatmap.c \
	trace_input.c \
	trace_kernel_events.c \
	trace_report.c \
	trace_report_json.c \
	trace_report_text.c \
	trace_symbols.c \
	trace_tally.c \
	trace_top.c \
	trace_tracks.c \
	trace_wset.c
