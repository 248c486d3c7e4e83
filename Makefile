# Everything a checkout needs: 'make help' lists the targets. Each makes or reuses one virtual environment.
#
#   PYTHON  the Python to make it with (3.11 or newer)
#   TORCH   the torch that some tests compare with; any requirement that pip understands
#   ARGS    more arguments for pytest: make test ARGS="-k kitti -x"

VENV   ?= .venv
PYTHON ?= python3
TORCH  ?= torch==2.13.0
ARGS   ?=

# How long each reader is fuzzed, and how often each command is killed: 12 makes more than 200 in all.
SECONDS ?= 60
KILLS   ?= 12

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PIP_NO_INPUT = 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench fuzz faults clean FORCE
.DELETE_ON_ERROR:

help:
	@echo 'make demo    the tour on drawn scenes, into demo/ (about a minute, with the first installation)'
	@echo 'make test    all functional tests'
	@echo 'make lint    ruff and mypy'
	@echo 'make bench   speed and memory against a reference (some minutes)'
	@echo 'make fuzz    damaged files into every reader, SECONDS each (an hour)'
	@echo 'make faults  kills, full disks, lost permissions: KILLS of each command that writes (some minutes)'
	@echo 'make clean   remove the environment and what was built'

demo: $(VENV)/.stamp-base
	$(BIN)/curate demo -o demo --overwrite
	@echo 'Look at it: $(CURDIR)/demo/index.html'

test: $(VENV)/.stamp-dev
	$(BIN)/python -m pytest -m 'not benchmark' $(ARGS)

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.stamp-dev
	$(BIN)/python -m pytest -m benchmark tests/benchmarks $(ARGS)

fuzz: $(VENV)/.stamp-dev
	CURATE_FUZZ_SECONDS=$(SECONDS) $(BIN)/python -m pytest tests/fuzz $(ARGS)

faults: $(VENV)/.stamp-dev
	CURATE_KILLS=$(KILLS) $(BIN)/python -m pytest tests/faults $(ARGS)

clean:
	rm -rf $(VENV) build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A stamp stands for a finished installation; it is newer than what it was made from.

$(VENV)/.stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "curate needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1);" \
	       "name another one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "the environment could not be made; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.stamp-base: pyproject.toml | $(VENV)/.stamp-venv
	@echo 'Installing curate into $(VENV) ...'
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml $(VENV)/.torch | $(VENV)/.stamp-venv
	@echo 'Installing $(TORCH), curate and the tools for its tests into $(VENV) ...'
	@$(PIP) install '$(TORCH)' || { \
	  echo "'$(TORCH)' is not to be had here; name another one: make $(MAKECMDGOALS) TORCH=torch" >&2; exit 1; }
	@$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.stamp-base

# Holds the value of TORCH, and changes only with it.
$(VENV)/.torch: FORCE | $(VENV)/.stamp-venv
	@[ "$$(cat $@ 2>/dev/null)" = '$(TORCH)' ] || echo '$(TORCH)' > $@
