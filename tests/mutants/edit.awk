# SPDX-License-Identifier: BSD-2-Clause
#
# Make one edit of a file; exit status 3 if it is not there once.
#
#   awk -v file=FILE -v block=FILE -f edit.awk    prints the edited file

function rest(text, n) {
    return substr(text, n + 1)
}

BEGIN {
    while ((getline text < block) > 0) {
        if (text ~ /^nth /)
            nth = rest(text, 4) + 0
        else if (text ~ /^after /)
            after = rest(text, 6)
        else if (text ~ /^- /)
            old = rest(text, 2)
        else if (text ~ /^\+ /)
            new = rest(text, 2)
    }
    open = after == ""
    if (nth == 0)
        nth = 1
    while ((getline text < file) > 0) {
        i = index(text, old)
        if (i != 0 && open && (after == "" || ++seen == nth)) {
            text = substr(text, 1, i - 1) new substr(text, i + length(old))
            edits++
        }
        if (!open && index(text, after) != 0)
            open = 1
        print text
    }
    exit edits == 1 ? 0 : 3
}
