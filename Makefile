# Every target sets up what it needs on a machine with Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup test faults bench simulate demo lint lock clean

help: ## What can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.installed

$(VENV)/.installed: requirements/dev.txt requirements/compiler.txt pyproject.toml hatch_build.py $(wildcard streamsplit/native/*.c)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'StreamSplit needs Python 3.11 or newer: make PYTHON=/path/to/python3.11' >&2; exit 2; }
	@echo 'Setting up $(VENV) (about a minute the first time) ...'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@command -v $${CC:-cc} >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/compiler.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

lint: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

test: lint ## Every behaviour, each fault once or twice, on a real Kafka (minutes)
	@$(BIN)/pytest -n 2 --dist loadfile

faults: setup ## The same faults in large numbers (under an hour)
	@$(BIN)/pytest -m faults --override-ini addopts='-ra --strict-markers --strict-config --import-mode=importlib'

bench: setup ## Everything that is a time, a rate or a size, against the goals (ARGS=--quick: minutes)
	@$(BIN)/python -m benchmarks.run $(ARGS)

simulate: setup ## Whether the judge's statistics keep what they promise, by simulation (minutes; ARGS=--quick: two minutes)
	@$(BIN)/python -m simulations.run $(ARGS)

demo: setup ## Real flights, three new models, each promoted or taken back by itself, and the proof
	@$(BIN)/python examples/demo.py

lock: setup ## Renew requirements/dev.txt
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements/dev.txt -q
	@echo ziglang | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements/compiler.txt -q

clean: ## Remove what was built here
	@rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
