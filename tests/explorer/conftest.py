"""A small explorer and the tables that it is made from."""

from pathlib import Path

import pytest

from tests.explorer import planted


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explorer") / "results"
    planted.write_tables(folder)
    return folder


@pytest.fixture(scope="session")
def site(tables: Path) -> Path:
    planted.write_site(tables, tables.parent / "site")
    return tables.parent / "site"
