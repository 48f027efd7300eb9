# SPDX-License-Identifier: BSD-2-Clause
#
# Make a verb's manual page of the program's.
#
#   awk -v verb=run -v summary=... -f verb_page.awk docs/vkvm.1
#
# It has the verb's synopsis, its section (of its name in capitals, DESCRIPTION for run), and what is common.

BEGIN {
    section = verb == "run" ? "DESCRIPTION" : toupper(verb)
    common["FILES"] = common["EXIT STATUS"] = common["EXAMPLES"] = 1
}

/^\.Dd/ { date = $0 }

# A synopsis begins with .Nm and goes to the next.
part == "SYNOPSIS" && /^\.Nm/ { held = 1; next }
part == "SYNOPSIS" && held { held = 0; mine = $0 == ".Cm " verb; if (mine) synopsis = synopsis ".Nm vkvm\n" }
part == "SYNOPSIS" && /^\.Sh/ { mine = 0 }
part == "SYNOPSIS" && mine { synopsis = synopsis $0 "\n"; next }

/^\.Sh/ {
    part = substr($0, 5)
    if (part == section && part != "DESCRIPTION")
        next
}
part == section && !/^\.Sh/ { body = body $0 "\n" }
part in common && (verb == "run" || part == "EXIT STATUS" || part == "FILES") {
    if (verb == "run" || part != "FILES")
        tail = tail $0 "\n"
}

END {
    gsub(/\.Nm\n/, ".Nm vkvm\n", body)
    gsub(/\.Nm\n/, ".Nm vkvm\n", tail)
    gsub(/\.Nm ,/, ".Nm vkvm ,", body)
    printf "%s\n.Dt VKVM-%s 1\n.Os\n.Sh NAME\n.Nm vkvm-%s\n.Nd %s\n.Sh SYNOPSIS\n%s", date,
        toupper(verb), verb, summary, synopsis
    printf ".Sh DESCRIPTION\n%s%s.Sh SEE ALSO\n.Xr vkvm 1\n", body, tail
}
