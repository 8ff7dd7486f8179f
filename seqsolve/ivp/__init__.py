"""Initial value problems of ordinary differential equations."""

from seqsolve.ivp._arguments import Batched, Signal
from seqsolve.ivp._batch_dense import BatchDenseOutput
from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._method import Attempt, Method, Points
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.ivp._tape import Pullback, Tape
from seqsolve.ivp.adjoint import OdeCotangents, vjp
from seqsolve.ivp.result import OdeResult
from seqsolve.ivp.solve import METHODS, solve_ivp

__all__ = [
    "METHODS",
    "Attempt",
    "BatchDenseOutput",
    "Batched",
    "DenseOutput",
    "Method",
    "OdeCotangents",
    "OdeResult",
    "Points",
    "Pullback",
    "RightHandSide",
    "Signal",
    "Tape",
    "solve_ivp",
    "vjp",
]
