# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034,SC2154 # part of run.sh
#
# Sourced by run.sh: a limit of the host that is too low for vkvm is named in its one line, and
# the remedy behind it.

# limited NAME ULIMIT REGEX: a run below the limit that `ulimit ULIMIT` sets.
limited() {
    if ! (eval "ulimit $2" && "$vkvm" --version) >"$work/out" 2>"$work/err"; then
        skip "$1" "no program starts with ulimit $2 here" # a sanitizer's needs more
        return
    fi
    (
        eval "ulimit $2"
        exec timeout -k 5 60 "$vkvm" run "$work/exit"
    ) </dev/null >"$work/out" 2>"$work/err"
    status=$?
    if [ "$(wc -l <"$work/err")" -ne 1 ]; then
        fail "$1" "not exactly one line on standard error"
    else
        judge "$1" 125 err "^vkvm: .*$3"
    fi
}

# What the shell that starts the program opens is in its number of descriptors too.
test_descriptors() {
    for n in 5 6 7 8 9 10; do
        limited "$n descriptors" "-n $n" "Too many open files: RLIMIT_NOFILE is $n: raise it"
    done
}

# in_group GROUP N: a run in the control group, where there may be N threads.
in_group() {
    echo "$2" >"$1/pids.max"
    # shellcheck disable=SC2016 # the inner shell expands
    timeout -k 5 60 sh -c 'echo $$ >"$1/cgroup.procs" && exec "$2" run "$3"' sh \
        "$1" "$vkvm" "$work/exit" </dev/null >"$work/out" 2>"$work/err"
    status=$?
}

# With 3 threads there is none for KVM, which may make one at the first run of a vCPU.  It says
# EAGAIN then, each time; where it makes none the guest runs.
test_pids_of() {
    full=".*pids.max of the control group .*vkvm-test-$$ is"
    in_group "$1" 1
    judge 'a control group that is full of threads' 125 err "^vkvm: $full 1"
    in_group "$1" 2
    judge 'a control group without room for a vCPU' 125 err "^vkvm: cannot start a vCPU$full 2"
    in_group "$1" 3
    name='a control group without room for a thread of KVM ends the VM, which does not hang'
    if [ "$status" -eq 0 ]; then
        pass "$name"
    elif [ "$(wc -l <"$work/err")" -ne 1 ]; then
        fail "$name" "not exactly one line on standard error"
    else
        judge "$name" 125 err '^vkvm: .*again and again: .*raise .*pids.max of the control group'
    fi
}

# A control group with the controller of threads, if one can be made here.
test_pids() {
    for root in /sys/fs/cgroup/pids /sys/fs/cgroup; do
        group=$root/vkvm-test-$$
        mkdir "$group" 2>/dev/null || continue
        if (echo 1 >"$group/pids.max") 2>/dev/null; then
            test_pids_of "$group"
            rmdir "$group"
            return
        fi
        rmdir "$group"
    done
    skip 'control groups with few threads' 'no control group can be made here'
}

test_limits() {
    good
    filesize=16
    elf exit "$(exit_code 0)"
    limited 'too little address space' '-v 1000000' \
        'Cannot allocate memory: RLIMIT_AS is 1000000K: raise it \(ulimit -v unlimited\)'
    limited 'too little data' '-d 100000' 'RLIMIT_DATA is 100000K: raise it \(ulimit -d unlimited\)'
    limited 'too small files' '-f 1000' 'File too large: RLIMIT_FSIZE is [0-9]+K: raise it'
    test_descriptors
    test_pids
}
