"""The kernels' sources, each as one translation unit."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib.resources import files

_INCLUDE = re.compile(r'^[ \t]*#include[ \t]+"([^"]+)"[ \t]*$', re.MULTILINE)


@functools.lru_cache(maxsize=256)
def load(name: str, step: str = "") -> str:
    """Return ``kernels/<name>.cu`` with every ``#include "..."`` inlined once.

    Parameters
    ----------
    name : str
        Name of the file, without its suffix.
    step : str
        What stands for the file ``step.cuh``: an element step.

    Returns
    -------
    str
        CUDA C++ that includes no other file. Directives ``#line`` let
        compilers name the original file and line.

    Raises
    ------
    FileNotFoundError
        There is no such file, or one that it includes.

    Examples
    --------
    >>> from seqsolve_cupy import sources
    >>> '#include "' in sources.load("cyclic_reduction")
    False
    """
    return _inline(f"{name}.cu", {"step.cuh": step} if step else {}, set())


def _inline(filename: str, given: Mapping[str, str], seen: set[str]) -> str:
    seen.add(filename)
    text = given.get(filename)
    if text is None:
        text = (files(__package__) / "kernels" / filename).read_text(encoding="utf-8")
    parts, end = [f'#line 1 "{filename}"\n'], 0
    for match in _INCLUDE.finditer(text):
        parts.append(text[end : match.start()])
        if match[1] not in seen:
            parts.append(_inline(match[1], given, seen))
        line = text.count("\n", 0, match.end()) + 1
        parts.append(f'\n#line {line} "{filename}"')
        end = match.end()
    parts.append(text[end:])
    return "".join(parts)
