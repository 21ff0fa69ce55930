"""What many tests begin with."""

import pytest

from .small_dataset import write_small_dataset


@pytest.fixture
def dataset(tmp_path):
    """Return a dataset with a labeled case of K = {1, 2, 9, 14} and an unlabeled one."""
    root = tmp_path / "data"
    write_small_dataset(root)
    return root
