# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slow check docs dist study model ship bench clean

demo: .venv/installed
	$(BIN)/styleloom demo

# A process for each core; a file's tests stay in one, since they share what the first of them made.
test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

# Tests that take over 15 s each: files damaged in thousands of ways, runs killed at random moments or out of disk
# space, compilations, the study of all families in miniature.
slow: .venv/installed-dev
	$(BIN)/python -m pytest -m slow

# Lint and types.
check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The documentation site, into build/site; whatever mkdocs warns of ends it.
docs: .venv/installed-docs
	$(BIN)/python scripts/site_pages.py build/site-pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

# The source distribution and the wheel, into dist.
dist: .venv/installed-docs
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist

# Studies that train for minutes or hours; they write under results/.
study: .venv/installed-dev
	$(BIN)/python studies/demo_settings.py
	$(BIN)/python studies/precision.py
	$(BIN)/python studies/family.py

# A model for the package, trained anew, which takes hours or days; ship puts the best snapshot there. MODEL is a preset,
# DATA an archive or an embedded set, HELD_OUT another archive to measure with (see scripts/origins), and SEEN a file
# that says what the pictures show.
MODEL ?= portraits-64
DATA ?= portraits

model: .venv/installed
	$(BIN)/styleloom train --preset $(MODEL) --data $(DATA) --out runs/$(MODEL)

ship: .venv/installed
	$(BIN)/python scripts/ship_model.py runs/$(MODEL) --seen $(SEEN) $(if $(HELD_OUT),--held-out $(HELD_OUT))

bench: .venv/installed-dev .venv/emoji-256.zip
	$(BIN)/python benchmarks/step_time.py
	$(BIN)/python benchmarks/growing.py
	$(BIN)/python benchmarks/augmentation.py
	$(BIN)/python benchmarks/generate.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/separability.py
	$(BIN)/python benchmarks/project.py
	$(BIN)/python benchmarks/read_pickle.py
	$(BIN)/python benchmarks/loader.py .venv/emoji-256.zip

.venv/emoji-256.zip: .venv/installed
	$(BIN)/styleloom dataset build emoji $@ --resolution 256 --upscale --overwrite

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "styleloom needs Python 3.10 or newer")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints/dev.txt -e '.[metrics]'
	touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml constraints/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints/dev.txt -e '.[dev]'
	touch .venv/installed $@

.venv/installed-docs: .venv/installed-dev
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints/dev.txt -e '.[docs]'
	touch $@

clean:
	rm -rf .venv build dist src/*.egg-info
