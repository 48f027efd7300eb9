# SPDX-License-Identifier: BSD-2-Clause
# vkvm-test's, its main aside.
TEST_TOOL_FILES := \
	arena.c \
	child.c \
	condition.c \
	expect_figures.c \
	expect_floor.c \
	expect_parse.c \
	kernel_version.c \
	output.c \
	places.c \
	report_human.c \
	report_jsonl.c \
	report_junit.c \
	report_ktap.c \
	report_text.c \
	runner.c \
	select.c \
	shell.c \
	suite.c \
	suite_expect.c \
	suite_golden.c \
	suite_keys.c \
	suite_matrix.c \
	suite_qemu.c \
	suite_result.c \
	suite_text.c \
	test_options.c \
	transcript.c \
	trial.c \
	verdict.c
