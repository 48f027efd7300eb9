# SPDX-License-Identifier: BSD-2-Clause
VM_FILES := \
	file_map.c \
	guest_memory.c \
	machine.c \
	pageout_thread.c \
	pc.c \
	port_input.c \
	sandbox.c \
	screen.c \
	vcpu.c \
	vcpu_exit.c \
	vcpu_gate.c \
	vcpu_registers.c \
	vm.c \
	vm_balloon.c \
	vm_disk.c \
	vm_host.c \
	vm_kernel_events.c \
	vm_keys.c \
	vm_parts.c \
	vm_trace.c \
	vm_virtio.c \
	vm_watch.c
