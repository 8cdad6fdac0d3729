# attnlab: `make help` lists the targets. Everything is installed into ./.venv, from requirements.lock, by uv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILED := $(VENV)/.compiled
# What the commands import, and those of its packages that need no torch. Importing them once writes their bytecode. That
# of all installed packages takes a minute; only the tests need it, which import more, each time in a new process.
IMPORTED := attnlab.demo, attnlab.training.train, attnlab.evaluation.suite, attnlab.evaluation.drawing.page, \
  attnlab.tables.figures
WITHOUT_TORCH := scipy.stats, scipy.signal, sklearn.linear_model, sympy, matplotlib.pyplot, pandas, great_tables, \
  statsmodels.stats.multitest, statsmodels.stats.weightstats, transformers

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
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@export PYTHONDONTWRITEBYTECODE=; $(BIN)/python -c 'import $(WITHOUT_TORCH)' & \
	  $(BIN)/python -c 'import $(IMPORTED)'; status=$$?; wait; exit $$status
	@touch $@

$(COMPILED): $(READY)
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # a few packages hold files that are no valid Python
	@touch $@

demo: $(READY)  ## train none, se, ise, cbam, icbam with 3 seeds, judge where they look, print the table
	@$(BIN)/python -m attnlab.demo

test: $(COMPILED)  ## run the tests, but for the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

test-slow: $(COMPILED)  ## run the slow tests: notebooks, faults, several processes, Slurm
	$(BIN)/python -m pytest -n 3 -m slow

soak: $(COMPILED)  ## the long form of the tests of faults: 20 kills, 1,000 fuzzed configs; half an hour and more
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
