# SPDX-License-Identifier: BSD-2-Clause
#
# What build/bench printed in a machine whose clock counts instructions, as a table.
#
#   awk -f counted.awk -v task=TASK counted.cfg [counted.kept] OUTPUT
#
#   table    every row: measured, goal
#   keep     what counted.kept is to hold of the rows that are compared
#   compare  those rows beside the kept ones.  One that is more than 3 per cent above is a failure;
#            one that is as much below asks for new figures; one that is not there is a failure too

function trim(text) {
    sub(/^[ \t]+/, "", text)
    sub(/[ \t\r]+$/, "", text)
    return text
}

FNR == 1 { file++ }

/^#/ { next }

file == 1 && NF {
    split($0, field, "|")
    row[++nrows] = trim(field[3])
    goal[row[nrows]] = trim(field[1])
    compared[row[nrows]] = trim(field[2]) == "yes"
    next
}

FILENAME ~ /\.kept$/ && /\|/ {
    split($0, field, "|")
    kept[trim(field[2])] = field[1] + 0
    next
}

# A row of build/bench: its name, then minimum, median, maximum.
/^  [^ =]/ && NF > 3 && $(NF - 1) ~ /^[0-9.]+$/ {
    median = $(NF - 1)
    sub(/( +[0-9.]+)( +[0-9.]+)( +[0-9.]+)[ \r]*$/, "")
    measured[trim($0)] = median
}

function judge(name, ratio) {
    if (!(name in measured) || !(name in kept)) {
        printf "FAIL %s: %s\n", name, name in kept ? "not measured" : "no figure is kept"
        return 0
    }
    ratio = measured[name] / kept[name]
    if (ratio > 1.03) {
        printf "FAIL %s: %s, kept are %s\n", name, measured[name], kept[name]
        return 0
    }
    printf "PASS %s: %s, kept are %s%s\n", name, measured[name], kept[name],
        ratio < 0.97 ? ": less, keep the new figure" : ""
    return 1
}

END {
    if (task == "table") {
        print "| row | measured | goal |"
        print "|---|---|---|"
    }
    for (i = 1; i <= nrows; i++) {
        name = row[i]
        if (task == "table" && name in measured)
            printf "| %s | %s | %s |\n", name, measured[name], goal[name] == "-" ? "" : goal[name]
        if (task == "keep" && compared[name] && name in measured)
            printf "%s | %s\n", measured[name], name
        if (task == "compare" && compared[name]) {
            if (judge(name))
                passed++
            else
                failed++
        }
    }
    if (task == "compare") {
        printf "%d passed, %d failed\n", passed, failed
        exit failed != 0 || passed == 0
    }
}
