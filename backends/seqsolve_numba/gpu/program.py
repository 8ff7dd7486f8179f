"""Element steps as device functions, and the kernels made of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numpy as np
from numba.core.errors import NumbaError

from seqsolve.step import ElementStepError
from seqsolve_numba.gpu import launch
from seqsolve_numba.specialization import Shapes, Specialization
from seqsolve_numba.translate import Translator, unsupported

try:
    from numba.cuda.core.errors import NumbaError as CudaNumbaError
except ImportError:  # the CUDA support that comes with Numba itself
    CudaNumbaError = NumbaError

Array = Any


class Program:
    """A step's functions for the device, for one dtype, and the kernels made of them.

    Parameters
    ----------
    step : ElementStep
        The step.
    dtype : dtype
        Of the state.
    item_ndim : int or None
        Axes of the input at one position; None without input.
    """

    def __init__(self, step: Any, dtype: np.dtype[Any], item_ndim: int | None) -> None:
        translate = Translator(np.finfo(dtype).dtype, launch.device_function)
        self.number = dtype.type
        self.n_state: int = step.n_state
        self.jac_shape: tuple[int, ...] = step.jac_shape
        self.step = translate(step.function)
        self.jac: Any = None if step.jac_function is None else translate(step.jac_function)
        self.argument = launch.view_function(_argument if item_ndim is not None else _nothing)
        self._kernels: dict[str, Any] = {}

    @property
    def width(self) -> int:
        """How many entries a row of the Jacobian stores."""
        return 1 if self.jac_shape == (self.n_state,) else self.jac_shape[-1]

    def kernel(self, name: str, build: Callable[[Program], Any]) -> Any:
        """Return the kernel ``build(self)``, made once."""
        if name not in self._kernels:
            self._kernels[name] = launch.kernel(build(self))
        return self._kernels[name]


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

    def get(self, step: Any, x: Array | None, y: Array) -> Program:
        """Return the program of a step for a call."""
        item_ndim = None if x is None else x.ndim - 2
        key = (step.function, step.jac_function, step.n_state, step.jac_shape, y.dtype, item_ndim)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = Program(step, y.dtype, item_ndim)
                if len(self._kept) > self._maximum:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


def _argument(x: Any, t: int, k: int) -> Any:
    return x[t, k]


def _nothing(x: Any, t: int, k: int) -> None:
    return None


@contextmanager
def explained(step: Any, x: Array | None, y: Array) -> Iterator[None]:
    """Show the user's line where one of a step's functions cannot be compiled.

    Parameters
    ----------
    step : ElementStep
        The step.
    x : array, shape (n_steps, n_batch, *item), or None
        Its input.
    y : array, shape (n_steps + 1, n_batch, n_state)
        Its states.
    """
    try:
        yield
    except (NumbaError, CudaNumbaError) as error:
        shapes = Shapes.of(step, x, y)
        Specialization(step, shapes).check()
        if step.function.__code__.co_filename not in str(error):
            raise
        raise ElementStepError(unsupported(step.function, error)) from None
