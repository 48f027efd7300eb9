# SPDX-License-Identifier: BSD-2-Clause
#
# kvm-unit-tests' x86/unittests.cfg as lines of
#
#   name|file|cpus|time-out|groups|check|arguments|QEMU's options
#
# without what is for 32-bit guests only.

function flush() {
    if (name != "" && key["arch"] != "i386")
        printf "%s|%s|%s|%s|%s|%s|%s|%s\n", name, key["file"], key["smp"] == "" ? 1 : key["smp"],
            key["timeout"], key["groups"], key["check"], key["test_args"], key["qemu_params"]
    delete key
}

/^[ \t]*#/ || /^[ \t]*$/ { next }

/^\[.*\]/ {
    flush()
    name = substr($0, 2, index($0, "]") - 2)
    next
}

{
    at = index($0, "=")
    word = substr($0, 1, at - 1)
    value = substr($0, at + 1)
    gsub(/[ \t]/, "", word)
    sub(/^[ \t]+/, "", value)
    sub(/[ \t]+$/, "", value)
    if (value ~ /^'.*'$/ || value ~ /^".*"$/)
        value = substr(value, 2, length(value) - 2)
    key[word] = value
}

END { flush() }
