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
LANE_ARGS ?=
LANE_TEST_SECONDS ?= 300
UNIT_ARGS ?=
BENCH_ARGS ?=
LINT_STEPS ?=

INSTALL ?= install
CLANG_FORMAT ?= clang-format

.DELETE_ON_ERROR:
.SUFFIXES:
all:

# ---------------------------------------------------------------- sources

ENGINE_SRCS := $(sort $(wildcard vmm/vpagetable/*.c vmm/pager/*.c)) $(wildcard vmm/histogram.c)
CLI_SRCS := $(sort $(wildcard vmm/cli/*.c))
KVM_SRCS := $(sort $(wildcard vmm/kvm/*.c))
ARCH_SRCS := $(sort $(wildcard vmm/x86_64/*.c))
VM_SRCS := $(sort $(filter-out vmm/main.c vmm/histogram.c,$(wildcard vmm/*.c)))
VMM_SRCS := $(ENGINE_SRCS) $(CLI_SRCS) $(KVM_SRCS) $(ARCH_SRCS) $(VM_SRCS)
MAIN_SRC := vmm/main.c

UNIT_SRCS := $(sort $(filter-out tests/unit/sanitizer.c,$(wildcard tests/unit/*.c)))
# What the unit tests take of vmm/: the engine, which needs no KVM, and these.
UNIT_VMM_SRCS := $(ENGINE_SRCS) $(filter-out vmm/cli/cmd_run.c,$(CLI_SRCS)) \
	$(wildcard vmm/x86_64/insn.c vmm/x86_64/x86_walk.c)

HOST_TESTS := $(sort $(patsubst tests/kvm/%.c,%,$(wildcard tests/kvm/host_*.c)))
HOST_TEST_SRCS := $(HOST_TESTS:%=tests/kvm/%.c) $(sort $(wildcard tests/kvm/host_*.S))

GUEST_LIB_SRCS := $(sort $(wildcard guest/lib/*.c guest/lib/*.S))
GUEST_IMAGES := hello vkernel
GUEST_hello_SRCS := $(sort $(wildcard guest/hello/*.c guest/hello/*.S))
GUEST_vkernel_SRCS := $(sort $(wildcard guest/vkernel/*.c guest/vkernel/*.S))
GUEST_TESTS := $(sort $(patsubst guest/tests/%.c,%,$(wildcard guest/tests/*.c)))

BENCH_SRCS := $(sort $(wildcard tests/bench/*.c tests/bench/*.S))
HOST_CHECK_SRCS := tests/npt/host_check.c vmm/kvm/kvm_host.c
SANITIZER_SRCS := tests/unit/sanitizer.c

# Scripts and data the NPT lane needs besides the programs.
TEST_FILES := tests/run.sh tests/cli/run.sh tests/cli/walk.sh tests/kvm/run.sh tests/kvm/tests.cfg docs/vkvm.1

# --------------------------------------------------------------- packages

# What Debian 12 calls what is needed to build and test ...
PACKAGES := gcc libc6-dev libelf-dev libfdt-dev libbsd-dev libzydis-dev libcriterion-dev
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
HOST_CPPFLAGS := -I. -MMD -MP $(CPPFLAGS)
HOST_CFLAGS := $(STD) $(WARNINGS) -pthread $(SAN_FLAGS) $(CFLAGS)
HOST_LDFLAGS := -pthread $(SAN_FLAGS) $(LDFLAGS)
# libfdt has no .pc file on Debian 12, so none is asked for.
HOST_LDLIBS := -lelf -lfdt -lbsd -lZydis -lZycore $(LDLIBS)
TEST_LDLIBS := -lcriterion

GUEST_MACHINE := -ffreestanding -fno-pic -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fcf-protection=none
GUEST_ALL_CFLAGS := $(STD) $(WARNINGS) $(GUEST_CFLAGS) $(GUEST_MACHINE)
GUEST_LDFLAGS := -nostdlib -static -Wl,--build-id=none -Wl,-z,noexecstack \
	-Wl,-z,max-page-size=4096
GUEST_LDS := guest/guest.ld
GUEST_LDLIBS := -lfdt

# ---------------------------------------------------------------- objects

host_objs = $(patsubst %,$(O)/obj/%.o,$(basename $(1)))
guest_objs = $(patsubst %,$(O)/obj/%.o,$(basename $(1)))

VMM_OBJS := $(call host_objs,$(VMM_SRCS))
MAIN_OBJ := $(call host_objs,$(MAIN_SRC))
UNIT_OBJS := $(call host_objs,$(UNIT_SRCS) $(UNIT_VMM_SRCS))
HOST_TEST_OBJS := $(call host_objs,$(HOST_TEST_SRCS))
BENCH_OBJS := $(call host_objs,$(BENCH_SRCS))
HOST_CHECK_OBJS := $(call host_objs,$(HOST_CHECK_SRCS))
ifneq ($(SAN),)
SANITIZER_OBJS := $(call host_objs,$(SANITIZER_SRCS))
endif
GUEST_LIB_OBJS := $(call guest_objs,$(GUEST_LIB_SRCS))
GUEST_TEST_OBJS := $(call guest_objs,$(GUEST_TESTS:%=guest/tests/%.c))
GUEST_IMAGE_OBJS := $(foreach g,$(GUEST_IMAGES),$(call guest_objs,$(GUEST_$(g)_SRCS)))

VKVM := $(O)/vkvm
UNIT := $(O)/tests/unit
HOST_TEST_BINS := $(HOST_TESTS:%=$(O)/tests/%)
GUEST_BINS := $(GUEST_IMAGES:%=$(O)/guest/%.elf)
GUEST_TEST_BINS := $(GUEST_TESTS:%=$(O)/guest/tests/%.elf)
BENCH := $(O)/bench
HOST_CHECK := $(O)/host_check
TEST_BINS := $(VKVM) $(HOST_CHECK) $(UNIT) $(HOST_TEST_BINS) $(GUEST_BINS) $(GUEST_TEST_BINS)

all: $(VKVM) $(GUEST_BINS)

ifneq ($(V),)
Q :=
say = @:
else
Q := @
say = @printf '  %-8s%s\n' $(1) $(2)
endif

# Changed flags rebuild: every object depends on this file, which changes only
# when what is written into it does.
FLAGS_LINE = $(CC) | $(HOST_CPPFLAGS) $(HOST_CFLAGS) | $(HOST_LDFLAGS) $(HOST_LDLIBS) | \
	$(GUEST_ALL_CFLAGS) $(GUEST_LDFLAGS)
$(O)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_LINE))' > $@.new
	@if cmp -s $@.new $@; then rm -f $@.new; else mv -f $@.new $@; fi

$(O)/obj/%.o: %.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_CPPFLAGS) $(HOST_CFLAGS) -c -o $@ $<

$(O)/obj/%.o: %.S $(O)/flags
	$(call say,AS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_CPPFLAGS) -g -c -o $@ $<

$(O)/obj/guest/%.o: guest/%.c $(O)/flags
	$(call say,GUESTCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -I. -MMD -MP $(GUEST_ALL_CFLAGS) -c -o $@ $<

$(O)/obj/guest/%.o: guest/%.S $(O)/flags
	$(call say,GUESTAS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -I. -MMD -MP -g -c -o $@ $<

# --------------------------------------------------------------- programs

define link
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_LDFLAGS) -o $@ $(filter %.o,$^)
endef

$(VKVM): $(MAIN_OBJ) $(VMM_OBJS) Makefile
	$(link) $(HOST_LDLIBS)

$(HOST_CHECK): $(HOST_CHECK_OBJS) Makefile
	$(link) $(HOST_LDLIBS)

$(UNIT): $(UNIT_OBJS) $(SANITIZER_OBJS) Makefile
	$(link) $(TEST_LDLIBS) $(HOST_LDLIBS)

# A host test is tests/kvm/NAME.c with the assembly files tests/kvm/NAME*.S.
host_test_objs = $(call host_objs,$(filter tests/kvm/$(1).c tests/kvm/$(1)%.S,$(HOST_TEST_SRCS)))
define host_test_rule
$(O)/tests/$(1): $(call host_test_objs,$(1))
endef
$(foreach t,$(HOST_TESTS),$(eval $(call host_test_rule,$(t))))
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
$(O)/guest/$(1).elf: $(call guest_objs,$(GUEST_$(1)_SRCS))
endef
$(foreach g,$(GUEST_IMAGES),$(eval $(call guest_image_rule,$(g))))
$(GUEST_BINS): $(GUEST_LIB_OBJS) $(GUEST_LDS) Makefile
	$(guest_link)

$(GUEST_TEST_BINS): $(O)/guest/tests/%.elf: $(O)/obj/guest/tests/%.o $(GUEST_LIB_OBJS) \
		$(GUEST_LDS) Makefile
	$(guest_link)

# ------------------------------------------------------------ run and test

deps:
	@tools/deps.sh $(PACKAGES) $(if $(findstring clang,$(CC)),clang)

# These targets install what is missing before anything is compiled.
INSTALLING := run test check-unit check-kvm check-cli test-npt run-npt npt bench
ifneq ($(filter $(INSTALLING),$(MAKECMDGOALS)),)
$(O)/flags: | deps
endif

# $(call lane,FILES,COMMAND): COMMAND, in the NPT lane, where $(O) is called build.
lane = tests/npt/prepare.sh -d $(NPT) -b $(O) $(1) && \
	tests/npt/lane.sh -d $(NPT) $(LANE_ARGS) -- $(2)

# $(call here_or_lane,FILES,COMMAND HERE,COMMAND IN THE LANE)
define here_or_lane
	@if why=$$($(HOST_CHECK)); then \
		$(2); \
	else \
		echo "vkvm: $${why:-this host cannot run guests}; using the NPT lane instead"; \
		$(call lane,$(1),$(3)); \
	fi
endef

RUN_FILES := $(VKVM) $(GUEST_BINS)
LANE_RUN := build/vkvm run --stats build/guest/vkernel.elf
LANE_TEST = env UNIT_ARGS='$(UNIT_ARGS)' tests/run.sh -t $(LANE_TEST_SECONDS)
HERE_TEST = UNIT_ARGS='$(UNIT_ARGS)' tests/run.sh -b $(O)

run: $(HOST_CHECK) $(RUN_FILES)
	$(call here_or_lane,$(RUN_FILES),$(VKVM) run --stats $(O)/guest/vkernel.elf,$(LANE_RUN))

test: $(TEST_BINS)
	$(call here_or_lane,$(TEST_BINS) $(TEST_FILES),$(HERE_TEST) unit cli kvm,\
		$(LANE_TEST) unit cli kvm)

check-unit: $(UNIT)
	@$(HERE_TEST) unit

check-cli: $(TEST_BINS)
	@$(HERE_TEST) cli

check-kvm: $(TEST_BINS)
	@$(HERE_TEST) kvm

npt: $(TEST_BINS)
	@tests/npt/prepare.sh -d $(NPT) -b $(O) $(TEST_BINS) $(TEST_FILES)

test-npt: $(TEST_BINS)
	@$(call lane,$(TEST_BINS) $(TEST_FILES),$(LANE_TEST) unit cli kvm)

run-npt: $(RUN_FILES)
	@$(call lane,$(RUN_FILES),$(LANE_RUN))

bench: $(BENCH)
	$(BENCH) $(BENCH_ARGS)

# ------------------------------------------------------- sources, install

lint:
	@tools/deps.sh $(PACKAGES) $(LINT_PACKAGES)
	@HOST_FLAGS='-I. $(STD) $(COMMON_WARNINGS)' \
		GUEST_FLAGS='-I. $(STD) $(COMMON_WARNINGS) $(GUEST_MACHINE)' tests/lint/run.sh $(LINT_STEPS)

format:
	@tools/deps.sh clang-format
	find vmm guest tests -name '*.[ch]' -exec $(CLANG_FORMAT) -i {} +

install: all
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/vkvm \
		$(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/man/man1
	$(INSTALL) -m 755 $(VKVM) $(DESTDIR)$(PREFIX)/bin/vkvm
	$(INSTALL) -m 644 $(GUEST_BINS) $(DESTDIR)$(PREFIX)/lib/vkvm
	$(INSTALL) -m 644 guest/include/vkvm_abi.h $(DESTDIR)$(PREFIX)/include/vkvm_abi.h
	$(INSTALL) -m 644 docs/vkvm.1 $(DESTDIR)$(PREFIX)/share/man/man1/vkvm.1

clean:
	rm -rf $(O)

help:
	@sed -n 's/^#h //p' Makefile

#h make            build vkvm and the guest images under build/
#h make run        install what is missing, build, run the tiny guest kernel
#h make test       install what is missing, build, run all tests
#h
#h make deps       install the packages needed to build and test (Debian)
#h make check-unit the unit tests: no KVM needed
#h make check-cli  the tests of the vkvm program
#h make check-kvm  the tests under KVM
#h make test-npt   all tests in the NPT lane: QEMU emulating a CPU with nested paging
#h make run-npt    the tiny guest kernel in the NPT lane
#h make bench      measure faults
#h make lint       check the sources
#h make format     bring the sources into form
#h make install    install vkvm, its guest images and its manual page
#h make clean      remove build/
#h
#h O=build         where everything is built
#h SAN=1           with the address and undefined behaviour sanitizers
#h SAN=thread      with the thread sanitizer
#h V=1             show the commands
#h PREFIX, DESTDIR where `make install` puts things (/usr/local)
#h CC, CFLAGS, CPPFLAGS, LDFLAGS, LDLIBS, GUEST_CFLAGS   yours
#h UNIT_ARGS       arguments of the unit tests, for example --filter='vpte/*'
#h LINT_STEPS      which checks of tests/lint/run.sh (all)
#h LANE_ARGS       options of tests/npt/lane.sh, for example '-m 4096'

.PHONY: all deps run test check-unit check-cli check-kvm npt test-npt run-npt bench lint format \
	install clean help FORCE

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)
