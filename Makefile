# Needs Python 3.10+ and make; everything else is installed by the targets, once, into .venv*.
# `make help` lists the targets.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

# The first Python from 3.10 on that can make virtual environments.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10 python3.14 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)

BIN := .venv/bin
# Test workers: one per core.
JOBS ?= auto
# Extra arguments for pytest, for example `make test ARGS="-k headers"`.
ARGS ?=
# Environments of the programs that tests start.
PEERS := .venv-agent/.stamp .venv-bench-ddtrace/.stamp .venv-instrumented/.stamp .venv-servers/.stamp

.PHONY: help browser install format lint typecheck imports test test-all cov bench bench-instructions bench-features bench-dependencies profile faults soak demo integration examples docs release-check all clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-18s %s\n", $$1, $$2 }'

install: .venv/.stamp  ## make .venv with the package and all development tools

format: .venv/.stamp  ## rewrite the code in the project's format
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format .

lint: .venv/.stamp  ## check style and format, and that no code is unused
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/vulture

typecheck: .venv/.stamp  ## mypy --strict and pyright
	$(BIN)/mypy
	$(BIN)/pyright

imports: .venv/.stamp  ## check that imports only point down
	$(BIN)/lint-imports

test: .venv/.stamp $(PEERS) browser  ## run all tests but the slow ones
	$(BIN)/pytest -n $(JOBS) -m "not slow" $(ARGS)

test-all: $(PEERS) browser  ## run the tests on every CPython 3.10-3.14 of this machine
	@$(call need-python)
	$(PYTHON) scripts/test_all.py -q -n $(JOBS) -m "not slow" $(ARGS)

cov: .venv/.stamp $(PEERS) browser  ## all tests, with the branch coverage gate
	rm -f .coverage .coverage.*
	COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml $(BIN)/pytest -n $(JOBS) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

integration: .venv/.stamp $(PEERS) browser  ## only the tests with the real test agent, ddtrace and child processes
	$(BIN)/pytest -n $(JOBS) -m integration $(ARGS)

examples: .venv/.stamp  ## run the small examples
	$(BIN)/pytest -q tests/test_docs.py -k example

demo: .venv-demo/.stamp  ## a distributed program, its traces read back and shown (KEEP=1 opens the page and keeps it up)
	.venv-demo/bin/python examples/shop/demo.py $(if $(KEEP),--keep)

# BENCH="ten-span inject" picks workloads, ROUNDS=3 shortens, CHECK=1 fails when a goal is missed, WRITE=1 puts the
# ratios into docs/explanation/performance.md.
bench: .venv-bench-ours/.stamp .venv-bench-ddtrace/.stamp .venv-bench-otel/.stamp  ## measure against ddtrace and the OpenTelemetry SDK
	.venv-bench-ours/bin/python benchmarks/compare.py $(BENCH) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(CHECK),--check) $(if $(WRITE),--write)

# BENCH=ten-span picks workloads; some minutes each. Needs valgrind.
bench-instructions: .venv-bench-ours/.stamp .venv-bench-ddtrace/.stamp .venv-bench-otel/.stamp  ## the same in instructions, for busy machines
	.venv-bench-ours/bin/python benchmarks/instructions.py $(BENCH)

# FEATURES="statistics v0.5" picks rows, ROUNDS=3 shortens, WRITE=1 puts the table into docs/explanation/performance.md.
bench-features: .venv-bench-ours/.stamp  ## measure what each feature costs, switched one at a time
	.venv-bench-ours/bin/python benchmarks/features.py $(FEATURES) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(WRITE),--write)

# ROUNDS=3 shortens, WRITE=1 puts the tables into docs/explanation/dependencies.md.
bench-dependencies: .venv-bench-ours/.stamp .venv-bench-encoders/.stamp  ## measure what dependencies cost, and others instead
	.venv-bench-ours/bin/python benchmarks/dependencies.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(WRITE),--write)

# SECONDS_EACH=60 lengthens each run; the table goes into docs/explanation/delivery.md.
faults: .venv/.stamp .venv-servers/.stamp  ## forks, exits and a misbehaving Agent, measured and written down
	$(BIN)/pytest -q tests/faults
	$(BIN)/python tests/faults/fault_runs.py --write --seconds $(or $(SECONDS_EACH),20)

# MINUTES=10 is the full length; WRITE=1 puts the table into docs/explanation/delivery.md.
soak: .venv/.stamp  ## full speed with faults coming and going: memory, threads and descriptors stay flat
	$(BIN)/python tests/faults/soak.py --minutes $(or $(MINUTES),10) $(if $(WRITE),--write)

# BENCH=ten-span picks the workload.
profile: .venv-bench-ours/.stamp  ## where our own time goes, by function
	.venv-bench-ours/bin/python benchmarks/profile_ours.py $(BENCH)

docs: .venv/.stamp  ## build the documentation into site/; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# TAG=v1.2.3 must be that of the version.
release-check: .venv-release/.stamp  ## build sdist and wheel, and run the README's example from the wheel
	.venv-release/bin/python scripts/release_check.py $(if $(TAG),--tag $(TAG))

all: lint typecheck imports test docs  ## everything a change must pass

clean:  ## remove what the targets made, environments included
	rm -rf .venv .venv-* build dist site htmlcov .coverage .coverage.* .*_cache

# The browser that the tests of the page use: installed where the system allows it; without it they are skipped.
browser:
	@command -v chromedriver >/dev/null 2>&1 && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "installing Chromium for the tests of the page"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium chromium-driver >/dev/null && exit 0; \
	fi; \
	echo "no Chromium with chromedriver: the tests of the page are skipped"

# One stamp per environment: complete, and newer than the requirements it was made from.
.venv/.stamp: pyproject.toml
	@$(call need-python)
	@$(PYTHON) scripts/environment.py .venv --editable --extras yaml --group dev

.venv-agent/.stamp:
	@$(call need-python)
	@$(PYTHON) scripts/environment.py .venv-agent --group agent

.venv-demo/.stamp: pyproject.toml
	@$(call need-python)
	@$(PYTHON) scripts/environment.py .venv-demo --editable --group demo

.venv-instrumented/.stamp: pyproject.toml
	@$(call need-python)
	@$(PYTHON) scripts/environment.py .venv-instrumented --editable --group instrumented

.venv-servers/.stamp: pyproject.toml
	@$(call need-python)
	@$(PYTHON) scripts/environment.py .venv-servers --editable --group servers

.venv-bench-ours/.stamp: pyproject.toml
	@$(call need-python)
	@$(PYTHON) scripts/environment.py .venv-bench-ours --editable

.venv-bench-encoders/.stamp: pyproject.toml
	@$(call need-python)
	@$(PYTHON) scripts/environment.py .venv-bench-encoders --editable --group bench-encoders

.venv-release/.stamp:
	@$(call need-python)
	@$(PYTHON) scripts/environment.py .venv-release --group release

.venv-bench-ddtrace/.stamp:
	@$(call need-python)
	@$(PYTHON) scripts/environment.py .venv-bench-ddtrace --group bench-ddtrace

.venv-bench-otel/.stamp:
	@$(call need-python)
	@$(PYTHON) scripts/environment.py .venv-bench-otel --group bench-otel

define need-python
test -n "$(PYTHON)" || { echo "No Python 3.10 or newer with the venv module was found (Debian: apt install python3-venv)."; exit 1; }
endef
