# `make demo` and `make test` create their own environment. `make help` lists the rest.
SHELL := /bin/bash
VENV ?= .venv
ARGS ?=
PYTHON_ = $(VENV)/bin/python
export VENV
export PYTHONPATH := src$(if $(PYTHONPATH),:$(PYTHONPATH))

# Budget of each suite, and its pytest processes: SUITE=SECONDS[/PROCESSES].
# Fast is unit, tables, property and fuzz.
BUDGET_FAST ?= 300/2
BUDGET_WORLD ?= 240/2
BUDGET_INTEROP ?= 300/2
BUDGET_CRASH ?= 180
BUDGET_BROWSER ?= 240
BUDGET_REST ?= 480/2
SUITES ?= fast=$(BUDGET_FAST) world=$(BUDGET_WORLD) interop=$(BUDGET_INTEROP) \
  crash=$(BUDGET_CRASH) browser=$(BUDGET_BROWSER) \
  rest=$(BUDGET_REST)
SOAK_SUITES ?= fast=3600/2 world=14400/2 interop=3600 crash=14400 browser=3600 rest=3600
FUZZ_SECONDS ?= 60
# The unit tests run a second time, on the other end of the range of Python versions.
VERSION_ = $(shell $(PYTHON_) --version 2>&1)
UNIT_ELSEWHERE ?= unit@$(if $(findstring 3.13,$(VERSION_)),3.11,3.13)=$(BUDGET_FAST)

.PHONY: help demo test check format bench fuzz soak lock environment clean

help: ## This list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: ## Cloud, Link and a simulated hospital on this machine; ARGS=--once ends after the story
	@tools/environment demo && $(PYTHON_) -m swallowtail demo $(ARGS); \
	status=$$?; echo "demo: $$SECONDS s from make to exit"; exit $$status

test: check ## Check, then every suite within its budget; unit tests on two versions of Python
	@tools/debian-packages
	@tools/ohif
	@$(PYTHON_) -m tools.suites $(SUITES) $(UNIT_ELSEWHERE)

check: environment ## Style, types, import contracts, sizes, language, content of files
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --explicit-package-bases tools
	$(VENV)/bin/lint-imports --no-logo
	$(PYTHON_) tools/sizes.py
	$(PYTHON_) tools/tracked.py
	$(PYTHON_) tools/sleeps.py
	$(PYTHON_) tools/language.py

format: environment ## Put every file into the form that check asks for
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

bench: environment ## Side-by-side benchmarks; ARGS="--json FILE", ARGS=--full
	@tools/debian-packages
	@exec $(PYTHON_) -m bench $(ARGS)

soak: environment ## Every test, slow ones and all seeds included: hours
	@tools/debian-packages
	@tools/ohif
	@SWALLOWTAIL_SOAK=1 $(PYTHON_) -m tools.suites --reports .make/soak $(SOAK_SUITES)
	@$(PYTHON_) -m bench --only slow

fuzz: ## Each fuzz target for FUZZ_SECONDS; ARGS=NAME for one; what breaks it stays in .make/fuzz
	@tools/environment fuzz
	@tools/fuzz $(FUZZ_SECONDS) $(ARGS)

lock: environment ## Resolve requirements/*.lock anew
	@[ -x .make/uv/bin/uv ] || \
	  $(PYTHON_) -m pip install -qq --disable-pip-version-check --target .make/uv uv
	@tools/lock .make/uv/bin/uv

environment: ## The environment for development, in .venv
	@tools/environment dev

clean: ## Remove the environment and everything that was made
	rm -rf .make .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	[ -L $(VENV) ] || rm -rf $(VENV)
