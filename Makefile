# The commands of this repository. CI runs the same ones.

target := $(or $(CARGO_TARGET_DIR),target)
cargo := cargo
release := $(target)/release
debug := $(target)/debug
bench = $(cargo) bench --locked --workspace --bench headwater --

# The toolchain of rust-toolchain.toml or, where rustup cannot get that one, the default one, which
# cargo refuses if it is older than rust-version.
ifneq ($(shell $(cargo) --version >/dev/null 2>&1 && echo found),found)
export RUSTUP_TOOLCHAIN := $(firstword $(shell rustup default 2>/dev/null))
endif

.PHONY: up test soak bench peers data lint clean

# Set up what is missing, build, and run everything on this machine until Ctrl-C: make up
# ARGS="--replicas 3"
up:
	$(cargo) build --release --locked --workspace --bins
	@$(release)/headwater postgres >/dev/null 2>&1 || scripts/install-postgres.sh
	@exec $(release)/headwater up $(ARGS)

# Set up what is missing, and run every test: make test ARGS="-p headwater-cli"
test:
	$(cargo) build --locked --workspace --bins
	@$(debug)/headwater postgres >/dev/null 2>&1 || scripts/install-postgres.sh
	$(cargo) test --locked $(or $(ARGS),--workspace)

# Let clients and faults loose on a cluster for ten minutes, with an upgrade from the last release in the middle, and
# check the whole history; then play every fault scenario, long: make soak HEADWATER_SOAK_SECONDS=3600
soak: export HEADWATER_SOAK_SECONDS ?= 600
soak:
	$(cargo) build --locked --workspace --bins
	@$(debug)/headwater postgres >/dev/null 2>&1 || scripts/install-postgres.sh
	$(cargo) test --locked -p headwater-tests --test faults -- --nocapture --test-threads 1 \
		every_fault_and_an_upgrade every_scenario

# Measure everything beside its peers, in at most 20 minutes, and write BENCHMARKS.md; one scenario alone: make
# bench-commands; a smoke run of three minutes, which writes no page: make bench ARGS=--quick
bench: peers
	$(bench) $(ARGS)

bench-%: peers
	$(bench) $* $(ARGS)

# What the bench measures Headwater beside (tests/peers/): without it, it measures Headwater alone
peers:
	$(cargo) build --release --locked --workspace --bins --bench headwater
	@$(release)/headwater postgres >/dev/null 2>&1 || scripts/install-postgres.sh
	tests/peers/build.sh || echo "the peers cannot be built: measured without them" >&2

# Prepare data/sales.csv, a year of real retail sales, for `headwater load sales`
data:
	scripts/sales/prepare.sh

# Check format, lints (warnings as errors), and what is linked (deny.toml)
lint:
	@cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
	$(cargo) fmt --all --check
	$(cargo) clippy --locked --workspace --all-targets -- -D warnings
	scripts/deny/check.sh

# Remove what was built; the data of `make up` stays (headwater up --wipe)
clean:
	$(cargo) clean
