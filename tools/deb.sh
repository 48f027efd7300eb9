#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Make Debian packages of the tree as it is, and let lintian look at them.
#
#   tools/deb.sh DIRECTORY VERSION
#
# They are built in a copy, DIRECTORY/vkvm-VERSION, and end in DIRECTORY.  The changelog is written here, so that the
# version stands in one place of the tree.

set -eu

directory=$1
version=$2
tree=$directory/vkvm-$version

rm -rf "$directory"
mkdir -p "$tree"
git ls-files -z | xargs -0 cp --parents -p -t "$tree"
rm -rf "$tree/.ci"
date=$(git log -1 --format=%cD)
cat >"$tree/debian/changelog" <<END
vkvm ($version) unstable; urgency=medium

  * What the tree's history says.

 -- The vkvm Authors <vkvm@localhost.localdomain>  $date
END
(cd "$tree" && dpkg-buildpackage -b -us -uc)
rm -rf "$tree"
lintian --fail-on error,warning --suppress-tags-from-file debian/lintian-tags "$directory"/*.changes
