"""Sequential computations, solved in parallel."""

import importlib as _importlib
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from seqsolve.adjoint import Cotangents, vjp
from seqsolve.backend import (
    BackendUnavailableError,
    available_backends,
    backend_status,
    get_backend,
)
from seqsolve.deeppcr import deeppcr
from seqsolve.deer import deer
from seqsolve.element import ElementStep, element_step
from seqsolve.ivp import OdeResult, solve_ivp
from seqsolve.jacobi import (
    gauss_seidel,
    gs_jacobi,
    jacobi,
    jacobi_gs,
    triangular_map,
)
from seqsolve.jacobian import BlockDiagonal, Hutchinson
from seqsolve.lyapunov import lyapunov_exponent
from seqsolve.recurrence import cyclic_reduction, linear_recurrence
from seqsolve.sequential import sequential
from seqsolve.solution import (
    ConvergenceError,
    ConvergenceWarning,
    IterationState,
    Solution,
    Status,
    WindowRecord,
)
from seqsolve.step import ElementStepError

if _TYPE_CHECKING:
    from seqsolve import datasets, likelihood_ratio, models, testing, training

__version__ = _version("seqsolve")

__all__ = [
    "BackendUnavailableError",
    "BlockDiagonal",
    "ConvergenceError",
    "ConvergenceWarning",
    "Cotangents",
    "ElementStep",
    "ElementStepError",
    "Hutchinson",
    "IterationState",
    "OdeResult",
    "Solution",
    "Status",
    "WindowRecord",
    "available_backends",
    "backend_status",
    "cyclic_reduction",
    "datasets",
    "deeppcr",
    "deer",
    "element_step",
    "gauss_seidel",
    "get_backend",
    "gs_jacobi",
    "jacobi",
    "jacobi_gs",
    "likelihood_ratio",
    "linear_recurrence",
    "lyapunov_exponent",
    "models",
    "sequential",
    "solve_ivp",
    "testing",
    "training",
    "triangular_map",
    "vjp",
]


def __getattr__(name: str) -> _Any:
    """Load the subpackages that most programs do not need when they are first asked for."""
    if name in ("datasets", "likelihood_ratio", "models", "testing", "training"):
        return _importlib.import_module(f"seqsolve.{name}")
    raise AttributeError(f"module 'seqsolve' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
