"""What every test finds set."""

import os

# Triton reads this when it is first imported, and transformers and torch's optimisers import it where it is installed.
os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items):
    """Real Snakemake runs first: they take longest, and one left for the end would keep the other worker idle."""
    items.sort(key=lambda item: "workflow" not in item.path.parts[-2:])
