# Two commands: `make demo` runs the whole loop on this machine, `make test` runs the tests. Both set up what they need.
.DEFAULT_GOAL := help
.PHONY: help install demo demo-check test check lint definition lock format clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ANNOTATE ?= 1
IMAGES ?=
LABELS ?=
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# A stamp is written only when its install ended well, so an install that was cut off is repeated.
$(VENV)/.demo: requirements-local.txt requirements-torch.txt
	@echo "install: the backend and local SageMaker into $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP_INSTALL) -r requirements-torch.txt
	@$(PIP_INSTALL) -r requirements-local.txt
	@$(PIP_INSTALL) --no-deps label-studio-ml==1.0.9
	@touch $@

$(VENV)/.dev: $(VENV)/.demo requirements-dev.txt
	@echo "install: the test tools into $(VENV) (a few minutes the first time)"
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@

.venv-label-studio/.done: requirements-label-studio.txt
	@echo "install: Label Studio into .venv-label-studio (a few minutes the first time)"
	@test -x .venv-label-studio/bin/python && .venv-label-studio/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv-label-studio
	@.venv-label-studio/bin/pip install --quiet --disable-pip-version-check -r requirements-label-studio.txt
	@touch $@

install: $(VENV)/.dev .venv-label-studio/.done  ## Install everything into virtual environments in this folder

demo: $(VENV)/.demo .venv-label-studio/.done  ## Run the whole loop here and keep it running (ANNOTATE=0: you label; IMAGES=folder LABELS=a,b: your photos)
	@$(BIN)/python -m demo run --annotate $(ANNOTATE) $(if $(IMAGES),--images "$(IMAGES)") $(if $(LABELS),--labels "$(LABELS)")

demo-check: $(VENV)/.demo .venv-label-studio/.done  ## The same without a person: measures, takes a screenshot, fails if a step fell short
	@$(BIN)/python -m demo check

test: $(VENV)/.dev .venv-label-studio/.done  ## Run the tests
	@$(BIN)/python -m pytest --cov

check: lint test  ## What CI checks: code, types, imports, the pipeline's definition, tests

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pipeline check

definition: $(VENV)/.dev  ## Render pipeline/definition.json from pipeline/definition.py
	@$(BIN)/python -m pipeline render

lock:  ## Resolve pyproject.toml anew into requirements*.txt (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-header --extra local --extra dev pyproject.toml -o requirements-dev.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --extra local -c requirements-dev.txt pyproject.toml -o requirements-local.txt
	uv pip compile --quiet --universal --generate-hashes --no-header -c requirements-dev.txt pyproject.toml -o requirements.txt
	echo 'label-studio==1.23.2' | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header - -o requirements-label-studio.txt

format: $(VENV)/.dev  ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

clean:  ## Remove the demo's data (not the environments)
	rm -rf .demo
