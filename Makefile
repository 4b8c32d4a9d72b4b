# segbench: `make demo` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
SEGBENCH := $(BIN)/segbench

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/ready ## the virtual environment .venv with everything in it

.venv/ready: pyproject.toml
	@test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

data/scenes: | .venv/ready
	$(SEGBENCH) data generate --out $@

NETWORKS := unet deeplab_resnet18 deeplab_vgg11 deeplab_mobilenetv3

demo: $(NETWORKS:%=runs/demo/%/test/counts.npz) ## the four networks on synthetic scenes, minutes on two cores
	@$(SEGBENCH) runs runs/demo

# one network of the demo; counts.npz is the last thing a run writes before it is finished
runs/demo/%/test/counts.npz: | .venv/ready data/scenes
	@rm -rf runs/demo/$*
	$(SEGBENCH) fit --config configs/$*.yaml --config configs/quick.yaml --run_dir runs/demo/$*

test: .venv/ready ## the tests that need only Python, a few minutes
	$(BIN)/pytest -m "not slow"

test-all: test ## those, and the long ones
	$(BIN)/pytest -m slow

lint: .venv/ready ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove what the demo made
	rm -rf data/scenes runs
