# mypy: disable-error-code="no-untyped-call"
"""Element steps compiled for arrays of given shapes and dtypes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from threading import RLock
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from seqsolve.step import ElementStepError
from seqsolve_numba.compilation import Kernel, compile_kernel, inlined, readable, writable
from seqsolve_numba.diagnosis import check, check_access
from seqsolve_numba.intrinsics import Layout, known, known_all, local
from seqsolve_numba.latest import Latest
from seqsolve_numba.replaced import REPLACED
from seqsolve_numba.translate import Translator

NDArray = npt.NDArray[Any]

#: Bytes of the stack that the states and inputs of one position may take, the old and the new.
STACK = 2**22

#: A kernel's Python function, and the types of its arguments.
KernelSource = tuple[Callable[..., None], tuple[Any, ...]]


@dataclass(frozen=True)
class Shapes:
    """All that a step is compiled for, besides its functions.

    Parameters
    ----------
    dtype : str
        Of the state.
    n_state : int
        Size of the state.
    jac_shape : tuple of int
        Shape of the Jacobian at one position.
    item : tuple of int or None
        Shape of the input at one position; None without input.
    x_dtype : str
        Of the input.
    params : tuple of (str, Layout)
        dtype and layout of every parameter.
    """

    dtype: str
    n_state: int
    jac_shape: tuple[int, ...]
    item: tuple[int, ...] | None
    x_dtype: str
    params: tuple[tuple[str, Layout], ...]

    @classmethod
    def of(cls, step: Any, x: NDArray | None, y: NDArray) -> Shapes:
        """Return those of a call."""
        return cls(
            dtype=y.dtype.str,
            n_state=step.n_state,
            jac_shape=step.jac_shape,
            item=None if x is None else tuple(x.shape[2:]),
            x_dtype=y.dtype.str if x is None else x.dtype.str,
            params=tuple((p.dtype.str, Layout(p.shape, p.strides)) for p in step.params.values()),
        )

    @property
    def n_inputs(self) -> int:
        """How many numbers the input has at one position."""
        return math.prod(self.item) if self.item is not None else 0

    @property
    def n_jacobian(self) -> int:
        """How many numbers the Jacobian has at one position."""
        return math.prod(self.jac_shape)

    @property
    def width(self) -> int:
        """How many entries a row of the Jacobian stores."""
        return 1 if self.jac_shape == (self.n_state,) else self.jac_shape[-1]


class Specialization:
    """A step's functions, compiled for some shapes, and the kernels made of them.

    Parameters
    ----------
    step : ElementStep
        The step.
    shapes : Shapes
        What to compile it for.
    """

    def __init__(self, step: Any, shapes: Shapes) -> None:
        itemsize = np.dtype(shapes.dtype).itemsize
        if 2 * (shapes.n_state + shapes.n_inputs) * itemsize > STACK:
            raise ElementStepError(
                f"A step must have at most {STACK // (2 * itemsize)} states and inputs together to "
                f"be compiled for CPU threads: they are held on the stack; got {shapes.n_state} "
                f"states and {shapes.n_inputs} inputs."
            )
        self.shapes = shapes
        self.number = np.dtype(shapes.dtype).type
        self._functions = step.function, step.jac_function
        self._translator = Translator(np.finfo(shapes.dtype).dtype, replaced=REPLACED)
        self.step = self._translator(step.function)
        self.jac: Any = None if step.jac_function is None else self._translator(step.jac_function)
        self.state = local(shapes.n_state)
        self.jacobian = local(shapes.n_jacobian)
        self.in_shape = known(Layout.contiguous(shapes.jac_shape, itemsize))
        self.input = local(max(1, shapes.n_inputs))
        self.argument = self._argument()
        self.parameters = known_all(tuple(layout for _, layout in shapes.params))
        self._lock = RLock()
        self._kernels: dict[str, Kernel] = {}

    def kernel(
        self, name: str, build: Callable[[Specialization], KernelSource], *, unroll: int
    ) -> Kernel:
        """Return a kernel, compiled on first use.

        Parameters
        ----------
        name : str
            The kernel's.
        build : callable
            ``build(specialization)``, its source.
        unroll : int
            Unroll loops of known length up to so many instructions.
        """
        with self._lock:
            if name not in self._kernels:
                content = self._translator.content
                if content is not None:
                    content = f"{name} {self.shapes} {content}"
                try:
                    self._kernels[name] = compile_kernel(*build(self), content, unroll=unroll)
                except Exception:
                    self.check()
                    raise
            return self._kernels[name]

    @property
    def current(self) -> bool:
        """Whether the step's functions are what they were when they were translated."""
        return self._translator.current

    @property
    def x_type(self) -> Any:
        """The type of the input, ``(n_steps, n_batch, n_inputs)``."""
        return readable(self.shapes.x_dtype, 3)

    @cached_property
    def params_type(self) -> Any:
        """The type of the parameters."""
        layouts = self.shapes.params
        return types.Tuple([readable(dtype, len(layout.shape)) for dtype, layout in layouts])

    @property
    def march_types(self) -> tuple[Any, ...]:
        """The types of what a kernel takes that steps through time: x, params, y, start, stop."""
        return self.x_type, self.params_type, writable(self.shapes.dtype, 3), types.intp, types.intp

    def _argument(self) -> Any:
        """Return the compiled function from the numbers of the input to what the step receives."""
        item = self.shapes.item
        if item is None:
            return inlined(lambda numbers: None)
        if item == ():
            return inlined(lambda numbers: numbers[0])
        return known(Layout.contiguous(item, np.dtype(self.shapes.x_dtype).itemsize))

    def check(self) -> None:
        """Raise ElementStepError if it is the user's functions that cannot be compiled."""
        shapes, (function, jac_function) = self.shapes, self._functions
        number = numba.from_dtype(np.dtype(shapes.dtype))
        x_number = numba.from_dtype(np.dtype(shapes.x_dtype))
        x_types: dict[Any, Any] = {None: types.none, (): x_number}
        x_type = x_types.get(shapes.item, types.Array(x_number, len(shapes.item or ()), "A"))
        params = types.Tuple(
            [
                types.Array(a.dtype, a.ndim, "A", readonly=True) if a.ndim else a.dtype
                for a in self.params_type
            ]
        )
        vector = types.Array(number, 1, "C")
        check("step", function, self.step, (vector, x_type, params, vector))
        if self.jac is not None:
            matrix = types.Array(number, len(shapes.jac_shape), "A")
            check("jac", jac_function, self.jac, (vector, x_type, params, matrix))


class Specializations:
    """The specializations used last."""

    def __init__(self) -> None:
        self._latest: Latest[Specialization] = Latest()

    def get(self, step: Any, x: NDArray | None, y: NDArray) -> Specialization:
        """Return the specialization of a step for a call."""
        shapes = Shapes.of(step, x, y)

        def make() -> Specialization:
            if y.size and (x is None or x.size):
                params = tuple(p if p.ndim else p[()] for p in step.params.values())
                check_access(step, y[0, 0], None if x is None else x[0, 0], params)
            return Specialization(step, shapes)

        return self._latest.get((step.function, step.jac_function, shapes), make)
