# SPDX-License-Identifier: BSD-2-Clause
#
# Draw deliberate faults from sources, by a seed: the same seed and sources give the same ones.
#
#   awk -v seed=N -v count=N -f draw.awk FILE...
#
# Writes blocks as mutants.cfg has them, which say where the line is by its function: they hold while that code stands.  A candidate is a line of code of which one thing can be
# changed: an operator, a constant, or a call whose result nobody takes, which is dropped.  Lines of
# assertions and locks are left out: the ones are tests themselves, and the others hang more than they fail.

# Which line of its function with its text is this?
function nth(i, count) {
    for (i = 1; i <= ncode; i++)
        count += index(code[i], $0) != 0
    return count
}

# One candidate: in this line `old` becomes `new`.
function candidate(what, old, new) {
    n++
    file[n] = FILENAME
    heads[n] = head
    nths[n] = nth()
    whats[n] = what
    from[n] = $0
    to[n] = substr($0, 1, index($0, old) - 1) new substr($0, index($0, old) + length(old))
}

function operator(old, new) {
    if (index($0, old) != 0)
        candidate("operator", old, new)
}

# A linear congruential generator, since awks differ in theirs.
function random(limit) {
    seed = (seed * 1103515245 + 12345) % 2147483648
    return int(seed / 65536) % limit
}

FNR == 1 { inside = 0 }
/^[a-z_0-9]+\(/ { head = $0; ncode = 0 }
{ code[++ncode] = $0 }
/^{/ { inside = 1 }
/^}/ { inside = 0 }
!inside || /^{/ || /assert|mutex|rwlock|^ *\/?\*|^ *#|\/\*|"/ { next }
{
    operator(" == ", " != ")
    operator(" != ", " == ")
    operator(" < ", " <= ")
    operator(" > ", " >= ")
    operator(" && ", " || ")
    operator(" || ", " && ")
    operator(" + ", " - ")
    operator(" - ", " + ")
    if (match($0, /[^A-Za-z_0-9.]0[;,)]/))
        candidate("constant", substr($0, RSTART, 3), substr($0, RSTART, 1) "1" substr($0, RSTART + 2, 1))
    if (match($0, /[^A-Za-z_0-9.]1[;,)]/))
        candidate("constant", substr($0, RSTART, 3), substr($0, RSTART, 1) "2" substr($0, RSTART + 2, 1))
    operator("true", "false")
    operator("false", "true")
}
/^ +[a-z_0-9]+\(.*\);$/ {
    match($0, /^ +/)
    candidate("dropped call", substr($0, RLENGTH + 1), "(void)0;")
}

END {
    for (drawn = 0; drawn < count && n > 0; drawn++) {
        i = random(n) + 1
        printf "= drawn-%d\nfile %s\nafter %s\nnth %d\nwhat %s\n- %s\n+ %s\n\n", drawn + 1, file[i], heads[i],
            nths[i], whats[i], from[i], to[i]
        file[i] = file[n]; heads[i] = heads[n]; nths[i] = nths[n]; whats[i] = whats[n]; from[i] = from[n]; to[i] = to[n]
        n--
    }
}
