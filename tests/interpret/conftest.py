"""One synthetic cohort for all tests; none changes it."""

from pathlib import Path

import pytest

from tests.interpret.synthetic import Cohort, cohort


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return cohort(Path(tmp_path_factory.mktemp("cohort")))
