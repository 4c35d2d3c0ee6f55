"""Firings that a full disk does not take."""

import resource

import numpy as np
import pytest

from sae_stability.errors import StudyError
from sae_stability.firing.firings import FiringSorter


def test_a_full_disk_is_told_of_with_the_folder(tmp_path):
    sorter = FiringSorter(tmp_path / "sorting", 4)
    sorter.add(np.arange(1000), np.zeros(1000, np.int64), np.ones(1000, np.float32))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StudyError, match="sorting: cannot be written"):
            sorter.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
