# segbench: `make demo` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
SEGBENCH := $(BIN)/segbench

.DEFAULT_GOAL := help
.PHONY: help setup demo report sweep-aug sweep-aspp sweep-architectures tune test test-all notebooks lint clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/ready ## the virtual environment .venv with everything in it

.venv/ready: pyproject.toml
	@test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev,export,figures,geo,notebooks,ray]'
	@touch $@

data/scenes: | .venv/ready
	$(SEGBENCH) data generate --out $@

# the whole story; whatever was stopped, or is there already, is not run again
demo: export WANDB_MODE := offline
demo: | .venv/ready data/scenes ## the whole story on synthetic scenes, ten minutes on two cores: two ablations, four networks, report
	@echo "== the data: what is there, and is it sound?"
	$(SEGBENCH) data check data/scenes
	@for study in aug aspp architectures; do $(MAKE) --no-print-directory sweep-$$study QUICK=1 DATA=data/scenes || exit; done
	@echo "== what the networks cost"
	$(SEGBENCH) benchmark runs/scenes-architectures-quick --rounds 3 --batch 1
	$(SEGBENCH) pick runs/scenes-architectures-quick --size 40MB
	@echo "== why augmentation and ASPP help or hurt"
	$(SEGBENCH) augmentation runs/scenes-aug-quick
	$(SEGBENCH) aspp runs/scenes-aspp-quick
	@echo "== everything on one page"
	$(SEGBENCH) report runs/scenes-architectures-quick runs/scenes-aug-quick runs/scenes-aspp-quick --out runs/demo.html
	@echo "open runs/demo.html; what was trained here is too short to rank anything: it shows the machinery"

report: | .venv/ready ## one HTML page of the studies in runs/, or of STUDIES="runs/a runs/b"
	$(SEGBENCH) report $(STUDIES) --out runs/report.html

STUDIES = $(patsubst %/study.yaml,%,$(wildcard runs/*/study.yaml))

# what a study runs on, and how much of it: DATA=my_data EPOCHS=5 SEEDS=3 FOLDS=6 WORKERS=2, QUICK=1 for
# minutes on two cores (too short to rank anything), ARGS for anything else segbench sweep takes
DATA ?= data/scenes
STUDY = runs/$(notdir $(patsubst %/,%,$(DATA)))-$(subst sweep-,,$@)$(if $(QUICK),-quick)
SWEEP_FLAGS = --data.root $(DATA) $(if $(EPOCHS),--trainer.max_epochs $(EPOCHS)) \
	$(if $(SEEDS),--seeds $(SEEDS)) $(if $(FOLDS),--folds $(FOLDS)) $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)
# small crops, on whose maps of stride 16 every fitted rate of ASPP still sees image
QUICK_aug := --model.width 16 --data.crop_size 128 --data.samples_per_epoch 96 --trainer.max_epochs 2 --seeds 3
QUICK_aspp := --model.backbone mobilenet_v3_small --model.width 64 --data.crop_size 160 --data.samples_per_epoch 96 --data.batch_size 4 --trainer.max_epochs 2 --seeds 3
QUICK_architectures := --data.crop_size 160 --data.samples_per_epoch 48 --trainer.max_epochs 2 --seeds 1

sweep-aug: ## does augmentation help? UNet, without and with, five seeds
sweep-aspp: ## does ASPP help? off, fitted rates, the homework's, the capacity control
sweep-architectures: ## which network? four of them, each against each
sweep-aug sweep-aspp sweep-architectures: sweep-%: | .venv/ready $(filter data/scenes,$(DATA))
	$(SEGBENCH) sweep sweeps/$*.yaml --out $(STUDY) $(if $(QUICK),$(QUICK_$*) --workers 2) $(SWEEP_FLAGS)
	$(SEGBENCH) compare $(STUDY)

tune: | .venv/ready $(filter data/scenes,$(DATA)) ## learning rate and weight decay of one network: CONFIG=configs/unet.yaml
	$(SEGBENCH) sweep sweeps/tune.yaml --config $(CONFIG) --out runs/tune-$(basename $(notdir $(CONFIG))) \
		$(SWEEP_FLAGS)

test: .venv/ready ## the tests that need only Python, a quarter of an hour on two cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" --numprocesses auto --maxprocesses 4 --dist loadfile

test-all: test notebooks ## those, the notebooks, and the long ones
	$(BIN)/pytest -m slow

notebooks: .venv/ready ## run the notebooks on synthetic scenes, a few minutes
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pytest --nbmake --nbmake-timeout=600 notebooks

lint: .venv/ready ## ruff, mypy, and a search for keys that nobody meant to commit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --no-verify

clean: ## remove what the demo made
	rm -rf data/scenes runs
