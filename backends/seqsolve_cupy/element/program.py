"""Element steps as source for kernels."""

from __future__ import annotations

import math
import string
from collections import OrderedDict
from importlib.resources import files
from threading import RLock
from typing import Any

import cupy
import numpy as np

from seqsolve.backend import Array
from seqsolve_cupy import layout
from seqsolve_cupy.compilation import kernel
from seqsolve_cupy.element.source import Source
from seqsolve_cupy.element.translate import ITEMS, Unit
from seqsolve_cupy.element.trial import try_indices
from seqsolve_cupy.element.types import NONE, Kind, Number, Tuple, Type, View

__all__ = ["Program", "Programs"]


class Program:
    """An element step in CUDA C++, for one dtype and one shape of input and parameters.

    Parameters
    ----------
    step : ElementStep
        The step.
    x : cupy.ndarray, shape (n_steps, n_batch or 1, *item), or None
        Its input.
    dtype : dtype
        Of the state.

    Raises
    ------
    ElementStepError
        A function cannot be translated; the message shows the user's line.
    """

    def __init__(self, step: Any, x: Array | None, dtype: np.dtype[Any]) -> None:
        self.dtype = np.dtype(dtype)
        self.n_state: int = step.n_state
        self.jac_shape: tuple[int, ...] = step.jac_shape
        self.has_jac = step.jac_function is not None
        is_complex = self.dtype.kind == "c"
        self._unit = unit = Unit(is_complex)
        number = Number(Kind.COMPLEX if is_complex else Kind.REAL)
        state = View(number.kind, (self.n_state,), "Number")
        self.item_shape = () if x is None else tuple(int(s) for s in x.shape[2:])
        item, kind = ("char", NONE) if x is None else ITEMS[x.dtype.name]
        given: Type = NONE
        if isinstance(kind, Kind):
            given = View(kind, self.item_shape, item) if self.item_shape else Number(kind)
        params, unpacked = _parameters(step, number)
        outs = (state.shape, self.jac_shape)[: 1 + self.has_jac]
        names = []
        for name, function, shape in zip(
            ("step", "jac"), (step.function, step.jac_function), outs, strict=False
        ):
            out = View(number.kind, shape, "Number", writable=True)
            names.append(unit.function(Source(name, function), (state, given, params, out))[0])
        self.text = string.Template(_template()).substitute(
            number=layout.SCALARS[self.dtype.name],
            real=layout.SCALARS[np.finfo(self.dtype).dtype.name],
            item=item,
            n_state=self.n_state,
            width=self.width,
            n_inputs=0 if x is None else math.prod(self.item_shape),
            state=state.cpp,
            functions=unit.text(names),
            params=unpacked,
            input=_input(given),
            step=names[0],
            jac=names[-1],
            result=View(number.kind, state.shape, "Number", writable=True).cpp,
            jacobian=View(number.kind, outs[-1], "Number", writable=True).cpp,
        )

    @property
    def width(self) -> int:
        """How many entries a row of the Jacobian stores."""
        return 1 if self.jac_shape == (self.n_state,) else self.jac_shape[-1]

    @property
    def is_current(self) -> bool:
        """Whether all that the functions take from outside is what it was."""
        return self._unit.is_current

    def kernel(self, source: str, expression: str) -> Any:
        """Return an instance of a kernel that evaluates this step."""
        return kernel(source, expression, step=self.text)

    def packed(self, params: Any) -> Array:
        """Return all parameters as one array, as the kernels take them."""
        flat = [cupy.asarray(p, dtype=self.dtype).ravel() for p in params.values()]
        flat = [p for p in flat if p.size]
        return cupy.concatenate(flat) if flat else cupy.zeros(1, dtype=self.dtype)


class Programs:
    """The programs used last.

    Parameters
    ----------
    maximum : int
        How many to keep.
    """

    def __init__(self, maximum: int = 256) -> None:
        self._maximum = maximum
        self._lock = RLock()
        self._kept: OrderedDict[Any, Program] = OrderedDict()

    def of(self, step: Any, x: Array | None, y: Array) -> tuple[Program, Array | None]:
        """Return the program of a step, and its input in a dtype that kernels read.

        `y` holds states of the first position first. The program is translated
        anew if globals of the functions have changed.
        """
        if x is not None and x.dtype == np.float16:
            x = x.astype(np.float32)
        return self._get(step, x, y), x

    def _get(self, step: Any, x: Array | None, y: Array) -> Program:
        key = (
            *(step.function, step.jac_function, step.n_state, step.jac_shape, y.dtype.name),
            *(None if x is None else (x.dtype.name, tuple(x.shape[2:])),),
            tuple(tuple(p.shape) for p in step.params.values()),
        )
        with self._lock:
            program = self._kept.get(key)
            if program is None or not program.is_current:
                program = Program(step, x, y.dtype)
                try_indices(step, x, y)
                self._kept[key] = program
                if len(self._kept) > self._maximum:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return program


def _parameters(step: Any, number: Number) -> tuple[Tuple, str]:
    """Return the type of the parameters, and the expression that finds them in one array."""
    items: list[Type] = []
    places: list[str] = []
    offset = 0
    for array in step.params.values():
        shape = tuple(int(size) for size in array.shape)
        view = View(number.kind, shape, "Number")
        items.append(view if shape else number)
        places.append(f"{view.cpp}{{params + {offset}}}" if shape else f"params[{offset}]")
        offset += math.prod(shape)
    code = "Tuple<>{}"
    for i in reversed(range(len(items))):
        code = f"{Tuple(tuple(items[i:])).cpp}{{{places[i]}, {code}}}"
    return Tuple(tuple(items)), code


def _input(kind: Type) -> str:
    """Return the expression of the input of one position."""
    if isinstance(kind, View):
        return f"{kind.cpp}{{x}}"
    return f"{kind.cpp}(*x)" if isinstance(kind, Number) else "Nothing{}"


def _template() -> str:
    return (files("seqsolve_cupy") / "kernels" / "step.cuh.in").read_text(encoding="utf-8")
