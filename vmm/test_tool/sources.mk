# SPDX-License-Identifier: BSD-2-Clause
# vkvm-test's, its main aside.
TEST_TOOL_FILES := \
	arena.c \
	child.c \
	condition.c \
	console.c \
	places.c \
	runner.c \
	select.c \
	shell.c \
	stub_expect.c \
	stub_report.c \
	suite.c \
	suite_keys.c \
	suite_matrix.c \
	suite_qemu.c \
	suite_result.c \
	suite_text.c \
	test_options.c \
	trial.c \
	verdict.c
