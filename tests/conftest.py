"""Settings for all tests."""

import os

# Must be set before Triton is first imported, which transformers and torch's optimisers do where it is installed.
os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items):
    """Start real Snakemake runs first: they take longest, and would leave one worker idle at the end."""
    items.sort(key=lambda item: "workflow" not in item.path.parts[-2:])
