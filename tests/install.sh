#!/bin/bash
# `make install` installs the files of tests/golden/install.list, and `make uninstall` removes only these. Both run
# below a DESTDIR, so they do not change this machine. Needs a build (PROFILE=dev).
set -euo pipefail
cd "$(dirname "$0")/.."

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
failed=0
fail() { echo "not ok - $*"; failed=1; }
make_() { make --no-print-directory -s PROFILE=dev MAP_RULE_NUMBER=56 ZSH_COMPLETIONS=vendor-completions DESTDIR="$stage" "$@"; }
# Modes and paths of files and links.
list() { (cd "$stage" && find . \( -type f -o -type l -o -type d -empty \) -printf '%M %P %l\n' | sed 's/ *$//' | LC_ALL=C sort -k2); }

make_ install
if diff -u tests/golden/install.list <(list); then echo "ok - make install installs every file of the list"; else fail "make install installs every file of the list"; fi
make_ install
diff -u tests/golden/install.list <(list) || fail "a second make install changes nothing"

# The admin's own override, state, and a file of ours that a newer version no longer has.
rm "$stage/etc/udev/rules.d/60-multipath.rules"
echo '# mine' >"$stage/etc/udev/rules.d/60-multipath.rules"
echo '{}' >"$stage/etc/dm-psa/state/memory.json"
echo /usr/lib/udev/rules.d/10-old.rules >>"$stage/usr/lib/dm-psa/installed"
touch "$stage/usr/lib/udev/rules.d/10-old.rules" "$stage/usr/lib/udev/rules.d/10-foreign.rules"
make_ install 2>/dev/null
[ ! -e "$stage/usr/lib/udev/rules.d/10-old.rules" ] || fail "make install removes the files of an earlier version"
make_ uninstall >/dev/null
if diff -u - <(list) <<'L'; then echo "ok - make uninstall removes only what was installed"; else fail "make uninstall removes only what was installed"; fi
-rw-r--r-- etc/dm-psa/state/memory.json
-rw-r--r-- etc/udev/rules.d/60-multipath.rules
drwxr-xr-x usr/lib/modprobe.d
drwxr-xr-x usr/lib/modules-load.d
drwxr-xr-x usr/lib/systemd/system
drwxr-xr-x usr/lib/systemd/system-generators
drwxr-xr-x usr/lib/systemd/system-shutdown
drwxr-xr-x usr/lib/tmpfiles.d
-rw-r--r-- usr/lib/udev/rules.d/10-foreign.rules
drwxr-xr-x usr/sbin
drwxr-xr-x usr/share/bash-completion/completions
drwxr-xr-x usr/share/doc
drwxr-xr-x usr/share/fish/vendor_completions.d
drwxr-xr-x usr/share/man/man1
drwxr-xr-x usr/share/man/man5
drwxr-xr-x usr/share/man/man8
drwxr-xr-x usr/share/zsh/vendor-completions
L
make_ install 2>/dev/null
make_ uninstall PURGE=1 >/dev/null
[ ! -e "$stage/etc/dm-psa" ] || fail "PURGE=1 removes /etc/dm-psa"

# The initramfs: only where it is asked for, and only where its programs look.
boot() { list | grep -E ' usr/(lib/dracut|share/initramfs-tools|lib/systemd/system.conf.d)/'; }
make_ install 2>/dev/null
[ -z "$(boot)" ] || fail "files for the initramfs are installed without being asked for"
if make_ install BOOT=1 PREFIX=/usr/local >/dev/null 2>&1; then fail "BOOT=1 with another PREFIX is refused"; fi
make_ install BOOT=1 2>/dev/null
if diff -u tests/golden/install-boot.list <(boot); then echo "ok - BOOT=1 installs what an initramfs needs"; else fail "BOOT=1 installs what an initramfs needs"; fi
make_ install 2>/dev/null
[ -z "$(find "$stage/usr/lib/dracut" "$stage/usr/share/initramfs-tools" "$stage/usr/lib/systemd/system.conf.d" -type f)" ] || fail "an installation without BOOT=1 removes the files of one with it"

# The names of multipath-tools: only where they are asked for, and never in place of another program.
names() { list | grep -E ' usr/((sbin|share/man/man8)/m|lib/systemd/system/(multipathd|dm-psa[^/]*/))'; }
make_ install 2>/dev/null
[ -z "$(names)" ] || fail "the names of multipath-tools are installed without being asked for"
echo theirs >"$stage/usr/sbin/multipath"
if make_ install MULTIPATH=1 >/dev/null 2>&1; then fail "a program of multipath-tools is replaced"; fi
[ "$(cat "$stage/usr/sbin/multipath")" = theirs ] || fail "a program of multipath-tools is changed"
rm "$stage/usr/sbin/multipath"
echo theirs >"$stage/usr/lib/systemd/system/multipathd.service"
if make_ install MULTIPATH=1 >/dev/null 2>&1; then fail "the unit of multipath-tools is replaced"; fi
rm "$stage/usr/lib/systemd/system/multipathd.service"
mkdir -p "$stage/etc/systemd/system"
ln -s /dev/null "$stage/etc/systemd/system/multipathd.service"
make_ install MULTIPATH=1 2>/dev/null
if diff -u tests/golden/install-multipath.list <(names); then echo "ok - MULTIPATH=1 installs the names of multipath-tools"; else fail "MULTIPATH=1 installs the names of multipath-tools"; fi
[ ! -L "$stage/etc/systemd/system/multipathd.service" ] || fail "the mask of the unit multipathd.service is removed"
make_ uninstall PURGE=1 >/dev/null
[ -z "$(names)" ] || fail "make uninstall removes the names of multipath-tools"

# With another PREFIX the files name their programs below it.
make_ install PREFIX=/usr/local 2>/dev/null
grep -q '^ExecStart=/usr/local/sbin/dm-psad$' "$stage/usr/local/lib/systemd/system/dm-psa.service" || fail "the unit names a program below PREFIX"
grep -q '^ExecStart=/usr/local/lib/udev/dm-psa-id --show-undecided$' "$stage/usr/local/lib/systemd/system/dm-psa-undecided.service" || fail "the unit of the time limit names a program below PREFIX"
grep -q '^exec /usr/local/lib/udev/dm-psa-id --end-queueing$' "$stage/usr/local/lib/systemd/system-shutdown/dm-psa" || fail "the shutdown hook names a program below PREFIX"
grep -q '="/usr/local/lib/udev/dm-psa-id ' "$stage/usr/local/lib/udev/rules.d/56-dm-psa-path.rules" || fail "the udev rules name a program below PREFIX"
[ $failed = 0 ] && echo "ok - with another PREFIX the files name programs below it"
exit $failed
