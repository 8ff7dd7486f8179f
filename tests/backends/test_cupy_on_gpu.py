"""The CuPy backend's kernels on a GPU."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.gpu


def test_every_kernel_equals_its_loop():
    from support import kernel_grid

    kernel_grid.main()
