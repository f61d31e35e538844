# The everyday commands. `make` ends with a report; `make test` with everything checked. Both set up what they need.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := demo
.PHONY: demo test lint check environment reference clean help

VENV := .venv
BIN := $(VENV)/bin
LOCK := envs/requirements.lock
SNAKEFILES := Snakefile workflow/rules
CODE := workflow/trazo workflow/scripts tests
# The first Python that is new enough; PYTHON=/path/to/python make … chooses another.
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell command -v $(p) >/dev/null 2>&1 && $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))

# Runs the demo study (any other: make STUDIES=animals SCALE=quick) and says where its report is.
STUDIES ?= demo
comma := ,
SCALE ?= full
demo: environment
	@$(BIN)/snakemake --cores all --quiet host reason rules --config 'studies=[$(STUDIES)]' scale=$(SCALE)
	@for study in $(subst $(comma), ,$(STUDIES)); do echo "Report: results/$$(basename $$study .yaml)/report.html"; done

test: environment lint check

lint: environment
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/snakefmt --check $(SNAKEFILES)
	@$(BIN)/snakemake --lint

check: environment
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal --durations 15

# The environment is as the lock file says; another lock file makes another environment.
environment:
	@if ! cmp -s $(LOCK) $(VENV)/requirements.lock; then \
	  if [ -z "$(PYTHON)" ]; then echo "trazo needs Python 3.11 or newer; found none. Install one, or: make PYTHON=/path/to/python"; exit 1; fi; \
	  echo "Setting up $(VENV) from $(LOCK): about 5 GB to fetch, a few minutes."; \
	  rm -rf $(VENV); \
	  $(PYTHON) -m venv $(VENV); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(LOCK) 2> >(grep -v '^WARNING: Location' >&2); \
	  cp $(LOCK) $(VENV)/requirements.lock; \
	fi

# Keeps what a finished study found, without its artifacts, under results/reference.
reference:
	@for study in $(subst $(comma), ,$(STUDIES)); do \
	  mkdir -p results/reference/$$study; \
	  cp -r results/$$study/{run.md,comparison.csv,metrics.csv,tables,figures} results/reference/$$study/; \
	  echo "Kept results/reference/$$study"; \
	done

clean:
	@find results -mindepth 1 -maxdepth 1 ! -name reference -exec rm -rf {} +
	@echo "Removed all results but results/reference."

help:
	@echo "make            the demo study, then where its report is"
	@echo "make STUDIES=animals SCALE=quick   another study, sized for two CPU cores"
	@echo "make test       lint, unit tests and workflow tests"
	@echo "make clean      remove results (results/reference stays)"
