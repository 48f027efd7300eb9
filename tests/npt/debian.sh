# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034,SC2154 # $work and $release are shared with who reads it
#
# Debian's kernel packages from the mirror that this machine uses, also of its backports, which apt is told of
# for this once: the machine's own sources and lists stay as they are.  For scripts that read this file; $work
# is a directory of theirs.

release=bookworm

debian_die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Where the machine's own sources have the release, and its backports: "deb" lines.
debian_sources() {
    apt-get indextargets --format "\$(RELEASE)|\$(COMPONENT)|\$(REPO_URI)" 'Created-By: Packages' |
        sort -u | while IFS='|' read -r name component uri; do
        [ "$name/$component" = "$release/main" ] || continue
        for suite in "$release" "$release-backports"; do
            echo "deb $uri $suite main"
        done
    done
}

# debian_apt COMMAND ARGUMENT...: apt-get or apt-cache with those sources.
# The empty user: apt need not change to one that cannot write here.
debian_apt() {
    debian_command=$1
    shift
    "$debian_command" -q -o APT::Sandbox::User= -o "Dir::State::Lists=$work/lists" \
        -o "Dir::Cache=$work/cache" -o "Dir::Etc::SourceList=$work/sources.list" \
        -o Dir::Etc::SourceParts=- -o Acquire::Retries=3 -o Acquire::http::Timeout=30 "$@"
}

# Read the lists of both.
debian_begin() {
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    debian_sources >"$work/sources.list"
    [ -s "$work/sources.list" ] || debian_die "this machine's apt has no source of Debian $release"
    debian_apt apt-get update >&2 || debian_die 'apt cannot read the package lists: is there a network?'
}

# debian_kernel META RELEASE: download the kernel that the meta package of the release stands for, to
# $work/kernel.deb.
debian_kernel() {
    version=$(debian_apt apt-cache madison "$1" | awk -F '|' -v of="$2/main" \
        '{ gsub(/ /, "", $2) } index($3, of) { print $2; exit }')
    [ -n "$version" ] || debian_die "the mirror's $2 has no $1"
    package=$(debian_apt apt-cache show "$1=$version" |
        sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -n 1)
    [ -n "$package" ] || debian_die "$1 $version depends on no kernel"
    (cd "$work" && debian_apt apt-get download "$package/$2") >&2 || debian_die "cannot download $package"
    mv "$work/$package"_*.deb "$work/kernel.deb"
}
