# make run: set up and run the embedded study, or that of STUDY=FILE.  make test: set up and run the tests.
PYTHON ?= python3
BIN := .venv/bin
CORES ?= all
STUDY ?=
# What to install: pyproject.toml. At which versions: envs/constraints.txt.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile --constraint envs/constraints.txt
# Sockets, browsers and hubs are not needed: whatever a test or the embedded study loads lies on this machine.
export HF_HUB_OFFLINE ?= $(if $(STUDY),0,1)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Packages come uncompiled, and each module is compiled when first imported: what it becomes must be kept, or every job
# of a study compiles all its imports anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test check clean bench-match bench-train bench-formats bench-gpu

# Snakemake reads a --configfile before the Snakefile does: what is wrong with it is said by `validate`, in one line.
run: .venv/ready
	$(if $(STUDY),$(BIN)/python -m sae_stability validate "$(STUDY)")
	$(BIN)/snakemake --cores $(CORES) $(if $(STUDY),--configfile "$(STUDY)")

# Two workers, whole files each: files share what is costly to make. One thread a worker.
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
