# ptft: every target works alone on a machine with Python 3.11 to 3.13 and make.
.DEFAULT_GOAL := help
SHELL := /bin/bash
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && exit; done; echo python3)
BIN := .venv/bin
READY := .venv/.ready
# On a busy machine idle OpenMP threads spin for seconds; tests compare bits, which depend on the number of threads.
SINGLE := OMP_NUM_THREADS=1

.PHONY: help install demo test test-slow check format bench clean

help:  ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(READY)  ## Make .venv with ptft and its tools (about two minutes; 6.6 GB of disk)

# Bytecode is compiled once: uv leaves that to each import, which never keeps it where PYTHONDONTWRITEBYTECODE is set.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "ptft needs Python 3.11 to 3.13, found %d.%d: name one with make PYTHON=python3.12 ..." % v)'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "this Python has no venv module: install it (Debian, Ubuntu: apt install python3-venv) and try again"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)  ## Pre-train, fine-tune and evaluate on real images, and compare with training from scratch
	@$(BIN)/python -m benchmarks.demo

test: $(READY)  ## Run the tests (minutes)
	@$(SINGLE) $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(READY)  ## Run the long tests too
	@$(SINGLE) $(BIN)/python -m pytest -m 'slow or not slow'

check: $(READY)  ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY)  ## Put the code into its standard form
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

bench: $(READY)  ## Measure speed and memory, as ratios to a bare PyTorch loop
	@$(SINGLE) $(BIN)/python -m benchmarks

clean:  ## Remove what the other targets made, but no run
	@rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
