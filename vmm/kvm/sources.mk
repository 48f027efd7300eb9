# SPDX-License-Identifier: BSD-2-Clause
KVM_FILES := \
	delay_line.c \
	fault_foreign.c \
	fault_placement.c \
	fault_reader.c \
	fault_report.c \
	fault_service.c \
	fault_tuner.c \
	fault_vcpu.c \
	irqchip.c \
	kvm_host.c \
	kvm_pmap.c \
	kvm_super.c \
	kvm_vm.c \
	kvm_window.c \
	memslot.c \
	thread_ids.c \
	uffd.c
