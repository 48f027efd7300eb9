#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Free page reporting: a guest that builds and frees files of 400 MiB one after the other, in half as much memory,
# with it and without.  Other sizes by the variables rounds, pieces, budget (MiB)
# and limit (seconds of each run).
#
#   reporting.sh [=MODE]
#
#   MODE  on or off: one row of the table only

# shellcheck source=tests/linux/guest.sh
. "$(dirname "$0")/guest.sh"

rounds=${rounds:-2}
pieces=${pieces:-25} # of a file
piece=16             # MiB
budget=${budget:-$((pieces * piece / 2))}
kernel=cloud-6.1

# one MODE: a line of the table.
one() {
    truncate -s 0 "$work/swap"
    seconds=${limit:-600} patience=1200 initrd=$work/initrd start "$kernel" --stats --memory 768M --ram "${budget}M" \
        --swap "$work/swap" --free-page-reporting "$1"
    await 1 ready
    # No page of it is zeros: those never go to swap.
    say 'head -c 1048576 /dev/urandom >/tmp/1M'
    say "cat \$(yes /tmp/1M | head -n $piece) >/tmp/piece"
    await 3 ready
    round=0
    while [ "$round" -lt "$rounds" ]; do
        round=$((round + 1))
        # Linux reports what has been free for two seconds.
        say "cat \$(yes /tmp/piece | head -n $pieces) >/tmp/big; rm /tmp/big; sleep 6"
        await $((round + 3)) ready
    done
    rounds_done=$(($(grep -c ready "$console") - 3))
    say 'poweroff -f'
    finish
    written=$(report 'pages written by pagers')
    read=$(report 'pages read by pagers')
    reported=$(report 'pages that the guest reported as free')
    given=$(report '... of these, were in memory: given back to the host')
    echo "| $1 | $rounds_done | ${written:-?} | ${read:-?} | ${reported:-?} | ${given:-?} | $(report 'run') |"
    if [ "$status" -ne 0 ]; then
        fail "the guest with $1" "exit status $status"
        tail -n 5 "$console"
        head -n 3 "$work/report"
    fi
}

cat linux/initramfs "linux/$kernel.modules" >"$work/initrd"
echo '| free page reporting | files | pages written to swap | read from it | reported | of these in memory | run |'
echo '|---|---|---|---|---|---|---|'
if [ -n "${1:-}" ]; then
    one "${1#=}"
    exit "$status"
fi
one off
without=$((${read:-0}))
one on
with=$((${read:-0}))
if [ "$status" -eq 0 ] && [ $((with * 2)) -lt "$without" ] && [ "${given:-0}" -gt 0 ]; then
    pass 'what a guest has freed and reported is not read from swap again'
else
    fail 'what a guest has freed and reported is not read from swap again' "$with pages with, $without without"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
