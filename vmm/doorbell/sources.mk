# SPDX-License-Identifier: BSD-2-Clause
DOORBELL_FILES := \
	doorbell.c \
	vmspace.c
