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

demo: $(NETWORKS:%=runs/demo/%.done) ## the four networks on synthetic scenes, minutes on two cores
	@$(SEGBENCH) runs runs/demo

# rates that fit the quick crops, of which a map of stride 16 is 8 x 8
runs/demo/deeplab_%: RATES := --model.aspp_rates=[1,2,4]

# one network of the demo; a second call goes on where a first was stopped
runs/demo/%.done: | .venv/ready data/scenes
	$(SEGBENCH) fit --config configs/$*.yaml --config configs/quick.yaml $(RATES) \
		--run_dir runs/demo/$* $(if $(wildcard runs/demo/$*/run.json),--ckpt_path last)
	@touch $@

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
