# Every task of this repository. `make` lists them.
#
# Tools go to a cache outside the checkout, keyed by version, so that a second clone installs nothing.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
PYTHON ?= python3
MAVEN ?= mvn
CARGO_DENY_VERSION := 0.20.2

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/scim-operator
REQUIREMENTS := tests/clients/requirements.txt
# A change of the pinned versions makes another environment.
VENV := $(CACHE)/clients-$(shell cksum < $(REQUIREMENTS) | cut -d' ' -f1)
VENV_READY := $(VENV)/.ready
# Java clients: a folder of jars for each folder with a pom.xml.
POMS := tests/clients/scim-sdk/pom.xml tests/clients/unboundid/pom.xml
JARS := $(CACHE)/clients-java-$(shell cat $(POMS) | cksum | cut -d' ' -f1)
JARS_READY := $(JARS)/.ready
KEYCLOAK_VERSION := 26.4.7
KEYCLOAK := $(CACHE)/keycloak-$(KEYCLOAK_VERSION)
KEYCLOAK_READY := $(KEYCLOAK)/.ready
CARGO_DENY := $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny

# The tests that drive other people's clients find them here; without it they fail and say so.
export SCIM_CLIENTS_VENV := $(VENV)
export SCIM_CLIENTS_JARS := $(JARS)
# The authorization server of a test.
export SCIM_KEYCLOAK := $(KEYCLOAK)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ The two that matter

.PHONY: run
run: ## Serve examples/quickstart on 127.0.0.1:8080
	$(CARGO) run --release -- serve --manifests examples/quickstart

.PHONY: test
test: ## Install what is needed and pass every test
	$(MAKE) tools
	$(MAKE) lint
	$(MAKE) unit
	$(MAKE) quickstart
	$(MAKE) operator-test

##@ Parts of `make test`

.PHONY: tools
tools: $(VENV_READY) $(JARS_READY) $(KEYCLOAK_READY) $(CARGO_DENY) kube postgres ## Install the Python and Java clients, Keycloak, PostgreSQL and cargo-deny, build Kubernetes

$(VENV_READY): $(REQUIREMENTS)
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(REQUIREMENTS)
	$(VENV)/bin/python -m pip check
	touch $@

$(JARS_READY): $(POMS)
	rm -rf $(JARS)
	for pom in $(POMS); do \
		$(MAVEN) --quiet --batch-mode --file $$pom dependency:copy-dependencies \
			-DoutputDirectory=$(JARS)/$$(basename $$(dirname $$pom)); \
	done
	touch $@

# A debug build: it runs for a second, and an optimised one would compile for minutes.
$(CARGO_DENY):
	env -u CARGO_TARGET_DIR $(CARGO) install --locked --debug --no-default-features --quiet \
		--root $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION) cargo-deny@$(CARGO_DENY_VERSION)

# The script knows whether there is anything to build; the tests ask it where the result is.
.PHONY: kube
kube: ## Build the parts of Kubernetes that tests run, from source (6 minutes, once)
	tests/cluster/build.sh >/dev/null

.PHONY: postgres
postgres: ## Install PostgreSQL and PgBouncer (needs root, once)
	scripts/install-postgres.sh

$(KEYCLOAK_READY): scripts/install-keycloak.sh
	scripts/install-keycloak.sh $(KEYCLOAK_VERSION) $(KEYCLOAK)

.PHONY: lint
lint: $(CARGO_DENY) ## Formatting, clippy, documentation, licences and duplicate dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --profile test --all-targets -- -D warnings
	$(CARGO) clippy --locked --profile test --test operator -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --profile test --no-deps --document-private-items --quiet
	$(CARGO_DENY) --locked check --hide-inclusion-graph bans licenses sources

# One build serves everything below: tests that need the running server start the binary of the dev
# profile, which cargo has just built beside them.
.PHONY: unit
unit: $(VENV_READY) $(JARS_READY) $(KEYCLOAK_READY) kube postgres ## All cargo tests: units, properties, clients, crash, concurrency, API server
	$(CARGO) test --locked
	STORE=postgres $(CARGO) test --locked --test protocol

.PHONY: quickstart
quickstart: build ## Start the release binary on examples/quickstart and do what the README does
	scripts/quickstart.sh

.PHONY: operator-test
operator-test: kube image ## The operator on a real cluster: scenarios, quickstart, faults (needs root; ONLY=words)
	$(CARGO) test --locked --test operator -- $(ONLY)

##@ Longer proofs

.PHONY: clients
clients: $(VENV_READY) $(JARS_READY) ## Only the clients that other people wrote, against the server
	$(CARGO) test --locked --test e2e clients -- --nocapture

.PHONY: keycloak
keycloak: $(KEYCLOAK_READY) ## Only the session with tokens of a real Keycloak
	$(CARGO) test --locked --test e2e keycloak -- --nocapture

ROUNDS ?= 250
.PHONY: crash
crash: ## kill -9 under load, ROUNDS=250 times
	CRASH_ROUNDS=$(ROUNDS) $(CARGO) test --locked --test e2e crash -- --nocapture

CASES ?= 20000
.PHONY: fuzz
fuzz: ## Every property test with CASES=20000 cases
	PROPTEST_CASES=$(CASES) $(CARGO) test --locked --release --lib --test fuzz --test store

.PHONY: bench
bench: kube ## Measure against the floors; prints a table, writes bench-results/ (BENCH_ARGS=--quick)
	$(CARGO) bench --locked --profile release --bench serve -- $(BENCH_ARGS)
	$(CARGO) bench --locked --profile release --bench operator -- $(BENCH_ARGS)

.PHONY: advisories
advisories: $(CARGO_DENY) ## Known vulnerabilities among the dependencies (fetches the advisory database)
	$(CARGO_DENY) --locked check advisories

##@ A cluster on this machine (tests/cluster/README.md)

.PHONY: cluster
cluster: image ## Kubernetes with the operator and examples/cluster, from nothing to a URL that answers (needs root)
	tests/cluster/cluster.sh up
	tests/cluster/install.sh $(IMAGE)

.PHONY: cluster-down
cluster-down: ## Stop it, and leave nothing behind
	tests/cluster/cluster.sh down

.PHONY: cluster-check
cluster-check: image ## Bring it up, try our image and every command of docs/install.md, crash it, and compare the machine
	tests/cluster/cluster.sh check $(IMAGE)

##@ Housekeeping

.PHONY: build
build: ## The release binary
	$(CARGO) build --locked --release

IMAGE := $(or $(CARGO_TARGET_DIR),target)/scim-operator-image.tar
.PHONY: image
image: build ## The container image as an OCI layout, without a container engine
	scripts/image.sh $(IMAGE)

.PHONY: generate
generate: ## Regenerate crds/, docs/reference/ and what the chart has of them
	$(CARGO) run --locked --quiet -- crd --output-dir crds
	$(CARGO) run --locked --quiet -- crd --output-dir charts/scim-operator/files/crds
	$(CARGO) run --locked --quiet -- crd --reference-dir docs/reference
	scripts/chart-readme.py

.PHONY: clean
clean: ## Remove build output and the tools' cache
	$(CARGO) clean
	rm -rf $(CACHE)
