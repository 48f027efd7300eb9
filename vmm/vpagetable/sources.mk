# SPDX-License-Identifier: BSD-2-Clause
ENGINE_FILES := \
	pmap.c \
	pmap_super.c \
	pmap_trap.c \
	pmap_window.c \
	pv.c \
	vm_budget.c \
	vm_copy.c \
	vm_errand.c \
	vm_fault.c \
	vm_fault_object.c \
	vm_fault_page.c \
	vm_fault_start.c \
	vm_fault_super.c \
	vm_fault_trace.c \
	vm_fault_walk.c \
	vm_fault_wire.c \
	vm_inject.c \
	vm_map.c \
	vm_map_copy.c \
	vm_map_entry.c \
	vm_map_wire.c \
	vm_object.c \
	vm_object_flush.c \
	vm_page.c \
	vm_page_hold.c \
	vm_pageout.c \
	vm_pageout_wait.c \
	vm_pager.c \
	vm_peek.c \
	vm_prefault.c \
	vm_ranges.c \
	vm_readahead.c \
	vm_shadow.c \
	vm_system.c \
	vm_types.c \
	vpte.c
