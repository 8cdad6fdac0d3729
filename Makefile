# attnlab: `make help` lists the targets. Everything is installed into ./.venv, from requirements.lock, by uv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow soak check lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

setup: $(READY)  ## install everything into ./.venv

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "attnlab needs Python 3.11 or newer as '$(PYTHON)'; found: $$($(PYTHON) --version 2>&1)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv: on Debian or Ubuntu, 'apt-get install python3-venv' brings it" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## train none, se, ise, cbam, icbam with 3 seeds, judge where they look, print the table
	@$(BIN)/python -m attnlab.run table=demo
	@$(MAKE) --silent outputs/tables/demo_maps.png
	@$(BIN)/python -m attnlab.report table=demo source=outputs notes=false

outputs/tables/demo_maps.png: $(wildcard outputs/*/result.json)  # once for the same runs
	@$(BIN)/python -m attnlab.judge table=demo parts=localisation,health images=200
	@$(BIN)/python -m attnlab.look table=demo images=8 > /dev/null

test: $(READY)  ## run the tests, but for the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

test-slow: $(READY)  ## run the slow tests: notebooks, faults, several processes, Slurm
	$(BIN)/python -m pytest -n 3 -m slow

soak: $(READY)  ## the long form of the tests of faults: 20 kills, 1,000 fuzzed configs; half an hour and more
	ATTNLAB_SOAK=1 $(BIN)/python -m pytest tests/faults

check: $(READY)  ## ruff, types, and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

lock: $(READY)  ## resolve requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes --no-header \
	  --python-version 3.11 --quiet --output-file requirements.lock

clean:  ## remove the environment and caches; outputs/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
