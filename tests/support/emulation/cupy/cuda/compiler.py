"""The error of `RawModule`."""

from __future__ import annotations


class CompileException(Exception):
    """As `cupy.cuda.compiler.CompileException`."""

    def __init__(
        self, msg: str, source: str, name: str, options: tuple[str, ...], backend: str = "nvrtc"
    ) -> None:
        super().__init__(msg)
        self._msg = msg
        self.source = source
        self.name = name
        self.options = options
        self.backend = backend

    def __str__(self) -> str:
        return self._msg
