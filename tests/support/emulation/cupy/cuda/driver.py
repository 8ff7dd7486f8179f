"""The driver's error."""

from __future__ import annotations


class CUDADriverError(RuntimeError):
    """As `cupy.cuda.driver.CUDADriverError`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
