#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# What `make install` puts somewhere else is all that a user needs: the program runs, its pages and completion
# are there, and a guest is built in an empty directory by pkg-config alone.
#
#   tests/install/run.sh [-b BUILD_DIRECTORY]

set -u

build=build
while getopts b: option; do
    case $option in
    b) build=$OPTARG ;;
    *)
        echo 'usage: run.sh [-b BUILD_DIRECTORY]' >&2
        exit 2
        ;;
    esac
done

work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-install.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
skipped=0

# shellcheck source=tests/install/check.sh
. "$(dirname "$0")/check.sh"

root=$work/root
usr=$root/usr
vkvm=$usr/bin/vkvm

pages() {
    for verb in $("$vkvm" --help | sed -n '/^verbs:/,$s/^  \([a-z]*\) .*/\1/p'); do
        if ! grep -q "^\.Cm $verb" "$usr/share/man/man1/vkvm-$verb.1"; then
            echo "no page of $verb"
            return 1
        fi
        for option in $("$vkvm" "$verb" --help | sed -n 's/^  \(-[a-z], \)\{0,1\}--\([a-z-]*\).*/\2/p'); do
            grep -qE "^\.It.* Fl -$option( |$)" "$usr/share/man/man1/vkvm-$verb.1" || {
                echo "the page of $verb has no --$option"
                return 1
            }
        done
        if command -v mandoc >/dev/null; then
            mandoc -T lint -W error "$usr/share/man/man1/vkvm-$verb.1" || return 1
        fi
    done
}

# What the words of a command line may be continued with.
completed() {
    bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vkvm; echo "${COMPREPLY[*]}"' \
        bash "$usr/share/bash-completion/completions/vkvm" vkvm "$@"
}

completes_in_bash() {
    for option in $("$vkvm" help run | sed -n 's/^  \(--[a-z-]*\).*/\1/p'); do
        completed run "$option" | tr ' ' '\n' | grep -qxe "$option" || {
            echo "$option is not completed"
            return 1
        }
    done
    [ "$(completed test --shu)" = --shuffle ] && [ "$(completed test --job)" = --jobs ] &&
        [ "$(completed wa)" = walk ] && [ "$(completed trace dump --fo)" = --format ] &&
        [ -z "$(completed run image)" ]
}

completes_in_zsh() {
    zsh -fc 'fpath=($1 $fpath); autoload -Uz compinit; compinit -u -d "$2"; autoload +X -Uz _vkvm &&
        [[ $_comps[vkvm] == _vkvm ]]' zsh "$usr/share/zsh/vendor-completions" "$work/zcompdump" &&
        zsh -n "$usr/share/zsh/vendor-completions/_vkvm"
}

# In an empty directory, with nothing of the build.
suite_is_found() (
    cd "$work/empty" || exit 1
    "$vkvm" test --list engine >"$work/list" && grep -qx 'engine/zero_fill-pf-ring3' "$work/list" &&
        "$vkvm" test --list | grep -qx 'engine/zero_fill-pf-ring3'
)

suite_runs() (
    cd "$work/empty" || exit 1
    "$vkvm" test --report "junit=$work/report.xml" --filter 'zero_fill*' --filter vkernel --filter 'page_size-ring3' engine golden &&
        grep -q 'name="engine/zero_fill-pf-ring3"' "$work/report.xml"
)

# An image that is named and not there would be an error of its test's only.
suite_is_whole() {
    sed -n 's/^file = \([^{]*\)$/\1/p' "$usr/lib/vkvm/tests/engine.cfg" | while read -r image; do
        [ -s "$usr/lib/vkvm/tests/$image" ] || {
            echo "$image is not installed"
            return 1
        }
    done
}

write_guest() {
    cat >"$work/empty/guest.c" <<'END'
#include "guest/lib/access.h"
#include "guest/lib/cpu.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

int
guest_main(void)
{
    struct access_fault fault;
    struct window window;

    access_init();
    test_begin("a write to a window without a page is a fault");
    window_init(&window, &vpte64, 4);
    access_store(window_address(&window, 2), 7, &fault);
    EXPECT(access_faulted_with(&fault, VKVM_PF_WRITE), "count %u", fault.count);
    window_map_new(&window, 2, VPTE_RW);
    access_store(window_address(&window, 2), 7, &fault);
    EXPECT(fault.count == 0, "count %u", fault.count);
    test_end();
    return test_summary();
}
END
}

# shellcheck disable=SC2046 # lists of words
build_guest() (
    cd "$work/empty" || exit 1
    PKG_CONFIG_PATH=$usr/share/pkgconfig
    export PKG_CONFIG_PATH
    ${CC:-cc} -O2 -Wall -Werror -o guest.elf $(pkg-config --define-prefix --cflags vkvm-guest) guest.c \
        $(pkg-config --define-prefix --libs vkvm-guest)
)

run_guest() {
    "$vkvm" run "$work/empty/guest.elf" </dev/null >"$work/ran" 2>&1
    status=$?
    cat "$work/ran"
    [ "$status" -eq 0 ] && grep -q '^PASS a write to a window' "$work/ran"
}

mkdir "$work/empty"
check 'what is built can be installed' make O="$build" DESTDIR="$root" PREFIX=/usr install
check 'the program runs where it was installed' "$vkvm" --version
check 'it finds vkvm-trace' "$vkvm" trace --help
check 'each verb has a manual page with all its options' pages
check 'it finds the suites that are installed, by name or without' suite_is_found
check 'each image of a suite is installed' suite_is_whole
check 'bash completes verbs and all options' completes_in_bash
if command -v zsh >/dev/null; then
    check 'zsh takes the completion' completes_in_zsh
else
    echo 'SKIP zsh takes the completion: no zsh here'
    skipped=$((skipped + 1))
fi
write_guest
check 'a guest is built in an empty directory by pkg-config' build_guest
if "$build/host_check" >/dev/null 2>&1; then
    check 'it runs' run_guest
    check 'tests of an installed suite run' suite_runs
else
    echo 'SKIP it runs: this host cannot run guests'
    skipped=$((skipped + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
