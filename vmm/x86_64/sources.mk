# SPDX-License-Identifier: BSD-2-Clause
X86_64_FILES := \
	call.c \
	cpu.c \
	cpuid.c \
	debug.c \
	debug_probe.c \
	emulated.c \
	exception.c
# ... and what needs no KVM: the unit tests take it.
X86_64_PURE_FILES := \
	acpi.c \
	aml.c \
	boot.c \
	cpu_feature.c \
	cpuid_adjust.c \
	debug_registers.c \
	debug_walk.c \
	e820.c \
	insn.c \
	insn_inverse.c \
	insn_undo.c \
	start.c \
	x86_walk.c
