"""The device that arrays live on."""

from __future__ import annotations

import cupy

from seqsolve.backend import Array


def common_device(*arrays: Array | None) -> cupy.cuda.Device:
    """Return the device of some arrays; None is skipped.

    Raises
    ------
    ValueError
        They live on several.
    """
    given = [a for a in arrays if a is not None]
    ids = {int(a.device.id) for a in given}
    if len(ids) > 1:
        where = ", ".join(f"{tuple(a.shape)} on device {int(a.device.id)}" for a in given)
        raise ValueError(f"All arrays must live on one device; got {where}.")
    return given[0].device
