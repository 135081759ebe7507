#!/bin/bash
# `make rpm` packs the files of tests/golden/install.list, rpmlint finds no error and no warning, and the scripts do what
# they should. The packages are installed below a directory of their own, where programs stand in for systemctl, udevadm
# and those of SELinux. Needs a build (PROFILE=dev).
set -euo pipefail
cd "$(dirname "$0")/.."
tests/lab/host/packages rpm=rpm rpmlint=rpmlint secilc=secilc shellcheck=shellcheck

failed=0
work=$(mktemp -d)
log=$work/log
: >"$log"
trap 'rm -rf "$work"' EXIT
fail() { echo "not ok - $*"; failed=1; }
# check WHAT COMMAND...: COMMAND succeeds.
check() {
    local what=$1
    shift
    if "$@"; then echo "ok - $what"; else
        fail "$what"
        sed 's/^/#   /' "$log"
    fi
}
# same WHAT WANTED GOT
same() { if diff -u --label wanted --label got <(echo "$2") <(echo "$3"); then echo "ok - $1"; else fail "$1"; fi; }
not() { ! "$@"; }

make_rpm() { make --no-print-directory -s PROFILE=dev RPM_DIR="$1" rpm "${@:2}"; }
make_rpm "$work/old" >/dev/null
make_rpm "$work/new" RPM_VERSION=9.9 >/dev/null
old=("$work"/old/dm-psa-[0-9]*.rpm) new=("$work"/new/dm-psa-9.9-*.rpm)
old_selinux=("$work"/old/dm-psa-selinux-*.rpm) new_selinux=("$work"/new/dm-psa-selinux-*.rpm)

echo "# files"
# On these systems the rules for maps have another number, and zsh's completions another directory. Manual pages are
# compressed. RPM has the list of files, and the script after installation creates the links in /etc.
wanted=$(sed -E -e '/ etc\/udev\//d' -e '/ usr\/lib\/dm-psa\/installed$/d' -e 's/(usr\/share\/man\/.*)/\1.gz/' \
    -e 's/56-dm-psa-map/11-dm-psa-map/' -e 's/vendor-completions/site-functions/' tests/golden/install.list | LC_ALL=C sort -k 2)
# Of the directories, only the empty one is in the list.
packed=$(rpm -qp --qf '[%{FILEMODES:perms} %{FILENAMES}\n]' "${old[0]}" | sed -e 's| /| |' -e '/^d.* etc\/dm-psa\/state$/!{/^d/d}' | LC_ALL=C sort -k 2)
same "the package has every file of the list" "$wanted" "$packed"
packed=$(rpm -qp --qf '[%{FILEMODES:perms} %{FILENAMES} %{FILELINKTOS}\n]' "$work"/old/dm-psa-multipath-*.rpm | sed -e '/^d/d' -e 's| /| |' -e 's/ *$//' | LC_ALL=C sort -k 2)
same "the package of the programs has their names" "$(sed -E 's/(usr\/share\/man\/.*)/\1.gz/' tests/golden/install-multipath.list)" "$packed"
same "the package for the initramfs has the module of dracut" \
    $'/usr/lib/dracut/dracut.conf.d/50-dm-psa.conf\n/usr/lib/dracut/modules.d/70dm-psa\n/usr/lib/dracut/modules.d/70dm-psa/module-setup.sh\n/usr/lib/systemd/system.conf.d\n/usr/lib/systemd/system.conf.d/50-dm-psa.conf' \
    "$(rpm -qpl "$work"/old/dm-psa-boot-*.rpm | LC_ALL=C sort)"
same "the SELinux package has the file contexts" /usr/share/selinux/packages/dm-psa.cil "$(rpm -qpl "${old_selinux[0]}")"
same "the package has only directories in /etc" $'/etc/dm-psa\n/etc/dm-psa/state' \
    "$(rpm -qpl "${old[0]}" | grep ^/etc/)"
if rpmlint --strict -c packaging/rpm/rpmlint.toml "${old[0]}" "${old_selinux[0]}" "$work"/old/dm-psa-multipath-*.rpm "$work"/old/dm-psa-boot-*.rpm packaging/rpm/dm-psa.spec >"$log" 2>&1; then
    echo "ok - rpmlint has no complaint"
else
    fail "rpmlint has no complaint"
fi
grep -E ': [EW]: |badness' "$log" || cat "$log"
for script in PREIN POSTIN POSTTRANS PREUN POSTUN; do
    for package in "${old[0]}" "${old_selinux[0]}" "$work"/old/dm-psa-multipath-*.rpm; do
        rpm -qp --qf "%{$script}\n" "$package" | grep -vxF '(none)' >"$work/script" || continue
        check "shellcheck has no complaint about $script of ${package##*/}" shellcheck -s sh -S warning "$work/script"
    done
done
check "an invalid version is refused" not make_rpm "$work/none" RPM_VERSION=0.1-0 2>"$log"

echo "# file contexts of SELinux"
# The smallest policy that has the types of the file.
cat >"$work/base.cil" <<'P'
(mls true)
(class file (read))
(classorder (file))
(sid kernel)
(sidorder (kernel))
(sidcontext kernel (system_u object_r lvm_exec_t ((s0) (s0))))
(sensitivity s0)
(sensitivityorder (s0))
(category c0)
(categoryorder (c0))
(sensitivitycategory s0 (c0))
(user system_u)
(role object_r)
(userrole system_u object_r)
(userlevel system_u (s0))
(userrange system_u ((s0) (s0)))
(type lvm_exec_t)
(type lvm_metadata_t)
(type lvm_var_run_t)
(roletype object_r lvm_exec_t)
(roletype object_r lvm_metadata_t)
(roletype object_r lvm_var_run_t)
(allow lvm_exec_t lvm_exec_t (file (read)))
P
compile() { secilc -o "$work/policy" -f "$work/contexts" "$work/base.cil" packaging/rpm/dm-psa.cil >"$log" 2>&1; }
check "a policy accepts them" compile
same "each has the type of multipathd's file" "\
/etc/dm-psa(/.*)? lvm_metadata_t
/run/dm-psa(/.*)? lvm_var_run_t
/usr/bin/dm-psa-multipath lvm_exec_t
/usr/bin/dm-psad lvm_exec_t
/usr/bin/psactl lvm_exec_t
/usr/lib/udev/dm-psa-id lvm_exec_t
/usr/sbin/dm-psa-multipath lvm_exec_t
/usr/sbin/dm-psad lvm_exec_t
/usr/sbin/psactl lvm_exec_t
/var/run/dm-psa(/.*)? lvm_var_run_t" "$(sed -E 's/[[:space:]].*object_r:([a-z_]*):.*/ \1/' "$work/contexts" | LC_ALL=C sort)"

# From here on, the packages are installed below this directory.
root=$work/root
limit=/sys/module/dm_multipath/parameters/queue_if_no_path_timeout_secs
all='11-dm-mpath 56-dm-mpath 56-multipath 60-multipath 62-multipath'
# new_root [booted]: makes an empty host, on which systemd and udev run if it is booted.
new_root() {
    local tool file
    rm -rf "$root"
    mkdir -p "$root"/{etc,dev,run,tmp,units,usr/bin,usr/sbin,usr/lib,usr/lib64,var/tmp,var/lib/rpm,"${limit%/*}"}
    for file in bin sbin lib lib64; do ln -s usr/$file "$root/$file"; done
    touch "$root/dev/null"
    echo 'root:x:0:0::/:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    for tool in bash cat grep ln mkdir readlink rm rmdir; do
        tool=$(command -v $tool)
        cp "$tool" "$root/usr/bin/"
        for file in $(ldd "$tool" | grep -o '/[^ ]*'); do
            mkdir -p "$root${file%/*}"
            cp -L "$file" "$root$file"
        done
    done
    ln -s bash "$root/usr/bin/sh"
    # Each call goes to /calls, except questions. A unit has the state that /units/NAME says.
    cat >"$root/usr/bin/systemctl" <<'S'
#!/bin/sh
case $1 in
    is-active)
        for unit; do :; done
        state=$(cat "/units/$unit" 2>/dev/null) || state=inactive
        echo "$state"
        [ "$state" = active ]
        exit
        ;;
    is-enabled)
        [ -e "/units/$2" ] && echo enabled
        exit
        ;;
    show)
        readlink "/usr/lib/systemd/system/$5" || echo "$5"
        exit
        ;;
esac
echo "systemctl $*" >>/calls
S
    chmod +x "$root/usr/bin/systemctl"
    for tool in udevadm semodule restorecon; do
        printf '#!/bin/sh\necho "%s $*" >>/calls\n' "$tool" >"$root/usr/bin/$tool"
        chmod +x "$root/usr/bin/$tool"
    done
    echo 0 >"$root$limit"
    [ -z "${1:-}" ] || mkdir -p "$root/run/systemd/system" "$root/run/udev/control"
}
# rpm_ OPTION...: runs rpm below the root. The output goes to the log.
rpm_() {
    rm -f "$root/calls"
    # rpm changes its root directory, which needs the rights of root; a user namespace gives them to any user. --nodeps,
    # because no other package is installed there.
    # shellcheck disable=SC2016  # it is the inner shell's
    unshare --map-root-user --mount sh -c 'mount --bind /dev/null "$0/dev/null" && exec "$@"' "$root" \
        rpm --root "$root" --dbpath /var/lib/rpm --nodeps "$@" >"$log" 2>&1
}
said() { grep -qF -- "$1" "$log"; }
calls() { cat "$root/calls" 2>/dev/null || true; }
# The rules that are masked, without the .rules.
masks() { find "$root/etc/udev/rules.d" -lname /dev/null -printf '%f\n' 2>/dev/null | sed 's/\.rules$//' | sort | xargs; }
# All files. Of the directories, those below /usr are left out: RPM leaves directories that belong to other packages.
host_files() { (cd "$root" && find . \( -path ./var/lib/rpm -o -path ./calls \) -prune -o -path './usr/*' -type d -o -print | sort); }
# Files below /etc with their contents.
settings() { (cd "$root/etc" && find . \( -type f -exec md5sum {} + \) -o -type l -printf '%p %l\n' | sort); }
reloaded='udevadm control --reload
systemctl daemon-reload'
upgraded="$reloaded
systemctl try-restart dm-psa.service"

echo "# first installation"
new_root booted
mkdir -p "$root/etc/udev/rules.d"
empty=$(host_files)
check "the package is installed" rpm_ -i "${old[0]}"
same "udev and systemd read their files again, and the agent is neither enabled nor started" "$upgraded" "$(calls)"
same "the rules of multipath-tools are masked" "$all" "$(masks)"
check "a message says how to start the agent" said 'systemctl enable --now dm-psa.service'

echo "# upgrade"
echo 'check_interval = 7' >"$root/etc/dm-psa/dm-psa.toml"
echo '# mine' >"$root/etc/dm-psa/rules.toml"
echo '{}' >"$root/etc/dm-psa/state/memory.json"
rm "$root/etc/udev/rules.d/60-multipath.rules"
echo '# mine' >"$root/etc/udev/rules.d/60-multipath.rules"
before=$(settings)
check "the package is upgraded" rpm_ -U "${new[0]}"
same "a running agent is restarted, after udev has read its rules" "$upgraded" "$(calls)"
same "no file in /etc is replaced" "$before" "$(settings)"
check "the admin's file in the place of a mask is reported" said '60-multipath.rules exists'
check "the message about the start is not repeated" not said 'to start the agent'
same "one version is installed" dm-psa-9.9-1 "$(rpm --root "$root" --dbpath /var/lib/rpm -q --qf '%{NAME}-%{VERSION}-1\n' dm-psa)"

echo "# removal"
mkdir -p "$root/run/dm-psa"
echo 170 | tee "$root/run/dm-psa/queueing_limit" >"$root$limit"
check "the package is removed" rpm_ -e dm-psa
same "the agent is disabled and stopped" "systemctl --no-reload disable -q dm-psa.service
systemctl stop dm-psa-multipath.socket dm-psa-multipath.service dm-psa.service
$reloaded" "$(calls)"
check "a message says that the maps stay" said 'Its maps stay'
same "no rules are masked" "" "$(masks)"
same "the kernel's queueing limit is reset" 0 "$(cat "$root$limit")"
same "only the admin's files, the state and the agent's directory in /run are left" "\
./etc/dm-psa
./etc/dm-psa/dm-psa.toml
./etc/dm-psa/rules.toml
./etc/dm-psa/state
./etc/dm-psa/state/memory.json
./etc/udev/rules.d/60-multipath.rules
./run/dm-psa" "$(comm -13 <(echo "$empty") <(host_files))"
same "no directory of dm-psa is left in /usr" "" "$(find "$root/usr" -name '*dm-psa*')"
same "the admin's mask is unchanged" '# mine' "$(cat "$root/etc/udev/rules.d/60-multipath.rules")"
same "the admin's settings are unchanged" '# mine' "$(cat "$root/etc/dm-psa/rules.toml")"

echo "# an admin's own files have the names of masks, and the queueing limit is the admin's"
new_root booted
mkdir -p "$root/etc/udev/rules.d" "$root/run/dm-psa"
echo '# mine' >"$root/etc/udev/rules.d/11-dm-mpath.rules"
ln -s /dev/null "$root/etc/udev/rules.d/56-multipath.rules"
before=$(settings)
check "the package is installed" rpm_ -i "${old[0]}"
check "the file is reported" said '11-dm-mpath.rules exists'
same "the other rules are masked" "${all/11-dm-mpath /}" "$(masks)"
echo 170 >"$root/run/dm-psa/queueing_limit"
echo 60 >"$root$limit"
check "the package is removed" rpm_ -e dm-psa
same "the admin's file and link are left" "$before" "$(settings)"
same "the admin's queueing limit is left" 60 "$(cat "$root$limit")"
check "the agent's note of its limit is removed" not test -e "$root/run/dm-psa/queueing_limit"

for unit in multipathd.service multipathd.socket; do
    echo "# beside an active $unit"
    new_root booted
    echo active >"$root/units/$unit"
    check "the package is installed" rpm_ -i "${old[0]}"
    check "a message says what to do" said 'systemctl disable --now multipathd.socket multipathd.service'
    same "no rules are masked" "" "$(masks)"
    same "the agent is neither enabled nor started" "$upgraded" "$(calls)"
    check "the package is upgraded" rpm_ -U "${new[0]}"
    same "no rules are masked" "" "$(masks)"
    rm "$root/units/$unit"
    check "after multipathd has stopped, the package is installed again" rpm_ -U --replacepkgs "${new[0]}"
    same "then the rules are masked" "$all" "$(masks)"
done

echo "# the programs of multipath-tools"
new_root booted
check "the package is installed" rpm_ -i "${old[0]}"
mkdir -p "$root/etc/systemd/system"
ln -s /dev/null "$root/etc/systemd/system/multipathd.service"
echo active >"$root/units/dm-psa.service"
check "the package of the programs is installed" rpm_ -i "$work"/old/dm-psa-multipath-*.rpm
same "the unit has its second name, and runs because the agent does" \
    $'systemctl daemon-reload\nsystemctl restart dm-psa-multipath.service' "$(calls)"
check "the mask that psactl adopt made is gone" not test -L "$root/etc/systemd/system/multipathd.service"
echo active >"$root/units/multipathd.service"
check "the agent's package is installed again" rpm_ -U --replacepkgs "${old[0]}"
check "the unit's second name is not taken for multipathd" not said 'multipathd is in use'
check "the package of the programs is removed" rpm_ -e dm-psa-multipath
same "the process that has the name multipathd ends" \
    $'systemctl daemon-reload\nsystemctl stop dm-psa-multipath.service' "$(calls)"
same "the name is masked again" /dev/null "$(readlink "$root/etc/systemd/system/multipathd.service")"
check "the agent's package is removed" rpm_ -e dm-psa
same "no record is left" "" "$(find "$root/var/lib" -name '*dm-psa*')"

echo "# the image of a host"
new_root
check "the package is installed" rpm_ -i "${old[0]}"
same "neither udev nor systemd is called" "" "$(calls)"
same "the rules are masked" "$all" "$(masks)"
check "the package is removed" rpm_ -e dm-psa
same "the agent is disabled" "systemctl --no-reload disable -q dm-psa.service" "$(calls)"
same "no rules are masked" "" "$(masks)"
echo enabled >"$root/units/multipathd.service"
check "the package is installed where multipathd is enabled" rpm_ -i "${old[0]}"
same "no rules are masked" "" "$(masks)"

echo "# make install has installed dm-psa"
new_root booted
mkdir -p "$root/usr/lib/dm-psa"
touch "$root/usr/lib/dm-psa/installed"
check "the package is refused" not rpm_ -i "${old[0]}"
check "a message says what to do" said 'make uninstall'
check "nothing is installed" not test -e "$root/usr/sbin/dm-psad"
same "no rules are masked" "" "$(masks)"

echo "# the SELinux package"
new_root booted
relabelled='restorecon -R -i /usr/sbin/dm-psad /usr/sbin/psactl /usr/sbin/dm-psa-multipath /usr/lib/udev/dm-psa-id /etc/dm-psa /run/dm-psa'
loaded="semodule -X 200 -i /usr/share/selinux/packages/dm-psa.cil
$relabelled"
check "both packages are installed" rpm_ -i "${old[0]}" "${old_selinux[0]}"
same "the contexts are loaded, and then the files get them" "$loaded" "$(calls | grep -E '^(semodule|restorecon)')"
check "it is upgraded" rpm_ -U "${new_selinux[0]}"
same "the contexts are loaded again" "$loaded" "$(calls)"
check "it is removed" rpm_ -e dm-psa-selinux
same "the contexts are removed" "semodule -X 200 -r dm-psa
$relabelled" "$(calls)"
exit $failed
