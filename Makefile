# `make demo` and `make test` each need Python 3.10 or newer and nothing else. GNU make 3.81 (macOS) is enough.
#
#   PYTHON=/path/to/python3   the Python that .venv is made from (default: the first on PATH that is new enough)
#   VENV=folder               another place for the environment
#   ARGS='-k pack -x'         more arguments for pytest, or for the benchmarks: ARGS='query peers'

VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin

# The demo and the tests start many short processes: without stored bytecode each of them pays seconds.
unexport PYTHONDONTWRITEBYTECODE

# Two targets of one call would install into one environment at once.
.NOTPARALLEL:
.PHONY: help demo test faults fuzz check format bench bench-peers clean

help:
	@echo "make demo         record a sweep of real training runs, then show, compare, fetch and copy them"
	@echo "make test         run the tests"
	@echo "make faults       run the tests of every fault: each system call, power cuts, crowds; some 20 minutes"
	@echo "make fuzz         search for bytes that a parser cannot cope with, a minute for each (ARGS='--seconds 10 table')"
	@echo "make check        formatting, lint, types and the layers of the source"
	@echo "make format       format the source and apply the lint rules' safe fixes"
	@echo "make bench        print the benchmark table, with that of the peers that are installed"
	@echo "make bench-peers  install the peers to compare with, each into an environment of its own below .venv-peers"
	@echo "make clean        delete the environments and what the tools keep"

demo: $(VENV)/.has-demo
	@$(BIN)/tracker demo

# A process a core, whole files each: what a file records once is not recorded by both.
test: $(VENV)/.has-test
	@$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile $(ARGS)

# Traced and mounted as root; what this machine does not allow is skipped with its reason.
faults: $(VENV)/.has-faults
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -m exhaustive $(ARGS)

fuzz: $(VENV)/.has-fuzz
	@$(BIN)/python -m tests.fuzz $(ARGS)

check: $(VENV)/.has-lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.has-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.has-test
	@$(BIN)/python -m tests.benchmarks $(ARGS)

# One that cannot be installed stops nothing: the table says why it is not in it.
bench-peers: $(VENV)/.has-test
	@$(BIN)/python -m tests.benchmarks.peers.environments

clean:
	rm -rf $(VENV) .venv-peers build dist .fuzz .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find objstore tracker tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each set of packages: a second call starts at once, and a change of pyproject.toml installs anew.
$(VENV)/.has-demo: EXTRAS := demo
$(VENV)/.has-test: EXTRAS := test
$(VENV)/.has-faults: EXTRAS := test,faults
$(VENV)/.has-fuzz: EXTRAS := test,fuzz
$(VENV)/.has-lint: EXTRAS := test,lint
$(VENV)/.has-demo $(VENV)/.has-test $(VENV)/.has-faults $(VENV)/.has-fuzz $(VENV)/.has-lint: pyproject.toml
	@PYTHON='$(PYTHON)' sh .ci/environment '$(VENV)' '$(EXTRAS)'
	@touch $@
