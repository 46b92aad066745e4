# Apportion's everyday commands. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Queries are checked against the prepared data in .sqlx, so that a build needs no database, whatever
# DATABASE_URL says.
export SQLX_OFFLINE := true

BIN := $(or $(CARGO_TARGET_DIR),target)/debug/apportion

# Said whatever was built before: other flags or features build anew.
say-build := @echo "Building Apportion: the first build takes minutes, later ones seconds."

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: prepare ## the whole way on real parts: a month of usage to a statement, served until Ctrl-C
	$(say-build)
	@cargo build --locked
	@scripts/services run demo -- $(BIN) demo

.PHONY: test
test: prepare ## every test, against a Postgres and a Kafka of their own
	$(say-build)
	@cargo test --locked --no-run
	@# optimised, for thousands of random histories
	cargo test --locked --no-default-features --config profile.test.package.apportion.opt-level=1 --test audit
	@scripts/services prometheus
	@# most of these wait, for servers and for time to pass
	@RUST_TEST_THREADS=$$((2 * $$(nproc))) scripts/services run test -- cargo test --locked
	@# databases that are dropped at the end: nothing of them need reach the disk
	@POSTGRES_FSYNC=off SCENARIOS_VIA=service scripts/services run --only postgres scenarios -- \
		cargo test --locked --test scenarios figures_by_hand

.PHONY: check
check: fmt-check clippy test-pure ## formatting, clippy with warnings denied, and the tests that need no services

.PHONY: fmt-check
fmt-check: prepare
	cargo fmt --check

.PHONY: clippy
clippy: prepare
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --no-default-features -- -D warnings

.PHONY: test-pure
test-pure: prepare
	@# optimised, for thousands of random histories
	cargo test --locked --no-default-features --config profile.test.package.apportion.opt-level=1

.PHONY: histories
histories: prepare ## 100,000 random histories against the auditor (HISTORIES=N, SEED=S); minutes to hours
	HISTORIES=$(or $(HISTORIES),100000) cargo test --locked --release --no-default-features --test audit -- --nocapture

.PHONY: fuzz
fuzz: prepare ## ten million changed records through every decoder (INPUTS=N, SEED=S); minutes
	INPUTS=$(or $(INPUTS),10000000) cargo test --locked --release --no-default-features --test fuzz -- --nocapture --test-threads 1

.PHONY: soak
soak: prepare ## three brokers, a Postgres and three consumers under every fault, for an hour (MINUTES=N, SEED=S)
	$(say-build)
	@MINUTES=$(or $(MINUTES),60) cargo test --locked --test service whatever_befalls_three_brokers -- --nocapture

.PHONY: mutants
mutants: prepare ## do the tests notice mistakes in the rules? 300 of them (COUNT=N, SEED=S), by cargo-mutants; hours
	@scripts/mutants $(or $(COUNT),300) $(or $(SEED),1)

DUCKDB := .local/lib/duckdb

.PHONY: bench-engine
bench-engine: prepare ## how fast the engine is, beside DuckDB (needs Python and PyPI; not part of test)
	@[[ -x $(DUCKDB)/bin/python ]] || python3 -m venv $(DUCKDB)
	@$(DUCKDB)/bin/pip install --quiet --disable-pip-version-check duckdb==2.0.0
	@cargo bench --locked --no-default-features --bench engine --no-run
	@$(DUCKDB)/bin/python benches/engine.py "cargo bench --locked --quiet --no-default-features --bench engine" .local/charges.csv

.PHONY: bench-ingest
bench-ingest: prepare ## how fast usage is taken in, beside COPY, a merge and row-wise inserts (ARGS="--rounds 1"); not part of test
	@cargo bench --locked --bench ingest --no-run
	@scripts/services run bench -- cargo bench --locked --quiet --bench ingest -- $(ARGS)

.PHONY: up
up: ## start Postgres and Kafka and keep them running; `scripts/services env` tells where
	@scripts/services up

.PHONY: down
down: ## stop what `make up` started; the data stays
	@scripts/services down

.PHONY: interop
interop: prepare ## the API against its description, the doors against others' clients (PART=api or clients; needs Python)
	$(say-build)
	@cargo build --locked
	@scripts/interop $(PART)

.PHONY: openapi
openapi: prepare ## write openapi.json anew, after a change of the API
	@WRITE_OPENAPI=1 cargo test --locked --quiet --test service the_description_of_the_api

.PHONY: sqlx-prepare
sqlx-prepare: prepare ## write .sqlx anew, after a change of a query or a migration
	@scripts/sqlx prepare

.PHONY: sqlx-check
sqlx-check: prepare ## fail when .sqlx is not current
	@scripts/sqlx check

.PHONY: clean
clean: ## stop all services and delete their data, the downloads and what cargo built
	@scripts/services clean
	@cargo clean

# Internal: can this machine build Apportion? Installs a C++ compiler if there is none.
.PHONY: prepare
prepare:
	@scripts/prepare
