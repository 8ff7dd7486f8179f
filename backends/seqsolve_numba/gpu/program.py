"""Element steps as device functions, and the kernels made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba.core.errors import NumbaError

from seqsolve.step import ElementStepError
from seqsolve_numba.diagnosis import check_access, unsupported
from seqsolve_numba.gpu import launch
from seqsolve_numba.latest import Latest
from seqsolve_numba.specialization import Shapes, Specialization
from seqsolve_numba.translate import Translator

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
        self._translator = translate = Translator(np.finfo(dtype).dtype, launch.device_function)
        self.number = dtype.type
        self.n_state: int = step.n_state
        self.jac_shape: tuple[int, ...] = step.jac_shape
        self.step = translate(step.function)
        self.jac: Any = None if step.jac_function is None else translate(step.jac_function)
        self.argument = launch.view_function(_argument if item_ndim is not None else _nothing)
        self._kernels: dict[str, Any] = {}

    @property
    def current(self) -> bool:
        """Whether the step's functions are what they were when they were translated."""
        return self._translator.current

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
    """The programs used last."""

    def __init__(self) -> None:
        self._latest: Latest[Program] = Latest()

    def get(self, step: Any, x: Array | None, y: Array, to_numpy: Callable[..., Any]) -> Program:
        """Return the program of a step for a call; ``to_numpy(array)`` is in host memory."""
        item_ndim = None if x is None else x.ndim - 2

        def make() -> Program:
            if y.size and (x is None or x.size):
                params = tuple(p if p.ndim else p[()] for p in map(to_numpy, step.params.values()))
                item = None if x is None else to_numpy(x[0, 0])
                check_access(step, to_numpy(y[0, 0]), item, params)
            return Program(step, y.dtype, item_ndim)

        key = (step.function, step.jac_function, step.n_state, step.jac_shape, y.dtype, item_ndim)
        return self._latest.get(key, make)


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
