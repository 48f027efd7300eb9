# SPDX-License-Identifier: BSD-2-Clause
CLI_FILES := \
	beside.c \
	boot_options.c \
	cli.c \
	cmd_test.c \
	cmd_trace.c \
	cmd_walk.c \
	disk_options.c \
	dtb.c \
	inject_options.c \
	map_options.c \
	options.c \
	report.c \
	run_files.c \
	value.c \
	walk.c \
	walk_file.c \
	walk_options.c
# ... and the verbs that need KVM: the unit tests leave them out.
CLI_KVM_FILES := \
	cmd_run.c \
	kernel_reader.c \
	monitor.c
