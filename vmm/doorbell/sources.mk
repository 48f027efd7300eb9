# SPDX-License-Identifier: BSD-2-Clause
DOORBELL_FILES := \
	doorbell.c \
	doorbell_console.c \
	doorbell_trace.c
# ... and what needs no KVM: the unit tests take it.
DOORBELL_PURE_FILES := \
	call.c \
	vmspace.c \
	wait.c
