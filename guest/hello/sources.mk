# SPDX-License-Identifier: BSD-2-Clause
GUEST_hello_FILES := \
	hello.c
