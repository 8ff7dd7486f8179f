"""How long it takes to import the library, and NumPy alone."""

from __future__ import annotations


class Import:
    number = 1
    repeat = (5, 20, 10.0)

    def timeraw_seqsolve(self) -> str:
        return "import seqsolve"

    def timeraw_numpy(self) -> str:
        return "import numpy"
