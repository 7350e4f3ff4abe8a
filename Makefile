# Two commands: `make demo` runs the whole loop on this machine, `make test` runs the tests. Both set up what they need.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install reinstall env demo demo-check test bench bench-segmenter check lint definition lock format clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LABEL_STUDIO := .venv-label-studio
CHECKOV := .venv-checkov
ANNOTATE ?= 1
IMAGES ?=
LABELS ?=
REALSET ?= ../shared/realset
# No warnings of conflicts: label-studio-ml wants a Flask of 2020, and works with the one that is locked.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-conflicts

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# A stamp is written only when its install ended well, so an install that was cut off is repeated. It names what was
# installed: if some of that is gone since, the stamps are dropped here, before make looks at them.
drop_if_incomplete = $(shell test -x $(1)/bin/python && $(1)/bin/python -m demo.installed check $(2) || rm -f $(2))
ifneq ($(filter-out help clean env lock reinstall,$(MAKECMDGOALS)),)
$(call drop_if_incomplete,$(VENV),$(VENV)/.demo $(VENV)/.dev $(VENV)/.bench)
$(call drop_if_incomplete,$(LABEL_STUDIO),$(LABEL_STUDIO)/.done)
$(call drop_if_incomplete,$(CHECKOV),$(CHECKOV)/.done)
endif

# An environment that works, in which pip takes no package for installed of which a file is missing.
define environment
@test -x $(1)/bin/python && $(1)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(1)
@$(1)/bin/python -m demo.installed forget
endef

$(VENV)/.demo: requirements-local.txt requirements-torch.txt requirements-label-studio-ml.txt
	@echo "install: the backend and local SageMaker into $(VENV) (a few minutes the first time)"
	$(call environment,$(VENV))
	@$(PIP_INSTALL) -r requirements-torch.txt
	@$(PIP_INSTALL) -r requirements-local.txt
	@$(PIP_INSTALL) --no-deps -r requirements-label-studio-ml.txt
	@$(BIN)/python -m demo.installed list > $@

$(VENV)/.dev: $(VENV)/.demo requirements-dev.txt
	@echo "install: the test tools into $(VENV) (a few minutes the first time)"
	@$(PIP_INSTALL) -r requirements-dev.txt
	@$(BIN)/python -m demo.installed list > $@

$(VENV)/.bench: $(VENV)/.demo requirements-bench.txt
	@echo "install: what is measured beside ours into $(VENV) (a minute the first time)"
	@$(PIP_INSTALL) -r requirements-bench.txt
	@$(BIN)/python -m demo.installed list > $@

$(LABEL_STUDIO)/.done: requirements-label-studio.txt
	@echo "install: Label Studio into $(LABEL_STUDIO) (a few minutes the first time)"
	$(call environment,$(LABEL_STUDIO))
	@$(LABEL_STUDIO)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-label-studio.txt
	@$(LABEL_STUDIO)/bin/python -m demo.installed list > $@

$(CHECKOV)/.done: requirements-checkov.txt
	@echo "install: checkov into $(CHECKOV), since it wants a boto3 of its own (a minute the first time)"
	$(call environment,$(CHECKOV))
	@$(CHECKOV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-checkov.txt
	@$(CHECKOV)/bin/python -m demo.installed list > $@

install: $(VENV)/.dev $(LABEL_STUDIO)/.done  ## Install everything into virtual environments in this folder; again to repair them
	@echo "install: complete"

reinstall:  ## Remove the virtual environments and install everything anew
	rm -rf $(VENV) $(LABEL_STUDIO) $(CHECKOV)
	@$(MAKE) --no-print-directory install

env:  ## Write .env for docker compose, with secrets of its own; leaves one that is there
	@sh docker/env.sh

demo: $(VENV)/.demo $(LABEL_STUDIO)/.done  ## Run the whole loop here and keep it running (ANNOTATE=0: you label; IMAGES=folder LABELS=a,b: your photos)
	@$(BIN)/python -m demo run --annotate $(ANNOTATE) $(if $(IMAGES),--images "$(IMAGES)") $(if $(LABELS),--labels "$(LABELS)")

demo-check: $(VENV)/.demo $(LABEL_STUDIO)/.done  ## The same without a person: measures, takes a screenshot, fails if a step fell short
	@$(BIN)/python -m demo check

test: $(VENV)/.dev $(LABEL_STUDIO)/.done  ## Run the tests
	@$(BIN)/python -m pytest --cov -n 2 --no-loadscope-reorder

bench: $(VENV)/.dev $(VENV)/.bench  ## Measure, beside others' programs: writes bench/results.json and the README's table (REALSET=folder: real photos)
	@$(BIN)/python -m bench --realset "$(REALSET)"

bench-segmenter: $(VENV)/.dev $(VENV)/.bench  ## Measure how well the segmenter learns (a quarter of an hour): bench/segmenter.json and the README's table
	@$(BIN)/python -m bench.learning --realset "$(REALSET)"

check: lint test  ## What CI checks: code, types, imports, the pipeline's definition, tests

lint: $(VENV)/.dev $(CHECKOV)/.done
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint Dockerfile
	@sh docker/check.sh
	@$(BIN)/cfn-lint infra/*.yaml
	@$(CHECKOV)/bin/checkov --directory infra --framework cloudformation --compact --quiet --skip-download
	@$(BIN)/python -m pipeline check

definition: $(VENV)/.dev  ## Render pipeline/definition.json from pipeline/definition.py
	@$(BIN)/python -m pipeline render

lock:  ## Resolve pyproject.toml anew into requirements*.txt (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-header --extra local --extra dev pyproject.toml -o requirements-dev.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --extra local -c requirements-dev.txt pyproject.toml -o requirements-local.txt
	uv pip compile --quiet --universal --generate-hashes --no-header -c requirements-dev.txt pyproject.toml -o requirements.txt
	uv pip compile --quiet --universal --generate-hashes --no-header -c requirements-dev.txt --group segmenter -o requirements-segmenter.txt
	uv pip compile --quiet --universal --generate-hashes --no-header -c requirements-dev.txt --group bench -o requirements-bench.txt
	echo 'label-studio==1.23.2' | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header - -o requirements-label-studio.txt
	echo 'label-studio-ml==1.0.9' | uv pip compile --quiet --no-deps --generate-hashes --no-header - -o requirements-label-studio-ml.txt
	echo 'checkov==3.3.30' | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header - -o requirements-checkov.txt

format: $(VENV)/.dev  ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

clean:  ## Remove the demo's data (not the environments)
	rm -rf .demo
