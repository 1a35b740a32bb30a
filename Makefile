# Two commands: `make quickstart` and `make test`. Everything is installed into .venv; PYTHON chooses the interpreter.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; raise SystemExit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
# Processes that share the quickstart's cells, and the tests; one thread each.
WORKERS ?= 2
BIN := $(VENV)/bin
# UV=1 installs with uv, which is faster; CONSTRAINTS=constraints.txt installs the versions that were tested together.
UV ?=
CONSTRAINTS ?=
MAKE_VENV := $(if $(UV),uv venv --quiet --allow-existing --python "$(PYTHON)",$(PYTHON) -m venv) $(VENV)
INSTALL := $(if $(UV),uv pip install --python $(BIN)/python,$(BIN)/python -m pip --disable-pip-version-check install) \
	--quiet $(if $(CONSTRAINTS),--constraint "$(CONSTRAINTS)")

# One thread a process: two torch threads on two busy cores can be ten times slower than one.
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1

.PHONY: quickstart install test lint types unit notebooks docs figures schema clean

quickstart: $(VENV)/.study
	$(BIN)/lopsided run experiments/quickstart.yaml --store runs --workers $(WORKERS)

install: $(VENV)/.study

test: lint types unit notebooks docs

# torch and build tools first: basicsr imports torch while it builds, and would otherwise fetch a second copy.
$(VENV)/.study: pyproject.toml
	@test -n "$(PYTHON)" || { echo "lopsided needs Python 3.10, 3.11 or 3.12 (basicsr does not build on newer ones)"; exit 1; }
	$(MAKE_VENV)
	$(INSTALL) "torch>=2.6,<3" "torchvision<1" "setuptools>=77" wheel cython "numpy>=2,<3"
	$(INSTALL) --no-build-isolation --editable ".[study]"
	touch $@

$(VENV)/.dev: $(VENV)/.study
	$(INSTALL) --no-build-isolation --editable ".[study,mllm,align,docs,dev]"
	mkdir -p .typing && ln -sfn .. .typing/lopsided
	touch $@

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# At node's default of 4 GB the checker empties its cache again and again, and does not end.
types: $(VENV)/.dev
	NODE_OPTIONS=--max-old-space-size=8192 $(BIN)/basedpyright --pythonpath $(BIN)/python

unit: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

# Without the one that trains: it takes minutes. Its parts are in tests/mllm/align, its imports in tests/experiments.
notebooks: $(VENV)/.dev
	$(BIN)/python -m pytest --nbmake notebooks --ignore notebooks/08_alignment.ipynb

# The site, in build/site; any warning is an error.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict --config-file docs/mkdocs.yml

# The page of all figures, and its pictures.
figures: $(VENV)/.dev
	$(BIN)/python docs/figure_gallery.py

# What is written from the fields of an experiment: the JSON Schema for editors, and the tables of options.
schema: $(VENV)/.study
	$(BIN)/lopsided schema --to experiments/experiment.schema.json
	$(BIN)/python -c "from lopsided.experiments.schema.reference import option_tables; print(option_tables(), end='')" \
		> docs/experiment_options.md

clean:
	rm -rf $(VENV) .typing build *.egg-info .pytest_cache .ruff_cache
