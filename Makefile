# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The version this project is developed with; a CUDA build of another recent version works as well.
TORCH ?= torch==2.13.0

.PHONY: demo test check format docs environment development clean

demo: environment
	@mkdir -p out
	$(BIN)/audiolm continue src/audiolm/models/speech/prompt.flac -o out/continuation.wav --seconds 7
	@echo "The continuation is in $(CURDIR)/out/continuation.wav"

test: development check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: development
	$(BIN)/ruff check src tests scripts examples benchmarks
	$(BIN)/ruff format --check src tests scripts examples benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: development
	$(BIN)/ruff check --fix src tests scripts examples benchmarks
	$(BIN)/ruff format src tests scripts examples benchmarks

docs: development
	$(BIN)/python scripts/build_site.py
	@echo "The site is in $(CURDIR)/build/site; open index.html"

environment: $(VENV)/installed
development: $(VENV)/installed-dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) out
