"""The NumPy backend's primitives."""

from __future__ import annotations

import numpy as np

from seqsolve.portable import PortableBackend


class NumpyBackend(PortableBackend):
    """NumPy arrays on the CPU."""

    def __init__(self) -> None:
        super().__init__("numpy", np)
