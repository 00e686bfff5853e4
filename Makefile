# One command each on a fresh machine: they make .venv, install into it, and do their job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo
ARGS ?=
JOBS ?= 2

.PHONY: demo test check bench docs docs-numbers help

help:
	@echo "make demo    compare four methods on modular multiplication, in a minute or two, and write $(OUT)/report.html"
	@echo "make test    run the tests in $(JOBS) processes (JOBS=4 for more; slow ones too: make test ARGS='-m \"\"')"
	@echo "make check   format, lint and types"
	@echo "make docs    carry the notebooks out, and build the site into site/"
	@echo "make docs-numbers  write the numbers of README.md and docs/*.md from docs/results"
	@echo "make bench   time our implementation against plain PyTorch (some rows: make bench ARGS='--rows decoder-eval')"

demo: $(VENV)/installed
	$(BIN)/grokkit compare mul:47 --model 'decoder(width=64,depth=1)' --train-fraction 0.6 --batch-size 256 \
		--methods adamw,grokfast-ema,grokfast-ma,grad-norm --seeds 3 --budget 2500 --every 20 --sustain 3 --out $(OUT)

# Each process has one thread, or they wait for one another's; a file's tests share one, and what its fixtures trained.
# The order is that of tests/conftest.py: were it by the number of tests, as loadscope would have it, the longest files,
# which have few, would come last, and one process would wait for the other's.
# Bytecode is kept, as it usually is: hundreds of processes would compile the package anew.
test: $(VENV)/installed
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder $(ARGS)

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright

bench: $(VENV)/installed
	$(BIN)/grokkit bench $(ARGS)
	$(BIN)/python benchmarks/import_time.py

# Of the dev extra the site needs nothing; the notebooks are carried out with their outputs left as they are, and the
# gallery's pages are made of docs/results.
docs: $(VENV)/docs-installed
	$(BIN)/python docs/gallery.py
	OMP_NUM_THREADS=1 PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python docs/notebooks.py --check
	NO_MKDOCS_2_WARNING=1 PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m mkdocs build --strict

docs-numbers: $(VENV)/installed
	$(BIN)/python docs/build.py

$(VENV)/installed: EXTRA := dev
$(VENV)/docs-installed: EXTRA := docs
$(VENV)/installed $(VENV)/docs-installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "grokkit needs Python 3.11 or newer, and $(PYTHON) is %d.%d; try: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Installing into $(VENV); PyTorch makes this take a few minutes the first time ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRA)]'
	@touch $@
