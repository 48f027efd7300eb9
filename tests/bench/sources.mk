# SPDX-License-Identifier: BSD-2-Clause
BENCH_FILES := \
	baseline.c \
	bench.c \
	bench_copy.c \
	bench_engine.c \
	bench_fault.c \
	bench_huge.c \
	bench_memory.c \
	bench_placement.c \
	bench_pressure.c \
	bench_process.c \
	bench_scale.c \
	bench_threads.c \
	bench_touch.c \
	bench_trace.c \
	bench_walk.c \
	bounded.c \
	cores.c \
	engine.c \
	guest.c \
	touch.S
