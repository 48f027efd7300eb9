# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
#
# How `make bench-npt-check` judges figures that it was given: tests/bench/counted.awk.
#
# Part of tests/cli/run.sh, which defines what is used here and calls test_counted.

# shellcheck disable=SC2154,SC2034 # run.sh's
counting=$(dirname "$0")/../bench/counted.awk

# counted NAME STATUS REGEX MEASURED: two rows, of which 10.00 thousand are kept, and one that is not compared.
counted() {
    printf '%s\n' '# comment' '23 | yes | one; row, of (two)' '- | yes | other' '9 | no | third' >"$work/cfg"
    printf '%s\n' 'version x: 1' '10.00 | one; row, of (two)' '10.00 | other' >"$work/figures.kept"
    {
        echo 'first touch, microseconds per 4 KiB page   min    median       max'
        printf '  %-56s %9s %9s %9s\r\n' 'one; row, of (two)' 1.00 "$4" 99.00 third 1.00 77.00 99.00
        [ "${5-10.00}" = none ] || printf '  %-56s %9s %9s %9s\n' other 1.00 "${5-10.00}" 99.00
        echo '  = one / other                           2.00 goal <= 1.00'
    } >"$work/output"
    status=0
    awk -v task="${task:-compare}" -f "$counting" "$work/cfg" "$work/figures.kept" "$work/output" \
        >"$work/out" 2>"$work/err" || status=$?
    judge "$1" "$2" out "$3"
}

test_counted() {
    counted 'a count as it was kept passes' 0 '^2 passed, 0 failed' 10.00
    counted 'a count 3 per cent higher passes' 0 '^2 passed, 0 failed' 10.30
    counted 'a count more than 3 per cent higher fails' 1 '^FAIL one; row, of [(]two[)]: 10.31, kept are 10$' 10.31
    counted 'a count that is much lower asks to be kept' 0 '^PASS one.*: 9.60, .*keep the new figure$' 9.60
    counted 'a row that is not measured any more fails' 1 '^FAIL other: not measured$' 10.00 none
    task=keep
    counted 'only compared rows are kept' 0 '^12.00 [|] one; row, of [(]two[)]$' 12.00
    if grep -q third "$work/out"; then
        fail 'a row that is not compared is not kept' 'it is'
    else
        pass 'a row that is not compared is not kept'
    fi
    task=table
    counted 'the table has every row with its goal' 0 '^[|] third [|] 77.00 [|] 9 [|]$' 12.00
    task=
}
