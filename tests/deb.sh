#!/bin/bash
# `make deb` packs the files of tests/golden/install.list, and lintian finds no error and no warning. The package
# dm-psa-multipath has the names of multipath-tools, dm-psa-boot what an initramfs needs. Needs a build
# (PROFILE=dev). tests/lab/scenario/36-package.sh installs the package.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/lab/host/packages lintian=lintian

failed=0
fail() { echo "not ok - $*"; failed=1; }
work=$(mktemp -d)
log=$work/log
trap 'rm -rf "$work"' EXIT

make --no-print-directory -s PROFILE=dev DEB_DIR="$work" deb >"$log"
agent=$(ls "$work"/dm-psa_*.deb) programs=$(ls "$work"/dm-psa-multipath_*.deb) boot=$(ls "$work"/dm-psa-boot_*.deb)
# What `make install` installs, as it is in a package: manual pages are compressed, dpkg has the list of files, and
# postinst creates the links in /etc.
of_list() { sed -E -e '/ etc\/udev\//d' -e '/ usr\/lib\/dm-psa\/installed$/d' -e 's/(usr\/share\/man\/.*)/\1.gz/' tests/golden/install.list; }
docs() { printf -- '-rw-r--r-- %s\n' "usr/share/doc/$1/changelog.gz" "usr/share/doc/$1/copyright"; }
# Directories are listed with a slash at the end; of these, only the empty one is in the list.
packed() { dpkg-deb -c "$1" | awk '{ print $1, substr($6, 3), ($1 ~ /^l/ ? $8 : "") }' | sed -E -e 's/ *$//' -e 's/^(.* etc\/dm-psa\/state)\/$/\1/' -e '/\/$/d' -e '/^[^ ]+$/d' | LC_ALL=C sort -k 2; }
compare() { # PACKAGE: with the list on standard input
    if diff -u <(LC_ALL=C sort -k 2) <(packed "$1"); then echo "ok - ${1##*/} has every file of its list"; else fail "${1##*/} has every file of its list"; fi
}
{
    of_list
    docs dm-psa
    echo '-rw-r--r-- usr/share/lintian/overrides/dm-psa'
} | compare "$agent"
{
    docs dm-psa-multipath
    echo '-rw-r--r-- usr/share/lintian/overrides/dm-psa-multipath'
    sed -E 's/(usr\/share\/man\/.*)/\1.gz/' tests/golden/install-multipath.list
} | compare "$programs"

{
    docs dm-psa-boot
    cat tests/golden/install-boot.list
} | compare "$boot"

for package in "$agent" "$programs" "$boot"; do
    name=${package##*/}
    if dpkg-deb -I "$package" conffiles >"$log" 2>/dev/null; then
        cat "$log"
        fail "$name has no conffile"
    else
        echo "ok - $name has no conffile"
    fi
    if lintian --allow-root --fail-on error,warning "$package" >"$log" 2>&1; then echo "ok - lintian has no complaint about $name"; else fail "lintian has no complaint about $name"; fi
    cat "$log"
done

if make --no-print-directory -s PROFILE=dev DEB_DIR="$work" DEB_VERSION=0.1_0 deb >"$log" 2>&1; then
    fail "a version that is none of Debian's is refused"
else
    echo "ok - a version that is none of Debian's is refused"
fi
exit $failed
