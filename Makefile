# Two commands: `make run` and `make test`. Everything they need is installed into $(VENV) first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRA ?= cpu
COURSE ?= build/assignments
READY := $(VENV)/.ready-$(EXTRA)
# How tests are run: in the quick profile, two files at a time; and the chapters as tests
TESTED := TQDM_DISABLE=1 COURSE_PROFILE=quick COURSE_OFFLINE=1
CHAPTERS := --numprocesses=2 --dist=loadfile --nbval-lax --nbval-cell-timeout=600 notebooks/[0-9]*.ipynb

.PHONY: run test lab notebooks record assignments grade benchmark attacks flakes links lint lock clean

## run: every chapter, quick profile, on the data that ships; ends with a table of chapters, seconds and checks
run: $(READY)
	COURSE_DATA_DIR= COURSE_CACHE_DIR=build/nothing-downloaded COURSE_OFFLINE=1 COURSE_PROFILE=quick $(BIN)/course run --jobs 2

## test: lint, type check and all tests, the chapters through nbval among them
test: $(READY) lint
	$(TESTED) $(BIN)/python -m pytest tests $(CHAPTERS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## lab: JupyterLab on the chapters
lab: $(READY)
	$(BIN)/jupyter lab --notebook-dir=notebooks

## notebooks: build the .ipynb files from their text sources and execute them in the full profile (authors)
notebooks: $(READY)
	COURSE_PROFILE=full $(BIN)/python notebooks/build.py --execute

## record: run every chapter in the full profile with three seeds and record claims and checks in data/results (authors)
record: $(READY)
	COURSE_PROFILE=full $(BIN)/course run --record --seeds 0 1 2

## assignments: an nbgrader course in the folder COURSE, ready to release
assignments: $(READY)
	$(BIN)/python notebooks/assignments.py $(COURSE)

## grade: marks and feedback for all that is new in the course's folder submitted; each submission between walls
grade: $(READY)
	$(BIN)/python notebooks/grading.py $(COURSE)

## benchmark: the training loop against plain Keras and PyTorch (in an environment of its own); heartbeats against loops
benchmark: $(READY) .venv-torch/.ready
	$(BIN)/python benchmarks/loop.py --torch-python .venv-torch/bin/python
	$(BIN)/python benchmarks/heartbeats.py

## attacks: our attacks against Foolbox's (in an environment of its own), on the LeNet-5 that ships
attacks: $(READY) .venv-foolbox/.ready
	$(BIN)/python benchmarks/attacks.py --foolbox-python .venv-foolbox/bin/python

## flakes: the chapters as tests, until twenty runs are recorded; may be interrupted and started again
flakes: $(READY)
	$(TESTED) $(BIN)/python benchmarks/flakes.py $(CHAPTERS)

## links: ask every address from which data sets are downloaded whether it still answers
links: $(READY)
	$(BIN)/course data links

# Bytecode is compiled here, once: a kernel between walls cannot write it, and would compile TensorFlow every time.
$(READY): requirements/$(EXTRA).txt pyproject.toml
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else 'The course needs Python 3.11, 3.12 or 3.13; this is %d.%d. Try: make PYTHON=python3.12' % v)"
	@echo "Everything is installed into $(VENV) now; that takes a minute or some, and happens once."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[0-9.]*' requirements/$(EXTRA).txt)"
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements/$(EXTRA).txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --offline --no-deps --no-build-isolation --editable .
	touch $@

.venv-%/.ready: benchmarks/requirements-%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

## lock: resolve pyproject.toml again into the requirement files (authors)
lock: $(READY)
	for extra in cpu gpu; do \
	  $(BIN)/uv pip compile pyproject.toml --extra $$extra --extra dev --universal --python-version 3.11 --generate-hashes \
	    --no-annotate --no-emit-index-url --custom-compile-command "make lock" --quiet -o requirements/$$extra.txt; \
	done

clean:
	rm -rf build/nothing-downloaded .pytest_cache .mypy_cache .ruff_cache .hypothesis
