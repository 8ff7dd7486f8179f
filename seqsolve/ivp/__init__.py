"""Initial value problems of ordinary differential equations."""

from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._method import Attempt, Method, Points
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.ivp.adjoint import OdeCotangents, vjp
from seqsolve.ivp.result import OdeResult
from seqsolve.ivp.solve import METHODS, solve_ivp

__all__ = [
    "METHODS",
    "Attempt",
    "DenseOutput",
    "Method",
    "OdeCotangents",
    "OdeResult",
    "Points",
    "RightHandSide",
    "solve_ivp",
    "vjp",
]
