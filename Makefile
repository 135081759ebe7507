# dm-psa: what a machine needs is installed by `make install`; everything else
# (demo, tests) runs in a virtual machine and leaves this one alone.
#
#   make                  build (PROFILE=dev for a quick, lightly optimised one)
#   make install          into $(DESTDIR)$(PREFIX); builds nothing
#   make uninstall
#   make lab-image        the guests of the lab: kernels 6.1, 6.12 and 7
#   make demo             a controller failover under I/O, in the lab
#   make test             every test, the lab's included

PREFIX ?= /usr
DESTDIR ?=
PROFILE ?= release
CARGO ?= cargo

out := target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
root := $(DESTDIR)$(PREFIX)

# Each installed file as SOURCE:FOLDER:MODE. A folder that a source tree does
# not have yet adds nothing.
programs := $(out)/dm-psad:sbin:755 $(out)/psactl:sbin:755 $(out)/dm-psa-id:lib/udev:755
data := \
	$(patsubst %,%:lib/udev/rules.d:644,$(wildcard udev-rules/*.rules)) \
	$(patsubst %,%:lib/systemd/system:644,$(wildcard systemd/*.service systemd/*.socket)) \
	$(patsubst %,%:lib/tmpfiles.d:644,$(wildcard systemd/tmpfiles.d/*.conf)) \
	$(patsubst %,%:lib/modules-load.d:644,$(wildcard systemd/modules-load.d/*.conf))
installed := $(programs) $(data)

source = $(word 1,$(subst :, ,$(1)))
folder = $(word 2,$(subst :, ,$(1)))
mode = $(word 3,$(subst :, ,$(1)))

.PHONY: build install uninstall lab-image demo test

build:
	$(CARGO) build --locked --profile $(PROFILE) --bins

install:
	$(foreach f,$(installed),install -D -m $(call mode,$(f)) $(call source,$(f)) $(root)/$(call folder,$(f))/$(notdir $(call source,$(f))) &&) true

uninstall:
	rm -f $(foreach f,$(installed),$(root)/$(call folder,$(f))/$(notdir $(call source,$(f))))

lab-image:
	tests/lab/host/image 6.1 6.12 7

demo:
	tests/lab/run tests/lab/demo.sh

test:
	$(CARGO) test --locked
	tests/lab/self/all
