# Nothing but Python 3.11, git and make is needed. What a target needs is installed once, into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BASE   := $(VENV)/.base
READY  := $(VENV)/.ready
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

# The core of each room: laws, loss and rest points; one step of the game and its gradients; recipes; imports, README
QUICK := $(patsubst %,theory/tests/test_%.py,levels catalogue sphere regularity equilibrium statistics commandline files) \
         $(patsubst %,toy/tests/test_%.py,games penalties score_term update metrics config) \
         $(patsubst %,images/tests/test_%.py,recipes table generators distances) \
         $(patsubst %,tests/test_%.py,imports readme every_command)

.PHONY: run test test-quick check figures notebooks report docs format bench mutants clean

run: $(BASE)
	@echo "Training three arms on 8 seeds: about a minute on 2 cores."
	$(BIN)/python -m toy.run --manifold ring --score analytic --out runs/ring --overwrite

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-quick: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal $(QUICK)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# make figures ONLY=saturation draws one; FRESH=1 computes again what the figures' scripts have computed
figures: $(READY)
	$(BIN)/python -m figures $(if $(ONLY),--only $(ONLY)) $(if $(FRESH),--fresh)

notebooks: $(READY)
	$(BIN)/python -m figures.notebooks $(if $(ONLY),--only $(ONLY))

report: $(READY)
	$(BIN)/python -m figures.report

# out/docs/index.html; with a server, python -m http.server -d out/docs, its search works too
docs: $(READY)
	$(BIN)/python -m figures.docs

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# prints the costs of theory, toy and images, and keeps them as ROOM/results/bench.json
bench: $(READY)
	$(BIN)/python -m figures.bench

mutants: $(READY)
	$(BIN)/python -m tests.mutation

# What a run needs
$(BASE): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "python 3.11 or newer is wanted; given: " + sys.version.split()[0] + " (make PYTHON=python3.11 run)")'
	@echo "Installing what a run needs into $(VENV), once: torch, scipy, pandas, matplotlib and what they stand on."
	@echo "With torch for CPUs it is 0.3 GB to download and 1.3 GB on disk. The torch that PyPI serves for Linux brings CUDA:"
	@echo "3 GB to download and 6 GB on disk more; PIP_EXTRA_INDEX_URL set to PyTorch's index of CPU wheels takes the small one."
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable .
	@touch $@

# What tests, checks, figures and images need beside it
$(READY): $(BASE)
	@echo "Installing what tests and figures need beside it, once: 0.14 GB to download, 0.6 GB on disk."
	$(PIP) --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
