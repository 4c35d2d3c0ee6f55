"""Snakemake imports the pipeline for every job, so the pipeline imports little."""

import subprocess
import sys

HEAVY = ("torch", "numba", "numpy", "pandas", "pyarrow", "transformers", "snakemake")


def test_the_pipeline_imports_nothing_heavy():
    code = (
        "import sys, sae_stability.pipeline, sae_stability.pipeline.plan\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    path = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
    result = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
