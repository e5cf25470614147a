# SPDX-License-Identifier: GPL-2.0
#
# Everything is built and tested in a Debian root that tools/build/run makes on first use and keeps
# in a cache outside the clone; the host needs root, make and mmdebstrap. With KDIR= there is no
# root: the host's own compilers build against that kernel tree.

KERNEL_TARGET ?= backports
KERNEL_TARGETS ?= backports 7.2
export KERNEL_TARGET KERNEL_TARGETS KERNEL GATEWAYS JOBS WERROR DESTDIR

RUN := tools/build/run
CARGO_FLAGS := --locked --manifest-path tools/Cargo.toml

ifdef KDIR
MODULE := tools/build/module $(KDIR)
TOOLS := tools/build/host-cargo
DOCUMENTS := tools/build/documents
BIN := build/host/release
else
MODULE := $(RUN) --for-kernel tools/build/module /kernel/build
TOOLS := $(RUN) cargo
DOCUMENTS := $(RUN) tools/build/documents
BIN := build/cargo/release
endif

.PHONY: all
all: module tools

.PHONY: module
module:
	$(MODULE) modules

.PHONY: samples
samples:
	$(MODULE) CONFIG_SHEEPDOG_SAMPLES=m modules

.PHONY: all-kernels
all-kernels:
	set -e; for target in $(KERNEL_TARGETS); do $(MAKE) KERNEL_TARGET=$$target samples; done

.PHONY: tools
tools:
	$(TOOLS) build --release $(CARGO_FLAGS)

# What is installed beside the programs: the module in build/stage, manual pages and completion in
# build/share.
.PHONY: stage
stage: module tools
	rm -rf build/stage
	$(MODULE) modules_install INSTALL_MOD_STRIP=1 CONFIG_MODULE_SIG_ALL= DEPMOD=true
	$(DOCUMENTS) $(BIN)

# Installs into DESTDIR, without it into the running system.
.PHONY: install
install: stage
	tools/build/install $(BIN)

# What virtual machines are made of; vmtest (tools/vmtest) boots them.
# SCALE multiplies the limits of tests, for a slow or busy host.
VM := $(RUN) --kernels --with vm-root tools/build/vm
SCALE ?= 1

.PHONY: vm-ready
vm-ready: all-kernels tools
	$(MAKE) KERNEL_TARGET=$(firstword $(KERNEL_TARGETS)) stage

.PHONY: vm-test
vm-test: vm-ready
	$(VM) run --scale $(SCALE)

# From insmod to rmmod in one machine, step by step, with times and speeds (tools/demo/in-the-vm).
.PHONY: demo
demo: KERNEL_TARGETS := $(KERNEL_TARGET)
demo: vm-ready
	$(VM) exec --memory 1024 --limit 900 --file tools/demo/in-the-vm=demo bash /host/demo

.PHONY: smoke
smoke: KERNEL_TARGETS := $(KERNEL_TARGET)
smoke: vm-ready
	$(VM) run --scale $(SCALE) --smoke

# KILL, START, STOP and CONT are shell commands that do that to the cluster's first gateway; without
# them, tests that need it are skipped.
lower = $(shell echo $(1) | tr A-Z a-z)
.PHONY: test-cluster
test-cluster: vm-ready
	@test -n "$(GATEWAYS)" || { echo 'name the cluster: make test-cluster GATEWAYS=192.0.2.1:7000,...' >&2; exit 1; }
	$(VM) run --scale $(SCALE) --gateways "$(GATEWAYS)" $(foreach event,KILL START STOP CONT,\
		$(if $($(event)),--event "$(call lower,$(event))=$($(event))"))

# The same tests, and those in tools/tests/debug, on a kernel that watches itself: lockdep, KASAN,
# kmemleak, and memory that can be made to fail. It needs more time and more memory.
.PHONY: test-debug
test-debug: KERNEL_TARGET := debug
test-debug: KERNEL_TARGETS := debug
test-debug: SCALE := 6
test-debug: vm-ready
	$(VM) run --scale $(SCALE) --memory-scale 3 $(if $(FILTER),--filter '$(FILTER)') \
		--tests tools/tests --tests tools/tests/debug --skip tools/tests/debug/skipped \
		$(if $(FULL),--append sheepdog_tests=full)

# Clients that others wrote: QEMU's tools with its Sheepdog driver, and tgt.
.PHONY: interop
interop: KERNEL_TARGETS := $(KERNEL_TARGET)
interop: vm-ready
	$(RUN) --kernels --with vm-root --with qemu tools/interop/suite

# /dev/sheepa against the kernel's nbd (tools/bench/run).
BENCH ?= instructions free
TURNS ?= 5
CONNECTIONS ?= 1
.PHONY: bench
bench: KERNEL_TARGETS := $(KERNEL_TARGET)
bench: vm-ready
	$(RUN) --kernels --with vm-root \
		env TURNS=$(TURNS) CONNECTIONS=$(CONNECTIONS) tools/bench/run $(BENCH)

# The long forms of the tests that run out of memory and of time, turn about (tools/build/soak).
MINUTES ?=
HOURS ?= 1
.PHONY: soak
soak: KERNEL_TARGETS := $(KERNEL_TARGET)
soak: vm-ready
	SCALE=$(SCALE) tools/build/soak $(or $(MINUTES),$(shell echo $$(($(HOURS) * 60))))

# Every parser of what others send, guided by coverage (tools/fuzz), each for so many seconds.
FUZZ_SECONDS ?= 60
FUZZ ?=
.PHONY: fuzz
fuzz:
	$(RUN) tools/build/fuzz $(FUZZ_SECONDS) $(FUZZ)

.PHONY: lint
lint:
	$(RUN) --for-kernel tools/build/lint

.PHONY: test
test:
	tools/build/test

.PHONY: clean
clean:
	rm -rf build

.PHONY: clean-cache
clean-cache:
	tools/build/clean-cache

.PHONY: help
help:
	@cat tools/build/help
