# SPDX-License-Identifier: BSD-2-Clause
GDB_FILES := \
	gdb.c \
	gdb_memory.c \
	gdb_monitor.c \
	gdb_vm.c \
	gdb_walk.c
# ... and what needs no KVM: the unit tests take it.
GDB_PURE_FILES := \
	gdb_listen.c \
	gdb_packet.c \
	gdb_query.c \
	gdb_server.c \
	gdb_session.c
