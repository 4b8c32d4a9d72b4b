# segbench: `make demo` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
SEGBENCH := $(BIN)/segbench

.DEFAULT_GOAL := help
.PHONY: help setup demo sweep-aug sweep-aspp sweep-architectures tune test test-all notebooks lint clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/ready ## the virtual environment .venv with everything in it

.venv/ready: pyproject.toml
	@test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev,export,figures,geo,notebooks,ray]'
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

# what a study runs on, and how much of it: DATA=my_data EPOCHS=5 SEEDS=3 FOLDS=6 WORKERS=2, QUICK=1 for
# minutes on two cores (too short to rank anything), ARGS for anything else segbench sweep takes
DATA ?= data/scenes
STUDY = runs/$(notdir $(patsubst %/,%,$(DATA)))-$(subst sweep-,,$@)$(if $(QUICK),-quick)
SWEEP_FLAGS = --data.root $(DATA) $(if $(EPOCHS),--trainer.max_epochs $(EPOCHS)) \
	$(if $(SEEDS),--seeds $(SEEDS)) $(if $(FOLDS),--folds $(FOLDS)) $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)
QUICK_aug := --data.crop_size 128 --data.samples_per_epoch 96 --trainer.max_epochs 4 --seeds 3
QUICK_aspp := --data.samples_per_epoch 32 --trainer.max_epochs 4 --seeds 3
QUICK_architectures := --data.samples_per_epoch 16 --trainer.max_epochs 4 --seeds 3

sweep-aug: ## does augmentation help? UNet, without and with, five seeds
sweep-aspp: ## does ASPP help? off, fitted rates, the homework's, the capacity control
sweep-architectures: ## which network? four of them, each against each
sweep-aug sweep-aspp sweep-architectures: sweep-%: | .venv/ready $(filter data/scenes,$(DATA))
	$(SEGBENCH) sweep sweeps/$*.yaml --out $(STUDY) $(if $(QUICK),$(QUICK_$*)) $(SWEEP_FLAGS)
	$(SEGBENCH) compare $(STUDY)

tune: | .venv/ready $(filter data/scenes,$(DATA)) ## learning rate and weight decay of one network: CONFIG=configs/unet.yaml
	$(SEGBENCH) sweep sweeps/tune.yaml --config $(CONFIG) --out runs/tune-$(basename $(notdir $(CONFIG))) \
		$(SWEEP_FLAGS)

test: .venv/ready ## the tests that need only Python, a few minutes
	$(BIN)/pytest -m "not slow"

test-all: test notebooks ## those, the notebooks, and the long ones
	$(BIN)/pytest -m slow

notebooks: .venv/ready ## run the notebooks on synthetic scenes, a few minutes
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pytest --nbmake --nbmake-timeout=600 notebooks

lint: .venv/ready ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove what the demo made
	rm -rf data/scenes runs
