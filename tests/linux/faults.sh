#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Exact faults and the others: whose messages there are, and what an idle guest costs.

# shellcheck source=tests/linux/guest.sh
. "$(dirname "$0")/guest.sh"

idle_seconds=20

# Processor time of vkvm and its threads so far, in 1/100 s.
used() {
    awk '{ print $14 + $15 }' "/proc/$guest/stat"
}

# one NAME ARGS...: a line of the table.
one() {
    name=$1
    shift
    start cloud-6.1 --stats --memory 256M "$@"
    await 1 ready
    sleep 3
    before=$(used)
    sleep "$idle_seconds"
    idle=$((($(used) - before) / idle_seconds))
    say 'poweroff -f'
    finish
    messages=$(report messages)
    foreign=$(report "messages of the kernel's own threads")
    foreign=${foreign:-0} # then the report has no such line
    echo "| $name | $messages | $foreign | $idle % |"
}

# holds NAME LEFT RIGHT: the run ended well, and LEFT is less than RIGHT.
holds() {
    if [ "$status" -eq 0 ] && [ "$2" -lt "$3" ]; then
        pass "$1"
    else
        fail "$1" "$2, not less than $3; exit status $status"
        tail -n 5 "$console"
        head -n 3 "$work/report"
    fi
}

echo '| mode | messages | of the kernel, not of a vCPU | idle guest, of a core |'
echo '|---|---|---|---|'
for cpus in 1 2; do
    one "sparing, $cpus vCPUs" --cpus "$cpus"
    holds "an idle guest with $cpus vCPUs takes less than 5 % of a core" "${idle:-100}" 5
    one "exact, $cpus vCPUs" --cpus "$cpus" --exact-faults
    holds "with --exact-faults and $cpus vCPUs every message is a vCPU's" "$foreign" 1
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
