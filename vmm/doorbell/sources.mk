# SPDX-License-Identifier: BSD-2-Clause
DOORBELL_FILES := \
	doorbell.c
# ... and what needs no KVM: the unit tests take it.
DOORBELL_PURE_FILES := \
	call.c \
	vmspace.c
