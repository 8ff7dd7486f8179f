"""All that is compiled; importing it loads Numba."""

from __future__ import annotations

from seqsolve_numba import linear, marching, newton, noise, sweeps, windows
from seqsolve_numba.specialization import Specializations

__all__ = ["Specializations", "linear", "marching", "newton", "noise", "sweeps", "windows"]
