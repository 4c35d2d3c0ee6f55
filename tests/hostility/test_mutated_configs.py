import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_studies_with_random_mistakes_are_read_or_refused_in_a_line():
    """120 of them; `python bench/faults.py configs` reads 2,000."""
    paths = os.pathsep.join([str(ROOT / "workflow"), str(ROOT)])
    result = subprocess.run(
        [sys.executable, "-m", "tests.hostility.mutated_configs", "120", "0"],
        env=os.environ | {"PYTHONPATH": paths},
        text=True,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("120 studies, 0 wrong"), result.stdout
