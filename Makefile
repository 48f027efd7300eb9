# SPDX-License-Identifier: BSD-2-Clause
#
# vkvm's build: one make process, explicit sources, everything under $(O).
#
#   make run       install what is missing, build, run the tiny guest kernel
#   make test      the same, then all tests
#   make help      the other targets and the variables
#
# CC, CFLAGS, CPPFLAGS, LDFLAGS, LDLIBS and GUEST_CFLAGS belong to the user;
# what the code needs is added to them, never written into them.  Nothing here
# may ask a compiler at parse time and fail: a bare machine has none yet.

O ?= build
PREFIX ?= /usr/local
DESTDIR ?=
V ?=
SAN ?=

CFLAGS ?= -O2 -g
GUEST_CFLAGS ?= -O2 -g

# Where the NPT lane keeps its kernel and initramfs, and how it is run.
NPT ?= $(O)/npt
# Its kernels are Debian's: 6.1, or 6.12 of the backports.  One for each target, but for `make test-npt`.
LANE_KERNEL ?= 6.1
LANE_KERNELS ?= $(LANE_KERNEL)
LANE_ARGS ?=
LANE_TEST_SECONDS ?= 300
LANE_GROUPS ?= unit cli kvm $(SUITE)
LANE_SOAK ?=
SOAK_STEPS ?=
MUTANT_ARGS ?=
UNIT_ARGS ?=
BENCH_ARGS ?=
LINT_STEPS ?=
# What `make run` runs instead of vkernel, with which options of `vkvm run`.
IMAGE ?=
RUN_ARGS ?=
# Where kvm-unit-tests is built, and which of its entries are compared with QEMU (all).
KVM_UNIT_TESTS ?=
KUT_ENTRIES ?=
KUT_SECONDS ?= 40

INSTALL ?= install
CLANG_FORMAT ?= clang-format

.DELETE_ON_ERROR:
.SUFFIXES:
all:

# ---------------------------------------------------------------- sources

# Each folder's sources.mk names its files, one a line.
SOURCE_FOLDERS := vmm/base vmm/vpagetable vmm/pager vmm/kvm vmm/x86_64 vmm/device vmm/trace vmm/trace_tool vmm/test_tool vmm/vm vmm/boot \
	vmm/doorbell vmm/gdb vmm/cli guest/lib guest/pc guest/hello guest/vkernel tests/unit tests/bench
include $(SOURCE_FOLDERS:%=%/sources.mk)

MAIN_SRC := vmm/main.c
# What needs no KVM: the unit tests take it ...
UNIT_VMM_SRCS := $(BASE_FILES:%=vmm/base/%) $(ENGINE_FILES:%=vmm/vpagetable/%) \
	$(PAGER_FILES:%=vmm/pager/%) $(X86_64_PURE_FILES:%=vmm/x86_64/%) $(BOOT_FILES:%=vmm/boot/%) \
	$(CLI_FILES:%=vmm/cli/%) $(DEVICE_FILES:%=vmm/device/%) $(DOORBELL_PURE_FILES:%=vmm/doorbell/%) \
	$(GDB_PURE_FILES:%=vmm/gdb/%) $(TRACE_FILES:%=vmm/trace/%) \
	vmm/kvm/delay_line.c vmm/kvm/fault_tuner.c vmm/kvm/thread_ids.c vmm/kvm/uffd.c vmm/vm/guest_memory.c vmm/vm/machine.c vmm/vm/port_input.c \
	vmm/vm/sandbox.c
# ... and the rest.
VMM_SRCS := $(sort $(UNIT_VMM_SRCS) $(KVM_FILES:%=vmm/kvm/%) $(X86_64_FILES:%=vmm/x86_64/%) \
	$(VM_FILES:%=vmm/vm/%) $(DOORBELL_FILES:%=vmm/doorbell/%) $(GDB_FILES:%=vmm/gdb/%) \
	$(CLI_KVM_FILES:%=vmm/cli/%))

# A program of the build makes the sandbox's filters of a table, which the tests look at too.
SANDBOX_TABLE_SRCS := vmm/vm/sandbox_table.c
SANDBOX_TOOL_SRCS := tools/sandbox_filters.c $(SANDBOX_TABLE_SRCS)
SANDBOX_NONE_SRCS := vmm/vm/sandbox_none.c

# vkvm-trace, a program of its own: what it is made of, but for its main.
TRACE_TOOL_MAIN_SRC := vmm/trace_tool/trace_main.c
TRACE_TOOL_ONLY_SRCS := $(TRACE_TOOL_FILES:%=vmm/trace_tool/%) $(TRACE_READER_FILES:%=vmm/trace/%)
TRACE_TOOL_SRCS := $(TRACE_TOOL_ONLY_SRCS) vmm/base/failure.c vmm/base/file.c vmm/base/histogram.c \
	vmm/base/json.c vmm/base/limits.c vmm/base/utf8.c vmm/cli/cli.c vmm/cli/value.c vmm/trace/trace_record.c vmm/base/size_text.c \
	vmm/vpagetable/vm_types.c

# vkvm-test, another one.
TEST_TOOL_MAIN_SRC := vmm/test_tool/test_main.c
TEST_TOOL_ONLY_SRCS := $(TEST_TOOL_FILES:%=vmm/test_tool/%)
# ... which makes traces canonical as vkvm-trace does.
GOLDEN_SRCS := vmm/trace_tool/trace_canon.c vmm/trace_tool/trace_input.c vmm/trace_tool/trace_kernel_events.c \
	vmm/trace_tool/trace_symbols.c \
	$(TRACE_READER_FILES:%=vmm/trace/%) vmm/trace/trace_record.c
TEST_TOOL_SRCS := $(TEST_TOOL_ONLY_SRCS) $(GOLDEN_SRCS) vmm/base/event_loop.c vmm/base/failure.c vmm/base/file.c vmm/base/json.c \
	vmm/base/limits.c vmm/base/size_text.c vmm/base/utf8.c vmm/cli/beside.c vmm/cli/cli.c vmm/cli/value.c \
	vmm/vpagetable/vm_types.c vmm/x86_64/cpu_feature.c

UNIT_SRCS := $(UNIT_FILES:%=tests/unit/%)
SANITIZER_SRCS := tests/unit/sanitizer.c
BENCH_SRCS := $(BENCH_FILES:%=tests/bench/%)

# tests/kvm/NAME.c, with NAME*.S if there is one: a program of its own.
HOST_TESTS := $(patsubst tests/kvm/%.c,%,$(wildcard tests/kvm/host_*.c))
# ... and these with the machine of kvm_rig.h.
HOST_RIG_TESTS := host_foreign host_kernel host_limits host_pmap host_service host_super host_waiting host_window
HOST_RIG_SRCS := tests/kvm/kvm_rig.c
HOST_TEST_SRCS := $(HOST_TESTS:%=tests/kvm/%.c) $(wildcard tests/kvm/host_*.S)
# What the tests of the program need: a terminal.
PTY_SRCS := tests/cli/pty.c
# ... and a trace.
TRACE_FILE_SRCS := tests/cli/trace_file.c tests/cli/trace_damage.c vmm/trace/trace_record.c
# ... and reports.
REPORT_FILE_SRCS := tests/cli/report_file.c $(addprefix vmm/test_tool/,$(filter report_% suite_result.c,$(TEST_TOOL_FILES))) \
	vmm/base/json.c vmm/base/utf8.c
HOST_CHECK_SRCS := tests/npt/host_check.c vmm/base/failure.c vmm/base/limits.c \
	vmm/base/size_text.c vmm/kvm/kvm_host.c vmm/kvm/kvm_vm.c
# What the NPT lane's init starts.
LANE_HOLD_SRCS := tests/npt/lane_hold.c

GUEST_LIB_SRCS := $(GUEST_LIB_FILES:%=guest/lib/%)
GUEST_IMAGES := hello vkernel
GUEST_hello_SRCS := $(GUEST_hello_FILES:%=guest/hello/%)
GUEST_vkernel_SRCS := $(GUEST_vkernel_FILES:%=guest/vkernel/%)
# guest/tests/NAME.c: an image of its own, with a section in a guest/tests/*.cfg.  pc_* know nothing of
# vkvm: they are PCs, with guest/pc instead of guest/lib.
GUEST_TESTS := $(patsubst guest/tests/%.c,%,$(wildcard guest/tests/*.c))
GUEST_PC_TESTS := $(filter pc_%,$(GUEST_TESTS))
GUEST_PC_SRCS := $(GUEST_PC_FILES:%=guest/pc/%)
# What describes them, and golden traces.
SUITE_CFGS := $(wildcard guest/tests/*.cfg)
GOLDEN_FILES := $(wildcard guest/tests/golden/*)
SUITE_FILES := $(SUITE_CFGS) $(GOLDEN_FILES)

# Scripts and data the NPT lane needs besides the programs.
TEST_FILES := docs/vkvm.1 tests/bench/counted.awk $(wildcard tests/cli/*.sh tests/cli/read_*) tests/suites/junit.xsd \
	tests/kvm/pcs.sh tests/kvm/lane_patches.sh tests/kvm/host.cfg $(SUITE_FILES) tests/run.sh

# --------------------------------------------------------------- packages

# What Debian 12 calls what is needed to build and test ...
PACKAGES := gcc libc6-dev libelf-dev libfdt-dev libbsd-dev libxxhash-dev libzydis-dev \
	libcriterion-dev acpica-tools device-tree-compiler gdb nbdkit zsh
# ... what is built in only where it is there, by pkg-config's names, and the packages with it ...
OPTIONAL := liblz4 liblzma libzstd zlib
# ... and only in vkvm-trace ...
TRACE_OPTIONAL := cairo libtracefs
OPTIONAL_PACKAGES := perl libxml2-utils python3-junitparser libcairo2-dev libtracefs-dev libtraceevent-dev liblz4-dev liblzma-dev libzstd-dev zlib1g-dev libnbd-dev systemtap-sdt-dev \
	libseccomp-dev pkg-config
# ... of these, what only a program of the build is linked with ...
BUILD_OPTIONAL := libseccomp
# ... and to check the sources.  tests/npt/prepare.sh knows the NPT lane's.
LINT_PACKAGES := clang clang-format clang-tidy cppcheck shellcheck mandoc

# ------------------------------------------------------------------ flags

COMMON_WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wvla -Wimplicit-fallthrough
WARNINGS := $(COMMON_WARNINGS)
CC_IS_CLANG := $(shell $(CC) --version 2>/dev/null | grep -q clang && echo yes)
ifeq ($(CC_IS_CLANG),yes)
WARNINGS += -Wthread-safety
endif

ifeq ($(SAN),)
SAN_FLAGS :=
else ifeq ($(SAN),1)
SAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(SAN),thread)
SAN_FLAGS := -fsanitize=thread -fno-omit-frame-pointer
else
$(error SAN=$(SAN): use SAN=1 (address, undefined) or SAN=thread)
endif

STD := -std=gnu17 -D_GNU_SOURCE
HOST_CPPFLAGS := -I. -MMD -MP @$(O)/optional.cppflags $(CPPFLAGS)
HOST_CFLAGS := $(STD) $(WARNINGS) -pthread $(SAN_FLAGS) $(CFLAGS)
HOST_LDFLAGS := -pthread $(SAN_FLAGS) $(LDFLAGS)
# libfdt has no .pc file on Debian 12, so none is asked for.
HOST_LDLIBS := -lelf -lfdt -lbsd -lxxhash -lZydis -lZycore @$(O)/optional.libs $(LDLIBS)
TRACE_TOOL_LDLIBS := -lelf -lxxhash @$(O)/trace.libs $(LDLIBS)
TEST_LDLIBS := -lcriterion
# Calls that tests make fail: tests/unit/alloc_failure.c.
WRAPPED := malloc calloc realloc reallocarray free mmap madvise mprotect memfd_create ftruncate \
	fallocate pthread_create
WRAP_LDFLAGS := $(WRAPPED:%=-Wl,--wrap=%)
# What the unit tests count: tests/unit/test_vm_fault_lookups.c.
UNIT_WRAP_LDFLAGS := -Wl,--wrap=vm_ranges_search

GUEST_MACHINE := -ffreestanding -fno-pic -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fcf-protection=none
GUEST_ALL_CFLAGS := $(STD) $(WARNINGS) $(GUEST_CFLAGS) $(GUEST_MACHINE)
GUEST_LDFLAGS := -nostdlib -static -Wl,--build-id=none -Wl,-z,noexecstack \
	-Wl,-z,max-page-size=4096
GUEST_LDS := guest/guest.ld
GUEST_LDLIBS := -lfdt
GUEST_PC_LDS := guest/pc/pc.ld
GUEST_PC_ALL_CFLAGS := $(GUEST_ALL_CFLAGS) -m32 -march=i686

# ---------------------------------------------------------------- objects

# foo.c and foo.S may stand side by side: the suffix stays in the object's name.
objs = $(1:%=$(O)/obj/%.o)

MADE_OBJS := $(O)/obj/made/sandbox_filters.c.o
VMM_OBJS := $(call objs,$(VMM_SRCS)) $(MADE_OBJS)
MAIN_OBJ := $(call objs,$(MAIN_SRC))
UNIT_OBJS := $(call objs,$(UNIT_SRCS) $(UNIT_VMM_SRCS) $(TRACE_TOOL_ONLY_SRCS) $(TEST_TOOL_ONLY_SRCS) \
	$(SANDBOX_TABLE_SRCS)) \
	$(MADE_OBJS)
TRACE_TOOL_OBJS := $(call objs,$(TRACE_TOOL_MAIN_SRC) $(TRACE_TOOL_SRCS))
TEST_TOOL_OBJS := $(call objs,$(TEST_TOOL_MAIN_SRC) $(TEST_TOOL_SRCS))
BENCH_OBJS := $(call objs,$(BENCH_SRCS))
HOST_CHECK_OBJS := $(call objs,$(HOST_CHECK_SRCS))
LANE_HOLD_OBJS := $(call objs,$(LANE_HOLD_SRCS))
PTY_OBJS := $(call objs,$(PTY_SRCS))
TRACE_FILE_OBJS := $(call objs,$(TRACE_FILE_SRCS))
REPORT_FILE_OBJS := $(call objs,$(REPORT_FILE_SRCS))
ifneq ($(SAN),)
SANITIZER_OBJS := $(call objs,$(SANITIZER_SRCS))
endif
GUEST_PC_OBJS := $(call objs,$(GUEST_PC_SRCS))
GUEST_LIB_OBJS := $(call objs,$(GUEST_LIB_SRCS))

VKVM := $(O)/vkvm
VKVM_TRACE := $(O)/vkvm-trace
VKVM_TEST := $(O)/vkvm-test
UNIT := $(O)/tests/unit
HOST_TEST_BINS := $(HOST_TESTS:%=$(O)/tests/%)
GUEST_BINS := $(GUEST_IMAGES:%=$(O)/guest/%.elf)
GUEST_PC_BINS := $(GUEST_PC_TESTS:%=$(O)/guest/tests/%.elf)
GUEST_TEST_BINS := $(GUEST_TESTS:%=$(O)/guest/tests/%.elf)
BENCH := $(O)/bench
HOST_CHECK := $(O)/host_check
LANE_HOLD := $(O)/lane_hold
PTY := $(O)/tests/pty
TRACE_FILE := $(O)/tests/trace_file
REPORT_FILE := $(O)/tests/report_file
TEST_BINS := $(VKVM) $(VKVM_TRACE) $(VKVM_TEST) $(HOST_CHECK) $(LANE_HOLD) $(PTY) $(TRACE_FILE) $(REPORT_FILE) $(UNIT) $(HOST_TEST_BINS) \
	$(GUEST_BINS) $(GUEST_TEST_BINS)

all: $(VKVM) $(VKVM_TRACE) $(VKVM_TEST) $(GUEST_BINS)

ifneq ($(V),)
Q :=
say = @:
else
Q := @
say = @printf '  %-8s%s\n' $(1) $(2)
endif

# Changed flags rebuild: every object depends on this file, which changes only
# when what is written into it does.
there = $(shell for name in $(1); do \
	pkg-config --exists "$$name" 2>/dev/null && echo "$$name"; done)
OPTIONAL_THERE = $(call there,$(OPTIONAL))
TRACE_OPTIONAL_THERE = $(call there,$(TRACE_OPTIONAL))
FLAGS_LINE = $(CC) | $(HOST_CPPFLAGS) $(HOST_CFLAGS) | $(HOST_LDFLAGS) $(HOST_LDLIBS) | \
	$(GUEST_ALL_CFLAGS) $(GUEST_LDFLAGS) | $(OPTIONAL_THERE) $(call there,$(BUILD_OPTIONAL)) $(TRACE_OPTIONAL_THERE)
# What is optional is looked for when this runs: `make deps` comes before it.
$(O)/flags: FORCE
	@mkdir -p $(@D)
	@for name in $(OPTIONAL_THERE) $(TRACE_OPTIONAL_THERE); do \
		pkg-config --cflags "$$name"; echo "-DHAVE_$$name" | tr a-z A-Z; \
	done > $(@D)/optional.cppflags
	@for name in $(OPTIONAL_THERE); do pkg-config --libs "$$name"; done > $(@D)/optional.libs
	@for name in $(TRACE_OPTIONAL_THERE); do pkg-config --libs "$$name"; done > $(@D)/trace.libs
	@printf '%s\n' '$(subst ','\'',$(FLAGS_LINE))' > $@.new
	@if cmp -s $@.new $@; then rm -f $@.new; else mv -f $@.new $@; fi

$(O)/obj/%.c.o: %.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_CPPFLAGS) $(HOST_CFLAGS) -c -o $@ $<

$(O)/obj/%.S.o: %.S $(O)/flags
	$(call say,AS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_CPPFLAGS) -g -c -o $@ $<

# The sandbox's filters: made by a program, or none where libseccomp is not there.  The program runs
# here and now, so no sanitizer of vkvm's is in it.
$(O)/made/sandbox_filters.c: $(SANDBOX_TOOL_SRCS) $(SANDBOX_NONE_SRCS) vmm/vm/sandbox.h \
		vmm/vm/sandbox_table.h vmm/vm/sandbox_filters.h $(O)/flags
	$(call say,MAKE,$@)
	@mkdir -p $(@D)
	$(Q)if pkg-config --exists libseccomp 2>/dev/null; then \
		$(CC) -I. $(STD) $(WARNINGS) $$(pkg-config --cflags libseccomp) $(CPPFLAGS) $(CFLAGS) \
			$(LDFLAGS) -o $(@D)/sandbox_filters $(SANDBOX_TOOL_SRCS) $$(pkg-config --libs libseccomp) && \
		$(@D)/sandbox_filters > $@; \
	else \
		cp $(SANDBOX_NONE_SRCS) $@; \
	fi

$(O)/obj/made/%.c.o: $(O)/made/%.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_CPPFLAGS) $(HOST_CFLAGS) -c -o $@ $<

$(O)/obj/guest/%.c.o: guest/%.c $(O)/flags
	$(call say,GUESTCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -I. -MMD -MP $(GUEST_ALL_CFLAGS) -c -o $@ $<

$(O)/obj/guest/%.S.o: guest/%.S $(O)/flags
	$(call say,GUESTAS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -I. -MMD -MP -g -c -o $@ $<

$(O)/obj/guest/pc/%.c.o: guest/pc/%.c $(O)/flags
	$(call say,GUESTCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -I. -MMD -MP $(GUEST_PC_ALL_CFLAGS) -c -o $@ $<

$(O)/obj/guest/pc/%.S.o: guest/pc/%.S $(O)/flags
	$(call say,GUESTAS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -I. -MMD -MP -g -m32 -c -o $@ $<

$(O)/obj/guest/tests/pc_%.c.o: guest/tests/pc_%.c $(O)/flags
	$(call say,GUESTCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -I. -MMD -MP $(GUEST_PC_ALL_CFLAGS) -c -o $@ $<

# --------------------------------------------------------------- programs

define link
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_LDFLAGS) -o $@ $(filter %.o,$^)
endef

$(VKVM): $(MAIN_OBJ) $(VMM_OBJS) Makefile
	$(link) $(HOST_LDLIBS)

$(VKVM_TRACE): $(TRACE_TOOL_OBJS) $(SANITIZER_OBJS) Makefile
	$(link) $(TRACE_TOOL_LDLIBS)

$(VKVM_TEST): $(TEST_TOOL_OBJS) $(SANITIZER_OBJS) Makefile
	$(link) -lelf -lxxhash $(LDLIBS)

$(HOST_CHECK): $(HOST_CHECK_OBJS) Makefile
	$(link) $(HOST_LDLIBS)

$(LANE_HOLD): $(LANE_HOLD_OBJS) Makefile
	$(link)

$(PTY): $(PTY_OBJS) Makefile
	$(link)

$(TRACE_FILE): $(TRACE_FILE_OBJS) Makefile
	$(link)

$(REPORT_FILE): $(REPORT_FILE_OBJS) $(SANITIZER_OBJS) Makefile
	$(link)

$(UNIT): $(UNIT_OBJS) $(SANITIZER_OBJS) Makefile
	$(link) $(WRAP_LDFLAGS) $(UNIT_WRAP_LDFLAGS) $(TEST_LDLIBS) $(HOST_LDLIBS) @$(O)/trace.libs

# A host test is tests/kvm/NAME.c with the assembly files tests/kvm/NAME*.S.
host_test_objs = $(call objs,$(filter tests/kvm/$(1).c tests/kvm/$(1)%.S,$(HOST_TEST_SRCS)))
define host_test_rule
$(O)/tests/$(1): $(call host_test_objs,$(1))
endef
$(foreach t,$(HOST_TESTS),$(eval $(call host_test_rule,$(t))))
$(HOST_RIG_TESTS:%=$(O)/tests/%): $(call objs,$(HOST_RIG_SRCS))
$(O)/tests/host_failure: $(call objs,tests/unit/alloc_failure.c)
$(O)/tests/host_failure: HOST_LDFLAGS += $(WRAP_LDFLAGS)
$(O)/tests/host_waiting: HOST_LDFLAGS += -Wl,--wrap=pthread_create
$(O)/tests/host_life: HOST_LDFLAGS += -Wl,--wrap=ioctl -Wl,--wrap=pthread_rwlock_rdlock
$(O)/tests/host_disk: HOST_LDFLAGS += -Wl,--wrap=file_read_at
$(O)/tests/host_swap: HOST_LDFLAGS += -Wl,--wrap=preadv -Wl,--wrap=pwritev
$(O)/tests/host_stall: HOST_LDFLAGS += -Wl,--wrap=file_read_at -Wl,--wrap=preadv
$(HOST_TEST_BINS): $(VMM_OBJS) $(SANITIZER_OBJS) Makefile
	$(link) $(TEST_LDLIBS) $(HOST_LDLIBS)

$(BENCH): $(BENCH_OBJS) $(VMM_OBJS) Makefile
	$(link) $(HOST_LDLIBS)

define guest_link
	$(call say,GUESTLD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(GUEST_LDFLAGS) -Wl,-T,$(GUEST_LDS) -o $@ $(filter %.o,$^) $(GUEST_LDLIBS)
endef

define guest_image_rule
$(O)/guest/$(1).elf: $(call objs,$(GUEST_$(1)_SRCS))
endef
$(foreach g,$(GUEST_IMAGES),$(eval $(call guest_image_rule,$(g))))
$(GUEST_BINS): $(GUEST_LIB_OBJS) $(GUEST_LDS) Makefile
	$(guest_link)

$(filter-out $(GUEST_PC_BINS),$(GUEST_TEST_BINS)): $(O)/guest/tests/%.elf: $(O)/obj/guest/tests/%.c.o \
		$(GUEST_LIB_OBJS) $(GUEST_LDS) Makefile
	$(guest_link)

$(GUEST_PC_BINS): $(O)/guest/tests/%.elf: $(O)/obj/guest/tests/%.c.o $(GUEST_PC_OBJS) $(GUEST_PC_LDS) Makefile
	$(call say,GUESTLD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -m32 $(GUEST_LDFLAGS) -Wl,-T,$(GUEST_PC_LDS) -o $@ $(filter %.o,$^)

# ------------------------------------------------------------ run and test

deps:
	@tests/deps.sh $(PACKAGES) $(OPTIONAL_PACKAGES) $(if $(findstring clang,$(CC)),clang)

# These targets install what is missing before anything is compiled.
INSTALLING := run run-linux test test-linux test-mutants test-install check-unit check-kvm check-cli check-suite test-npt run-npt \
	npt bench bench-npt bench-npt-check bench-npt-keep soak kvm-unit-tests
ifneq ($(filter $(INSTALLING),$(MAKECMDGOALS)),)
$(O)/flags: | deps
endif

# kvm-unit-tests is no part of the project: its images run where somebody says where they are.
KUT := $(O)/kut
ifneq ($(KVM_UNIT_TESTS),)
SUITE := suite
SUITE_ARCHIVE := tests/kut/archive.sh suite $(KVM_UNIT_TESTS) $(KUT)/suite.cpio
LANE_SUITE := -a $(KUT)/suite.cpio
endif

# $(call npt_of,KERNEL): the directory of the lane with this kernel.
npt_of = $(NPT)$(if $(filter-out 6.1,$(1)),-$(1))
# $(call lane_of,KERNEL,FILES,COMMAND): COMMAND, in the NPT lane, where $(O) is called build.
lane_of = tests/npt/prepare.sh -d $(call npt_of,$(1)) -b $(O) -k $(1) $(2) && $(if $(SUITE),$(SUITE_ARCHIVE) &&) \
	tests/npt/lane.sh -d $(call npt_of,$(1)) $(LANE_SUITE) $(LANE_ARGS) -- $(3)
# $(call lane,FILES,COMMAND)
lane = $(call lane_of,$(LANE_KERNEL),$(1),$(2))

# $(call here_or_lane,FILES,COMMAND HERE,COMMAND IN THE LANE)
define here_or_lane
	@if why=$$($(HOST_CHECK)); then \
		$(2); \
	else \
		echo "vkvm: $${why:-this host cannot run guests}; using the NPT lane instead"; \
		$(call lane,$(1),$(3)); \
	fi
endef

RUN_FILES := $(VKVM) $(VKVM_TRACE) $(HOST_CHECK) $(LANE_HOLD) $(GUEST_BINS)
LANE_RUN := build/vkvm run --stats build/guest/vkernel.elf
LANE_TEST = env UNIT_ARGS='$(UNIT_ARGS)' VKVM_SOAK=$(LANE_SOAK) KVM_UNIT_TESTS=suite tests/run.sh \
	-t $(LANE_TEST_SECONDS)
HERE_TEST = UNIT_ARGS='$(UNIT_ARGS)' KVM_UNIT_TESTS='$(KVM_UNIT_TESTS)' tests/run.sh -b $(O)

ifneq ($(IMAGE),)
run: $(RUN_FILES)
	@tests/image/run.sh -b $(O) -d $(NPT) -l '$(LANE_ARGS)' '$(IMAGE)' $(RUN_ARGS)
else
run: $(RUN_FILES)
	$(call here_or_lane,$(RUN_FILES),$(VKVM) run --stats $(O)/guest/vkernel.elf,$(LANE_RUN))
endif

run-linux: $(RUN_FILES)
	@tests/image/linux.sh -b $(O) -d $(NPT) -l '$(LANE_ARGS)' -- $(RUN_ARGS)

# `make run-linux` as a newcomer types it, and what it must say.
test-linux: $(RUN_FILES) $(PTY)
	@tests/image/test.sh -b $(O) -d $(NPT)

test: $(TEST_BINS)
	$(call here_or_lane,$(TEST_BINS) $(TEST_FILES),$(HERE_TEST) unit cli kvm $(SUITE),\
		$(LANE_TEST) unit cli kvm $(SUITE))

check-unit: $(UNIT)
	@$(HERE_TEST) unit

check-cli: $(TEST_BINS)
	@$(HERE_TEST) cli

check-kvm: $(TEST_BINS)
	@$(HERE_TEST) kvm

check-suite: $(RUN_FILES) $(VKVM_TEST)
	@$(HERE_TEST) suite

# Both monitors on this host's KVM and in the lane.  A failed entry is a result, not an error.
KUT_RUN := tests/kut/run.sh -t $(KUT_SECONDS)
kvm-unit-tests: LANE_SUITE += -a $(KUT)/qemu.cpio -m 3072
kvm-unit-tests: $(RUN_FILES)
	@[ -n '$(KVM_UNIT_TESTS)' ] || { echo 'make kvm-unit-tests: say KVM_UNIT_TESTS=DIRECTORY, where' \
		'it is built' >&2; exit 2; }
	@tests/deps.sh qemu-system-x86 cpio
	@mkdir -p $(KUT) && : >$(KUT)/native
	@! $(HOST_CHECK) || \
		$(KUT_RUN) -b $(O) -o $(KUT)/native $(KVM_UNIT_TESTS) vkvm qemu $(KUT_ENTRIES) || :
	@tests/kut/archive.sh qemu $(KUT)/qemu.cpio
	@{ $(call lane,$(RUN_FILES),env KUT_RUN='$(KUT_RUN)' tests/kut/lane.sh $(KUT_ENTRIES)); } | \
		tee $(KUT)/lane.log || :
	@tr -d '\r' <$(KUT)/lane.log | sed -n 's/^RESULT //p' >$(KUT)/lane
	@tests/kut/table.sh $(KVM_UNIT_TESTS) $(KUT)/native $(KUT)/lane

npt: $(TEST_BINS)
	@$(foreach kernel,$(LANE_KERNELS),tests/npt/prepare.sh -d $(call npt_of,$(kernel)) -b $(O) -k $(kernel) \
		$(TEST_BINS) $(TEST_FILES) &&) :

test-npt: $(TEST_BINS)
	@failed=; $(foreach kernel,$(LANE_KERNELS),{ \
		$(call lane_of,$(kernel),$(TEST_BINS) $(TEST_FILES),$(LANE_TEST) $(LANE_GROUPS)); } || \
		failed="$$failed $(kernel)";) \
	[ -z "$$failed" ] || { echo "make test-npt: failed on$$failed"; exit 1; }

run-npt: $(RUN_FILES)
	@$(call lane,$(RUN_FILES),$(LANE_RUN))

# Faults on purpose, in a copy: which test notices?
test-mutants: $(TEST_BINS)
	@tests/mutants/run.sh -b $(O) $(MUTANT_ARGS)

test-programs: $(TEST_BINS)

soak: $(TEST_BINS)
	@tests/soak.sh $(SOAK_STEPS)

bench: $(BENCH) $(VKVM) $(GUEST_BINS)
	$(BENCH) -p $(O) $(BENCH_ARGS)

# The same in instructions, which do not depend on the host.
BENCH_NPT_TASKS := bench-npt bench-npt-check bench-npt-keep
bench-npt: TASK := table
bench-npt-check: TASK := compare
bench-npt-keep: TASK := keep
$(BENCH_NPT_TASKS): $(RUN_FILES) $(BENCH)
	@tests/npt/prepare.sh -d $(call npt_of,$(LANE_KERNEL)) -b $(O) -k $(LANE_KERNEL) $^ && \
		CC='$(CC)' CFLAGS='$(CFLAGS)' tests/bench/counted.sh -d $(call npt_of,$(LANE_KERNEL)) $(TASK)

# ------------------------------------------------------- sources, install

ALL_SRCS := $(VMM_SRCS) $(SANDBOX_TOOL_SRCS) $(SANDBOX_NONE_SRCS) $(MAIN_SRC) $(UNIT_SRCS) $(SANITIZER_SRCS) $(HOST_TEST_SRCS) \
	$(HOST_RIG_SRCS) $(HOST_CHECK_SRCS) $(LANE_HOLD_SRCS) $(PTY_SRCS) $(TRACE_TOOL_MAIN_SRC) $(TRACE_TOOL_ONLY_SRCS) \
	$(TEST_TOOL_MAIN_SRC) $(TEST_TOOL_ONLY_SRCS) $(filter tests/%,$(TRACE_FILE_SRCS)) tests/cli/report_file.c $(BENCH_SRCS) \
	$(GUEST_LIB_SRCS) $(GUEST_PC_SRCS) \
	$(GUEST_TESTS:%=guest/tests/%.c) \
	$(foreach g,$(GUEST_IMAGES),$(GUEST_$(g)_SRCS))

lint-deps:
	@tests/deps.sh $(PACKAGES) $(OPTIONAL_PACKAGES) $(LINT_PACKAGES)

lint: lint-deps $(VKVM)
	@PROGRAM='$(VKVM)' SOURCES='$(ALL_SRCS)' HOST_FLAGS='-I. $(STD) $(COMMON_WARNINGS)' \
		GUEST_FLAGS='-I. $(STD) $(COMMON_WARNINGS) $(GUEST_MACHINE)' tests/lint/run.sh $(LINT_STEPS)

format:
	@tests/deps.sh clang-format
	find vmm guest tests tools -name '*.[ch]' -exec $(CLANG_FORMAT) -i {} +

# What people build guests with outside this tree: headers as they are included here, the library, and what
# pkg-config says of them.
GUEST_ARCHIVE := $(O)/guest/libvkvm-guest.a
GUEST_HEADERS := $(wildcard guest/lib/*.h) guest/include/vkvm_abi.h
$(GUEST_ARCHIVE): $(GUEST_LIB_OBJS)
	$(call say,AR,$@)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# The one place of the version is vmm/cli/cli.h.
VERSION = $(shell sed -n 's/^.define VKVM_VERSION "\(.*\)"/\1/p' vmm/cli/cli.h)

$(O)/vkvm-guest.pc: guest/vkvm-guest.pc.in vmm/cli/cli.h $(O)/flags FORCE
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@CFLAGS@|$(GUEST_MACHINE)|' \
		-e 's|@LDFLAGS@|$(GUEST_LDFLAGS)|' $< > $@

# Completion and the verbs' pages are what the program and its page say.
COMPLETIONS := $(O)/vkvm.bash $(O)/vkvm.zsh
$(COMPLETIONS): $(O)/vkvm.%: tools/completion.sh $(VKVM) $(VKVM_TRACE)
	$(call say,MAKE,$@)
	$(Q)tools/completion.sh $* $(VKVM) > $@

$(O)/man: docs/vkvm.1 tools/verb_page.awk $(VKVM)
	$(call say,MAKE,$@)
	$(Q)rm -rf $@ && mkdir -p $@ && cp docs/vkvm.1 $@/ && \
	$(VKVM) --help | sed -n '/^verbs:/,$$s/^  \([a-z]*\)  *\(.*\)/\1 \2/p' | while read -r verb summary; do \
		awk -v verb="$$verb" -v summary="$$summary" -f tools/verb_page.awk docs/vkvm.1 > $@/vkvm-$$verb.1 || exit 1; \
	done

INSTALL_DATA = $(INSTALL) -m 644
install: install-program install-guest

install-program: all $(GUEST_TEST_BINS) $(COMPLETIONS) $(O)/man
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/vkvm/tests/golden $(DESTDIR)$(PREFIX)/libexec/vkvm \
		$(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/vendor-completions
	$(INSTALL) -m 755 $(VKVM) $(DESTDIR)$(PREFIX)/bin/vkvm
	$(INSTALL) -m 755 $(VKVM_TRACE) $(DESTDIR)$(PREFIX)/libexec/vkvm/vkvm-trace
	$(INSTALL) -m 755 $(VKVM_TEST) $(DESTDIR)$(PREFIX)/libexec/vkvm/vkvm-test
	$(INSTALL_DATA) $(GUEST_BINS) $(DESTDIR)$(PREFIX)/lib/vkvm
	$(INSTALL_DATA) $(SUITE_CFGS) $(GUEST_TEST_BINS) $(DESTDIR)$(PREFIX)/lib/vkvm/tests
	$(INSTALL_DATA) $(GOLDEN_FILES) $(DESTDIR)$(PREFIX)/lib/vkvm/tests/golden
	$(INSTALL_DATA) $(O)/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	$(INSTALL_DATA) $(O)/vkvm.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/vkvm
	$(INSTALL_DATA) $(O)/vkvm.zsh $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_vkvm

install-guest: $(GUEST_ARCHIVE) $(O)/vkvm-guest.pc
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/lib/vkvm $(DESTDIR)$(PREFIX)/share/pkgconfig \
		$(DESTDIR)$(PREFIX)/include/vkvm/guest/lib $(DESTDIR)$(PREFIX)/include/vkvm/guest/include
	$(INSTALL_DATA) $(filter guest/lib/%,$(GUEST_HEADERS)) $(DESTDIR)$(PREFIX)/include/vkvm/guest/lib
	$(INSTALL_DATA) guest/include/vkvm_abi.h $(DESTDIR)$(PREFIX)/include/vkvm/guest/include
	$(INSTALL_DATA) $(GUEST_ARCHIVE) $(GUEST_LDS) $(DESTDIR)$(PREFIX)/lib/vkvm
	$(INSTALL_DATA) $(O)/vkvm-guest.pc $(DESTDIR)$(PREFIX)/share/pkgconfig/vkvm-guest.pc

# As a user has it: an empty directory, and what was installed.
test-install: all $(HOST_CHECK) $(GUEST_ARCHIVE)
	@tests/install/run.sh -b $(O)

# Debian packages, in $(O)/deb.
deb: deb-deps
	@tools/deb.sh $(O)/deb $(VERSION)

deb-deps:
	@tests/deps.sh $(PACKAGES) $(OPTIONAL_PACKAGES) dpkg-dev debhelper lintian

# They are installed here, used, and purged.
test-deb: deb
	@tests/install/deb.sh $(O)/deb

clean:
	rm -rf $(O)

help:
	@sed -n 's/^#h //p' Makefile

#h make            build vkvm and the guest images under build/
#h make run        install what is missing, build, run the tiny guest kernel
#h make run-linux  the same with Debian's kernel and a shell
#h make test       install what is missing, build, run all tests
#h
#h make deps       install the packages needed to build and test (Debian)
#h make check-unit the unit tests: no KVM needed
#h make check-cli  the tests of the vkvm program
#h make check-kvm  the tests under KVM
#h make test-npt   all tests in the NPT lane: QEMU emulating a CPU with nested paging
#h                 (with LANE_KERNELS="6.1 6.12" on both of its kernels, one after the other)
#h make test-linux one boot by make run-linux, and what it must say
#h make run-npt    the tiny guest kernel in the NPT lane
#h make soak       what takes minutes: hammering, repetitions, the lane whole
#h make test-mutants  an hour or two: faults made on purpose, and which tests notice (docs/mutants.md)
#h make check-suite  what is quick of kvm-unit-tests, with KVM_UNIT_TESTS=DIRECTORY
#h make kvm-unit-tests  all of it, here and in the lane, under vkvm and QEMU: the table of docs/kvm-unit-tests.md
#h make bench      measure faults, walks and copies (docs/performance.md)
#h make bench-npt  the faults again, in instructions that do not depend on the host, beside their goals
#h make bench-npt-check  the cheapest of them beside the kept ones (tests/bench/counted.kept)
#h make bench-npt-keep   that file anew
#h make lint       check the sources
#h make format     bring the sources into form
#h make install    install vkvm, and what guests are built with
#h make test-install  that, into an empty directory, and a guest built there
#h make deb        Debian packages, in build/deb
#h make test-deb   that, and install, use and purge them here
#h make clean      remove build/
#h
#h O=build         where everything is built
#h SAN=1           with the address and undefined behaviour sanitizers
#h SAN=thread      with the thread sanitizer
#h V=1             show the commands
#h PREFIX, DESTDIR where `make install` puts things (/usr/local)
#h CC, CFLAGS, CPPFLAGS, LDFLAGS, LDLIBS, GUEST_CFLAGS   yours
#h BENCH_ARGS      rounds and groups of the benchmark, for example '15 touch fault'
#h UNIT_ARGS       arguments of the unit tests, for example --filter='vpte/*'
#h LINT_STEPS      which checks of tests/lint/run.sh (all)
#h LANE_GROUPS     groups of tests that test-npt runs (unit cli kvm), see tests/run.sh; brief is short
#h MUTANT_ARGS     options of tests/mutants/run.sh
#h SOAK_STEPS      which steps of tests/soak.sh (all)
#h KVM_UNIT_TESTS  where kvm-unit-tests is built; `make test` then runs what is quick of it
#h KUT_ENTRIES, KUT_SECONDS  which entries (all), and how long each may take (40)
#h IMAGE           what make run runs instead
#h RUN_ARGS        options of vkvm run for make run IMAGE=... and make run-linux
#h COMMANDS        what the shell of make run-linux does, instead of asking you
#h LANE_KERNEL     the lane's kernel, of Debian: 6.1 or 6.12 (6.1)
#h LANE_ARGS       options of tests/npt/lane.sh, for example '-m 4096'

.PHONY: all deps run run-linux test test-linux check-unit check-cli check-kvm check-suite \
	kvm-unit-tests npt test-npt run-npt soak test-mutants test-programs bench $(BENCH_NPT_TASKS) lint lint-deps format install install-program install-guest test-install deb deb-deps test-deb clean help FORCE

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)
