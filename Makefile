# The everyday commands. `make` ends with a report; `make test` with everything checked. Both set up what they need.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := demo
.PHONY: demo search test lint check bench bench-environment environment reference clean help

VENV := .venv
BIN := $(VENV)/bin
LOCK := envs/requirements.lock
BENCH := .venv-bench
BENCH_LOCK := envs/bench.lock
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

# Serves a page to search a finished study by drawing: make search STUDY=animals PORT=8000
STUDY ?= demo
PORT ?= 8765
search: environment
	@PYTHONPATH=workflow $(BIN)/python -m trazo.search results/$(STUDY) --port $(PORT)

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

# Keeps what a finished study found, without its artifacts, under results/reference: of pictures of many photos the PNG
# alone, and metrics.csv packed if it is large.
reference:
	@for study in $(subst $(comma), ,$(STUDIES)); do \
	  mkdir -p results/reference/$$study; \
	  cp -r results/$$study/{run.md,comparison.csv,metrics.csv,timings.csv,tables,figures} results/reference/$$study/; \
	  rm -f results/reference/$$study/figures/*.json; \
	  find results/reference/$$study/figures -name '*.svg' -size +1000k -delete; \
	  find results/reference/$$study -name metrics.csv -size +2000k -exec gzip --force --no-name {} +; \
	  echo "Kept results/reference/$$study"; \
	done

# Speed and memory, beside other libraries and as data grow, three quarters of an hour; one: make bench ONLY=leave_one_out
bench: bench-environment
	@PYTHONPATH=workflow $(BENCH)/bin/python -m tests.benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS))

# Only what the environment does not have, in a layer over it. The lock is made anew with
#   uv pip compile pyproject.toml --extra test --extra bench --universal --generate-hashes --python-version 3.11 \
#     --no-header --no-annotate -c envs/requirements.lock -o envs/bench.lock \
#     $(sed -nE 's/^([A-Za-z0-9._-]+)==.*/--no-emit-package \1/p' envs/requirements.lock | sort -u)
bench-environment: environment
	@SITE='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	if ! cat $(LOCK) $(BENCH_LOCK) | cmp -s - $(BENCH)/both.lock; then \
	  echo "Setting up $(BENCH) from $(BENCH_LOCK): about 30 MB to fetch."; \
	  rm -rf $(BENCH); \
	  $(BIN)/python -m venv --without-pip $(BENCH); \
	  $(BIN)/python -c "$$SITE" > "$$($(BENCH)/bin/python -c "$$SITE")/below.pth"; \
	  $(BIN)/python -m pip --python $(BENCH)/bin/python install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $(BENCH_LOCK) 2> >(grep -v "^WARNING: Location" >&2); \
	  cat $(LOCK) $(BENCH_LOCK) > $(BENCH)/both.lock; \
	fi

clean:
	@find results -mindepth 1 -maxdepth 1 ! -name reference -exec rm -rf {} +
	@echo "Removed all results but results/reference."

help:
	@echo "make            the demo study, then where its report is"
	@echo "make STUDIES=animals SCALE=quick   another study, sized for two CPU cores"
	@echo "make search     a page to search the demo study by drawing (another one: STUDY=animals)"
	@echo "make test       lint, unit tests and workflow tests"
	@echo "make bench      speed and memory beside other libraries, and as data grow (three quarters of an hour)"
	@echo "make clean      remove results (results/reference stays)"
