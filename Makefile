# Everything there is to do with the hub. `make help` lists it.

CARGO ?= cargo
HUB_URL ?= http://localhost:8080
TARGET := $(or $(CARGO_TARGET_DIR),target)
NODES ?= 4
RELEASE := $(TARGET)/release/hub

.PHONY: help run cluster build test check demo bench rehearse audit fuzz clean tools

help: ## List what there is to do
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## Build a hub and start it on http://localhost:8080, with its data in ./data
	@./demo/hints.sh "$(HUB_URL)"
	@exec $(RELEASE) serve

cluster: ## Run NODES (4) hubs, ZooKeeper and HAProxy on http://localhost:8080, all in ./cluster-data
	@./tools/need.sh zookeeper haproxy
	$(CARGO) build --release --locked --package hub --package cluster-tests --bin hub --bin hub-cluster
	@exec $(TARGET)/release/hub-cluster --nodes $(NODES) --dir cluster-data

build: ## Build the hub for use
	$(CARGO) build --release --locked --package hub

test: ## Run every test (on Debian it installs ZooKeeper, HAProxy, nftables, dnsmasq and Python)
	./tools/test.sh

check: tools ## Formatting, lints, docs, licences and sources
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	$(CARGO) deny --offline check licenses bans sources

demo: build ## Load a month of real flights into a running hub, and query it
	HUB_URL="$(HUB_URL)" HUB_BIN=$(RELEASE) ./demo/run.sh

bench: build ## Measure the hub beside a bare server that does nothing, and a cluster beside one hub
	@./tools/need.sh zookeeper
	$(CARGO) build --release --locked --package hub-bench --package cluster-tests
	$(TARGET)/release/hub-bench compare --hub $(RELEASE) $(BENCH_ARGS)
	HUB_BIN=$(RELEASE) $(TARGET)/release/rehearse speed

rehearse: ## Put hubs under faults at full size (long; some of it needs root)
	@./tools/need.sh zookeeper haproxy network python clients
	$(CARGO) build --profile rehearse --locked --package hub --package cluster-tests --features hub/faults
	HUB_BIN=$(TARGET)/rehearse/hub $(TARGET)/rehearse/rehearse all
	./tools/openapi.sh full $(TARGET)/rehearse/hub
	$(CARGO) run --release --locked --package hub-protocol-model -- --full
	$(CARGO) test --release --locked --package hub-ring -- --ignored
	$(CARGO) test --release --locked --package hub --lib --test api -- --ignored
	HUB_TEST_TIMES=1 $(CARGO) test --release --locked --package hub --lib --test zookeeper -- peer:: channels:: --test-threads 1

audit: tools ## Look for advisories against dependencies (needs a network)
	$(CARGO) deny check advisories

fuzz: ## Fuzz every target for a minute (needs a nightly toolchain)
	./tools/fuzz.sh

clean: ## Remove what was built; ./data stays
	$(CARGO) clean

tools:
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
