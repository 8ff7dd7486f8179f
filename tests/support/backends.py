"""Which backends compute on a GPU here."""

from __future__ import annotations

from support.emulation import reason_not_to_emulate

from seqsolve_numba import device

#: `pytest -m gpu` tests them. CuPy may be emulated.
ON_GPU = {"cupy"} if reason_not_to_emulate() else set()
if not (device.simulated() or device.why_not()):
    ON_GPU.add("numba")
