# make run: set up and run the embedded study, or that of STUDY=FILE.  make test: set up and run the tests.
PYTHON ?= python3
BIN := .venv/bin
CORES ?= all
STUDY ?=
# pyproject.toml says what to install, envs/constraints.txt at which versions.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile --constraint envs/constraints.txt
# The tests and the embedded study load nothing from the Hugging Face hub; a study of your own may.
export HF_HUB_OFFLINE ?= $(if $(STUDY),0,1)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pip installs packages uncompiled, and Python compiles a module on its first import. The result must be written to
# disk, or every job of a study compiles all its imports again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test check clean bench-match bench-train bench-formats bench-gpu

# Snakemake reads a --configfile before the Snakefile can check it, so `validate` comes first and reports mistakes in
# one line.
run: .venv/ready
	$(if $(STUDY),$(BIN)/python -m sae_stability validate "$(STUDY)")
	$(BIN)/snakemake --cores $(CORES) $(if $(STUDY),--configfile "$(STUDY)")

# Two workers with one thread each. All tests of a file run in one worker, because they share costly fixtures.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Style and workflow checks that need no computation.
check: .venv/ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

bench-match: .venv/ready-test
	$(BIN)/python bench/match.py

bench-train: .venv/ready-test
	$(BIN)/python bench/train.py

bench-formats: .venv/ready-test
	$(BIN)/python bench/formats_check.py

# Needs a CUDA device; SPARSIFY_PYTHON names a Python with eai-sparsify 1.3.3 for the comparison.
bench-gpu: .venv/ready-test
	$(BIN)/python bench/gpu.py

.venv/ready: pyproject.toml envs/constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable '.[all,embedded]'
	touch $@

.venv/ready-test: .venv/ready
	$(INSTALL) --editable '.[all,embedded,test]'
	touch $@

clean:
	rm -rf results .snakemake
