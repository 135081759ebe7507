#!/bin/bash
# `make deb` packs the files of tests/golden/install.list, and lintian finds no error and no warning. Needs a build
# (PROFILE=dev). tests/lab/scenario/36-package.sh installs the package.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/lab/host/packages lintian=lintian

failed=0
fail() { echo "not ok - $*"; failed=1; }
work=$(mktemp -d)
log=$work/log
trap 'rm -rf "$work"' EXIT

package=$(make --no-print-directory -s PROFILE=dev DEB_DIR="$work" deb | tail -1)
# In a package, manual pages are compressed; dpkg has the list of files, and postinst creates the links in /etc.
wanted=$(
    {
        sed -E -e '/ etc\/udev\//d' -e '/ usr\/lib\/dm-psa\/installed$/d' -e 's/(usr\/share\/man\/.*)/\1.gz/' tests/golden/install.list
        printf -- '-rw-r--r-- %s\n' usr/share/doc/dm-psa/changelog.gz usr/share/doc/dm-psa/copyright usr/share/lintian/overrides/dm-psa
    } | LC_ALL=C sort -k 2
)
# Directories are listed with a slash at the end; of these, only the empty one is in the list.
packed=$(dpkg-deb -c "$package" | awk '{ print $1, substr($6, 3) }' | sed -E -e 's/^(.* etc\/dm-psa\/state)\/$/\1/' -e '/\/$/d' -e '/ $/d' | LC_ALL=C sort -k 2)
if diff -u <(echo "$wanted") <(echo "$packed"); then echo "ok - the package has every file of the list"; else fail "the package has every file of the list"; fi

if dpkg-deb -I "$package" conffiles >"$log" 2>/dev/null; then
    cat "$log"
    fail "no file is a conffile"
else
    echo "ok - no file is a conffile"
fi

if lintian --allow-root --fail-on error,warning "$package" >"$log" 2>&1; then echo "ok - lintian has no complaint"; else fail "lintian has no complaint"; fi
cat "$log"

if make --no-print-directory -s PROFILE=dev DEB_DIR="$work" DEB_VERSION=0.1_0 deb >"$log" 2>&1; then
    fail "a version that is none of Debian's is refused"
else
    echo "ok - a version that is none of Debian's is refused"
fi
exit $failed
