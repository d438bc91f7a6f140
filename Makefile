# Bare `make` prints what there is. Each target is a line that you could type yourself.

PYTHON ?= python3
# Processes that run tests at once: one more than two cores, as tests of faults mostly wait.
TEST_PROCESSES ?= 3
# `make lock UPGRADE=--upgrade` takes the newest versions that pyproject.toml allows.
UPGRADE ?=
# `make bench ROWS="1 9"` measures these rows only.
ROWS ?=

BIN := .venv/bin
CONTESTANTS := .venv-bench
# Debian's python3 without python3-venv makes environments without pip: then its own pip serves.
PIP = $(shell test -x $(BIN)/pip && echo $(BIN)/pip || echo $(PYTHON) -m pip --python $(BIN)/python) \
	--disable-pip-version-check --quiet
PIP_OF_CONTESTANTS = $(shell test -x $(BIN)/pip && echo $(BIN)/pip || echo $(PYTHON) -m pip) \
	--python $(CONTESTANTS)/bin/python --disable-pip-version-check --quiet
COMPILE := $(BIN)/uv pip compile --no-config --system-certs --quiet \
	--universal --python-version 3.11 --only-binary :all: --generate-hashes \
	--no-header --no-annotate --no-emit-index-url
CODE := src tests $(wildcard docs examples benchmarks)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo serve test faults bench bench-full lint fmt docs lock clean

help: ## Print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: .venv/installed-runtime ## Make .venv with what Batchway needs to run

setup-dev: .venv/installed-dev ## Make .venv with what its tests need, too

demo: setup ## Import a thousand contacts as one batch, and look at the results
	$(BIN)/python examples/demo.py

serve: setup ## Start a server on 127.0.0.1:8080, with its data in ./batchway-data
	$(BIN)/batchway serve

test: lint ## Everything that a change must pass, on SQLite and PostgreSQL
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadscope

faults: setup-dev ## Kill processes at random and at every fault point, for long
	$(BIN)/python -m pytest -m long -o faulthandler_timeout=3600
	$(if $(wildcard tests/properties),$(BIN)/python -m pytest tests/properties --hypothesis-profile=long)

bench: setup-dev $(CONTESTANTS)/installed ## Measure Batchway beside others, in about 17 minutes
	$(BIN)/python benchmarks/bench.py $(if $(ROWS),--rows $(ROWS))

bench-full: setup-dev $(CONTESTANTS)/installed ## The same with the rows of a million operations
	$(BIN)/python benchmarks/bench.py --full $(if $(ROWS),--rows $(ROWS))

lint: setup-dev ## Check style and types
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

fmt: setup-dev ## Format the code, and correct what can be corrected safely
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

docs: setup-dev ## Check that the documentation agrees with the code
	$(BIN)/python -m pytest tests/test_docs.py

lock: setup-dev ## Pin what pyproject.toml asks for into requirements/ (UPGRADE=--upgrade: the newest)
	$(COMPILE) $(UPGRADE) pyproject.toml --group dev --output-file requirements/dev.txt
	$(COMPILE) pyproject.toml --group build --constraint requirements/dev.txt \
		--output-file requirements/runtime.txt
	$(COMPILE) $(UPGRADE) --group bench --output-file requirements/bench.txt
	! grep -n '://' requirements/*.txt

clean: ## Remove what the other targets made, but no data
	rm -rf tests/clients/node/node_modules
	rm -rf .venv $(CONTESTANTS) .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist src/*.egg-info
	find $(CODE) -name __pycache__ -prune -exec rm -rf {} +

.venv/installed-runtime: requirements/runtime.txt pyproject.toml | $(BIN)/python
	@echo "Installing what Batchway needs into .venv ..."
	@$(PIP) install --require-hashes --requirement requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/installed-dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing what Batchway and its tests need into .venv ..."
	@$(PIP) install --require-hashes --requirement requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch .venv/installed-runtime $@

# Made without pip: that of .venv, or else Python's own, installs into it.
$(CONTESTANTS)/installed: requirements/bench.txt | $(BIN)/python
	@echo "Installing what Batchway is compared with into $(CONTESTANTS) ..."
	@$(BIN)/python -m venv --without-pip $(CONTESTANTS)
	@$(PIP_OF_CONTESTANTS) install --require-hashes --requirement requirements/bench.txt
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Batchway needs Python 3.11 or newer, but $(PYTHON) is not." >&2; \
		echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv .venv; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then $(PYTHON) -m venv --without-pip .venv; \
	else echo "$(PYTHON) has neither venv nor pip." >&2; \
		echo "On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; fi
