# dm-psa. `make help` lists the targets and the variables.
#
# `make install` changes this machine. Everything else (demo, tests) runs in a
# virtual machine and leaves this one unchanged, except for what `make setup`
# installs, which it announces first.

PREFIX ?= /usr
SYSCONFDIR ?= /etc
DESTDIR ?=
PROFILE ?= release
CARGO ?= cargo

# The udev rules for maps have to run between two rules files of lvm2, which
# distributions number differently: 10-dm and 13-dm-disk, or on Debian and
# Ubuntu 55-dm and 60-persistent-storage-dm.
MAP_RULE_NUMBER ?= $(if $(wildcard /usr/lib/udev/rules.d/10-dm.rules /lib/udev/rules.d/10-dm.rules),11,56)

# Debian's zsh has its own directory for completions below /usr.
ZSH_COMPLETIONS ?= $(if $(and $(filter /usr,$(PREFIX)),$(wildcard /etc/debian_version)),vendor-completions,site-functions)

# The udev rules of multipath-tools, under all names that distributions use.
# They act on every disk and every multipath map, whether multipathd runs or
# not: they mark disks by its configuration, and fail paths by message.
# 99-z-dm-mpath-late is not in the list: it only restores a property that
# 11-dm-mpath has set.
MASKED_RULES := 11-dm-mpath 56-dm-mpath 56-multipath 60-multipath 62-multipath

export PATH := $(PATH):$(HOME)/.cargo/bin
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

out := target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
root := $(DESTDIR)$(PREFIX)
etc := $(DESTDIR)$(SYSCONFDIR)
# The list of installed files, one per line. `make uninstall` removes only these.
manifest := $(root)/lib/dm-psa/installed
# Set if the installation is for the running machine, empty if it is a tree for
# a package or a guest.
live := $(if $(DESTDIR),,$(wildcard /run/systemd/system))

# Each installed file as SOURCE:TARGET:MODE, the target below PREFIX. A pattern
# that matches no file adds nothing.
below = $(foreach f,$(wildcard $(1)),$(f):$(2)/$(notdir $(f)):644)
installed := \
	$(out)/dm-psad:sbin/dm-psad:755 \
	$(out)/psactl:sbin/psactl:755 \
	$(out)/dm-psa-id:lib/udev/dm-psa-id:755 \
	$(out)/dm-psa-multipath:sbin/dm-psa-multipath:755 \
	udev-rules/56-dm-psa-path.rules:lib/udev/rules.d/56-dm-psa-path.rules:644 \
	udev-rules/56-dm-psa-map.rules:lib/udev/rules.d/$(MAP_RULE_NUMBER)-dm-psa-map.rules:644 \
	$(call below,rules/*.toml,lib/dm-psa) \
	$(call below,systemd/*.service systemd/*.socket systemd/*.timer,lib/systemd/system) \
	systemd/system-shutdown/dm-psa:lib/systemd/system-shutdown/dm-psa:755 \
	systemd/generators/dm-psa:lib/systemd/system-generators/dm-psa:755 \
	$(call below,systemd/tmpfiles.d/*.conf,lib/tmpfiles.d) \
	$(call below,systemd/modules-load.d/*.conf,lib/modules-load.d) \
	$(call below,systemd/modprobe.d/*.conf,lib/modprobe.d) \
	$(call below,man/*.5,share/man/man5) \
	$(call below,man/*.8,share/man/man8) \
	$(call below,README.md LICENSE-MIT LICENSE-APACHE,share/doc/dm-psa) \
	$(call below,docs/*.md,share/doc/dm-psa/docs)

# With MULTIPATH=1, the names of multipath-tools. Each link as LINK:TARGET, the link below PREFIX: programs, and the unit,
# which starts with the agent.
multipath_names := multipath multipathd multipathc mpathpersist mpathconf
units := lib/systemd/system
multipath_links := \
	$(foreach f,$(multipath_names),sbin/$(f):dm-psa-multipath) \
	$(units)/multipathd.service:dm-psa-multipath.service \
	$(units)/dm-psa.service.wants/dm-psa-multipath.service:../dm-psa-multipath.service
multipath_files := systemd/multipathd/part.conf:$(units)/dm-psa-multipath.service.d/multipathd.conf:644
MULTIPATH ?=

# Whether multipathd of multipath-tools runs, or its socket can start it: while that is active, any call of `multipath` does.
# The unit may also be another name of dm-psa-multipath.service.
multipathd_runs := { systemctl is-active -q multipathd.socket || { systemctl is-active -q multipathd.service && \
	[ "$$(systemctl show -p Id --value multipathd.service)" = multipathd.service ]; }; }

# With BOOT=1, what puts the agent into an initramfs, of initramfs-tools or dracut. It has absolute paths below /usr.
BOOT ?=
initramfs := systemd/initramfs-tools
boot_files := \
	$(initramfs)/hooks/dm-psa:share/initramfs-tools/hooks/dm-psa:755 \
	$(initramfs)/scripts/local-top/dm-psa:share/initramfs-tools/scripts/local-top/dm-psa:755 \
	$(initramfs)/scripts/local-block/00-dm-psa:share/initramfs-tools/scripts/local-block/00-dm-psa:755 \
	$(initramfs)/scripts/init-bottom/dm-psa:share/initramfs-tools/scripts/init-bottom/dm-psa:755 \
	systemd/dracut/70dm-psa/module-setup.sh:lib/dracut/modules.d/70dm-psa/module-setup.sh:755 \
	systemd/dracut/50-dm-psa.conf:lib/dracut/dracut.conf.d/50-dm-psa.conf:644 \
	systemd/system.conf.d/50-dm-psa.conf:lib/systemd/system.conf.d/50-dm-psa.conf:644

# Each completion as SHELL:TARGET, the target below PREFIX.
completions := \
	bash:share/bash-completion/completions/psactl \
	zsh:share/zsh/$(ZSH_COMPLETIONS)/_psactl \
	fish:share/fish/vendor_completions.d/psactl.fish

.PHONY: build help setup install uninstall deb rpm lab-image demo test test-all soak bench bench-micro bench-scale

# The tests are built with the examples, which gives dependencies the features that tests need. Without the examples
# here, the library would be built once for the tests and once for the lab.
build: ## build the programs (PROFILE=dev: a quick build, lightly optimised)
	$(CARGO) build --locked --profile $(PROFILE) --bins $(if $(filter dev,$(PROFILE)),--examples)

help: ## print this list
	@echo "make TARGET [NAME=VALUE...]"
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r t d; do printf '%-13s %s\n' "$$t" "$$d"; done
	echo "  PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) DESTDIR=$(DESTDIR) PROFILE=$(PROFILE) MAP_RULE_NUMBER=$(MAP_RULE_NUMBER) ZSH_COMPLETIONS=$(ZSH_COMPLETIONS) DEB_DIR=$(DEB_DIR) RPM_DIR=$(RPM_DIR)"

setup: ## install missing packages for the build, the tests and the lab
	@tests/setup

install: ## install what `make` built, below DESTDIR; does not build (MULTIPATH=1: with the programs of multipath-tools; BOOT=1: with the initramfs)
	@for f in dm-psad psactl dm-psa-id dm-psa-multipath; do
		[ -x "$(out)/$$f" ] || { echo "$(out)/$$f is missing: run \`make\` first (as yourself, not as root)" >&2; exit 1; }
	done
	if [ -n "$(live)" ] && $(multipathd_runs) && [ -z "$${TAKEOVER:-}" ]; then
		cat >&2 <<-'T'
		multipathd is running on this host, or its socket can start it. Nothing was installed, because the udev rules
		of dm-psa replace those of multipath-tools. To use dm-psa instead, stop multipathd
		and install again. The maps stay, and their I/O goes on:
		    systemctl disable --now multipathd.socket multipathd.service
		TAKEOVER=1 installs although multipathd is running.
		T
		exit 1
	fi
	for f in $(if $(MULTIPATH),$(multipath_links)); do
		IFS=: read -r f target <<<"$$f"
		if [ -e "$(root)/$$f" ] && [ "$$(readlink "$(root)/$$f")" != "$$target" ]; then
			echo "$(PREFIX)/$$f belongs to another package, multipath-tools. Remove that first, or install without MULTIPATH=1. Nothing was installed" >&2
			exit 1
		fi
	done
	if [ -n "$(BOOT)" ] && [ "$(PREFIX)" != /usr ]; then
		echo "BOOT=1 needs PREFIX=/usr, where initramfs-tools and dracut look for their modules. Nothing was installed" >&2
		exit 1
	fi
	new=$$(mktemp); pages=$$(mktemp -d); trap 'rm -rf "$$new" "$$pages"' EXIT
	# The files contain paths below /usr. For another PREFIX they are rewritten.
	for f in $(installed) $(if $(MULTIPATH),$(multipath_files)) $(if $(BOOT),$(boot_files)); do
		IFS=: read -r from to mode <<<"$$f"
		install -D -m "$$mode" "$$from" "$(root)/$$to"
		case $$to in
			*.service | *.service.d/*) sed -i 's|^\(Exec[A-Za-z]*=[-@:+!]*\)/usr/|\1$(PREFIX)/|' "$(root)/$$to" ;;
			*/system-shutdown/*) sed -i 's|^exec /usr/lib/udev/|exec $(PREFIX)/lib/udev/|' "$(root)/$$to" ;;
			*.rules) [ "$(PREFIX)" = /usr ] || sed -i 's|="dm-psa-id |="$(PREFIX)/lib/udev/dm-psa-id |' "$(root)/$$to" ;;
		esac
		echo "$(PREFIX)/$$to" >>"$$new"
	done
	# The agent keeps the file wwids, which LVM reads, if its directory exists.
	[ -z "$(MULTIPATH)" ] || install -d -m 755 "$(etc)/multipath"
	for f in $(if $(MULTIPATH),$(multipath_links)); do
		IFS=: read -r f target <<<"$$f"
		mkdir -p "$(root)/$${f%/*}"
		ln -sf "$$target" "$(root)/$$f"
		echo "$(PREFIX)/$$f" >>"$$new"
	done
	for f in $(if $(MULTIPATH),$(multipath_names)); do
		echo '.so man8/dm-psa-multipath.8' >"$(root)/share/man/man8/$$f.8"
		echo "$(PREFIX)/share/man/man8/$$f.8" >>"$$new"
	done
	# psactl generates its own manual pages and completions, so that they match this version.
	$(out)/psactl man "$$pages"
	for f in "$$pages"/*.1; do
		install -D -m 644 "$$f" "$(root)/share/man/man1/$${f##*/}"
		echo "$(PREFIX)/share/man/man1/$${f##*/}" >>"$$new"
	done
	for f in $(completions); do
		IFS=: read -r shell to <<<"$$f"
		$(out)/psactl completion "$$shell" >"$$pages/$$shell"
		install -D -m 644 "$$pages/$$shell" "$(root)/$$to"
		echo "$(PREFIX)/$$to" >>"$$new"
	done
	install -d -m 755 "$(etc)/dm-psa" "$(etc)/dm-psa/state" "$(etc)/udev/rules.d"
	# Masks that psactl made: those of the rules of dm-psa end here.
	record="$(DESTDIR)/var/lib/dm-psa/masked-rules"
	if [ -e "$$record" ]; then
		grep 'dm-psa-' "$$record" | while read -r f; do
			[ "$$(readlink "$(DESTDIR)$$f")" != /dev/null ] || rm -f "$(DESTDIR)$$f"
		done || true
		sed -i '/dm-psa-/d' "$$record"
	fi
	# Beside a running multipathd (TAKEOVER=1), its rules stay in force; `psactl adopt` masks them.
	masked='$(MASKED_RULES)'
	if [ -n "$(live)" ] && $(multipathd_runs); then masked=; fi
	for r in $$masked; do
		link=$(SYSCONFDIR)/udev/rules.d/$$r.rules
		if [ ! -e "$(DESTDIR)$$link" ] && [ ! -L "$(DESTDIR)$$link" ]; then
			ln -s /dev/null "$(DESTDIR)$$link"
			echo "$$link" >>"$$new"
		elif grep -qsxF "$$link" "$(manifest)"; then
			# An earlier installation created the link.
			echo "$$link" >>"$$new"
		elif [ "$$(readlink "$(DESTDIR)$$link")" != /dev/null ]; then
			echo "not masked: $$link exists and was not made by dm-psa. Its rules must not act on paths and maps of dm-psa" >&2
		fi
	done
	# Remove the files of an earlier version that this one does not have.
	if [ -e "$(manifest)" ]; then
		grep -vxFf "$$new" "$(manifest)" | while read -r f; do rm -f "$(DESTDIR)$$f"; done || true
	fi
	install -D -m 644 "$$new" "$(manifest)"
	# `psactl adopt` masked the name while it was multipath-tools'.
	if [ -n "$(MULTIPATH)" ] && [ "$$(readlink "$(etc)/systemd/system/multipathd.service")" = /dev/null ]; then
		rm -f "$(etc)/systemd/system/multipathd.service"
	fi
	if [ -n "$(live)" ]; then
		systemctl daemon-reload
		udevadm control --reload
		echo "installed. To start the agent now and at every boot: systemctl enable --now dm-psa.service"
	fi

uninstall: ## remove what `make install` installed; keeps /etc/dm-psa unless PURGE=1
	@[ -e "$(manifest)" ] || { echo "nothing to uninstall: $(manifest) does not exist" >&2; exit 1; }
	if [ -n "$(live)" ]; then
		systemctl disable -q --now dm-psa.service || true
		systemctl stop -q dm-psa-multipath.socket dm-psa-multipath.service || true
		# Reset the kernel's queueing timeout if its value is still the agent's, and forget that it was: a later agent
		# would take the 0 for an admin's.
		limit=/sys/module/dm_multipath/parameters/queue_if_no_path_timeout_secs
		if [ -s /run/dm-psa/queueing_limit ] && [ "$$(cat /run/dm-psa/queueing_limit)" = "$$(cat "$$limit")" ]; then
			echo 0 >"$$limit"
		fi
		rm -f /run/dm-psa/queueing_limit
		echo "the agent is stopped. Its maps stay and their I/O goes on, but failed paths are no longer reinstated."
	fi
	while read -r f; do
		case $$f in
			# Only if it is still the link that `make install` created.
			$(SYSCONFDIR)/udev/*) [ "$$(readlink "$(DESTDIR)$$f")" = /dev/null ] || continue ;;
		esac
		rm -f "$(DESTDIR)$$f"
	done <"$(manifest)"
	rm -f "$(manifest)"
	if [ -e "$(DESTDIR)/var/lib/dm-psa/masked-rules" ]; then
		while read -r f; do
			[ "$$(readlink "$(DESTDIR)$$f")" != /dev/null ] || rm -f "$(DESTDIR)$$f"
		done <"$(DESTDIR)/var/lib/dm-psa/masked-rules"
	fi
	rm -rf "$(DESTDIR)/var/lib/dm-psa"
	for d in lib/dm-psa share/doc/dm-psa/docs share/doc/dm-psa $(units)/dm-psa-multipath.service.d $(units)/dm-psa.service.wants; do
		[ ! -d "$(root)/$$d" ] || rmdir --ignore-fail-on-non-empty "$(root)/$$d"
	done
	if [ -n "$${PURGE:-$(PURGE)}" ]; then
		rm -rf "$(etc)/dm-psa"
	else
		for d in "$(etc)/dm-psa/state" "$(etc)/dm-psa"; do
			[ ! -d "$$d" ] || rmdir --ignore-fail-on-non-empty "$$d"
		done
		[ ! -d "$(etc)/dm-psa" ] || echo "kept: $(etc)/dm-psa (PURGE=1 removes it)"
	fi
	if [ -n "$(live)" ]; then systemctl daemon-reload; udevadm control --reload; fi

DEB_VERSION ?=
DEB_DIR ?= target/deb
deb: build ## build the Debian package, into DEB_DIR (DEB_VERSION=V: with another version than that of Cargo.toml)
	@PROFILE="$(PROFILE)" MASKED_RULES="$(MASKED_RULES)" packaging/deb "$(DEB_DIR)" $(DEB_VERSION)

RPM_VERSION ?=
RPM_DIR ?= target/rpm
rpm: build ## build the RPM packages, into RPM_DIR (RPM_VERSION=V: with another version than that of Cargo.toml)
	@PROFILE="$(PROFILE)" MASKED_RULES="$(MASKED_RULES)" packaging/rpm-package "$(RPM_DIR)" $(RPM_VERSION)

lab-image: ## build the guest images of the lab: kernels 6.1, 6.12 and 7
	tests/lab/host/image 6.1 6.12 7

demo: setup ## show a controller failure under verified I/O, in a virtual machine
	@tests/lab/run --systemd tests/lab/demo.sh

test: setup ## run the tests that every change has to pass: no fuzzing, and only the core of the lab
	@tests/all core

KERNELS ?= 6.12
FUZZ ?= 10
test-all: setup ## run all tests, with fuzzing and the whole lab (KERNELS="6.12 6.1 7", FUZZ=10 seconds for each target)
	@KERNELS="$(KERNELS)" FUZZ="$(FUZZ)" tests/all


SOAK_SECONDS ?= 600
SOAK_SEED ?=
soak: setup ## run random faults under verified I/O in a virtual machine (SOAK_SECONDS=600, SOAK_SEED=N)
	@tests/lab/run --timeout $$(($(SOAK_SECONDS) * 2 + 900)) tests/lab/soak.sh $(SOAK_SECONDS) $(SOAK_SEED)

bench: setup ## compare dm-psad with multipathd, in virtual machines: table, JSON and plot (ROUNDS=3)
	@tests/bench/run

bench-scale: setup ## measure dm-psad with 10,000 paths, in a virtual machine of 16 GiB
	@KEEP=1 tests/bench/run 10000

bench-micro: setup ## measure the cost of decisions and parsers, in nanoseconds and (with valgrind) instructions
	$(CARGO) bench --locked --bench micro
