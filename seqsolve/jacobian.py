"""Jacobians of step functions: their structures, and where they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from seqsolve import _checks
from seqsolve.backend import Array

__all__ = ["BlockDiagonal", "Hutchinson", "Structure"]

Difference: TypeAlias = Literal["cs", "2-point", "3-point"]
DIFFERENCES: tuple[Difference, ...] = get_args(Difference)

StructureName: TypeAlias = Literal["diagonal", "block_diagonal", "dense"]


@dataclass(frozen=True)
class Structure:
    """The structure of a step's Jacobian.

    Parameters
    ----------
    kind : {"diagonal", "block_diagonal", "dense"}
        How it is stored: ``(..., n)``, ``(..., h, k, k)`` or ``(..., n, n)``.
    block_size : int or None
        ``k``, where the kind is block-diagonal and the size is known.
    """

    kind: StructureName
    block_size: int | None = None

    def width(self, n_state: int) -> int:
        """Return how many entries a row of the Jacobian stores."""
        return {"diagonal": 1, "dense": n_state}.get(self.kind, self.block_size or n_state)

    def __str__(self) -> str:
        if self.kind == "block_diagonal" and self.block_size:
            return f"block_diagonal (blocks of {self.block_size})"
        return self.kind


def BlockDiagonal(block_size: int) -> Structure:
    """Return the block-diagonal structure with square blocks of one size.

    Parameters
    ----------
    block_size : int
        Rows and columns of a block; it must divide the size of the state.

    Returns
    -------
    Structure
        For `jac_structure`.

    Examples
    --------
    >>> import seqsolve
    >>> print(seqsolve.BlockDiagonal(4))
    block_diagonal (blocks of 4)
    """
    return Structure("block_diagonal", _checks.integer("block_size", block_size, 1))


@dataclass(frozen=True)
class Hutchinson:
    """Estimate the Jacobian's diagonal from a few Jacobian-vector products.

    ``diag J`` is approximated by the mean of ``z * (J z)`` over random signs
    `z`. The estimate is noisy: Newton's method still converges, in more
    iterations, and gradients use the exact Jacobian all the same.

    Parameters
    ----------
    products : int
        Jacobian-vector products per estimate.
    seed : int
        Seed of the signs; the same seed gives the same iterates.

    References
    ----------
    .. [1] M. F. Hutchinson, "A stochastic estimator of the trace of the
       influence matrix for Laplacian smoothing splines", 1989.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> W = 0.2 * np.ones((3, 3))
    >>> f = lambda y, x: np.tanh(y @ W + x)
    >>> x = np.linspace(-1, 1, 60).reshape(20, 3)
    >>> seqsolve.deer(f, seqsolve.Hutchinson(products=2), x, np.zeros(3)).success
    True
    """

    products: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        _checks.integer("products", self.products, 1)
        _checks.integer("seed", self.seed, 0)


def parse_structure(value: Any, n_state: int) -> Structure | None:
    """Return the structure that a user asked for, checked against the state's size."""
    if isinstance(value, str):
        value = Structure(
            _checks.one_of(  # type: ignore[arg-type]
                "jac_structure", value, ("diagonal", "block_diagonal", "dense")
            )
        )
    if value is not None and not isinstance(value, Structure):
        raise TypeError(
            "`jac_structure` must be 'diagonal', 'dense', 'block_diagonal', "
            f"BlockDiagonal(block_size) or None; got {value!r}."
        )
    if value is not None and value.block_size and n_state % value.block_size:
        raise ValueError(
            "`jac_structure` must have a block size that divides the state's "
            f"{n_state} elements; got {value.block_size}."
        )
    return value


def structure_of(shape: tuple[int, ...], y_shape: tuple[int, ...]) -> Structure:
    """Return the structure that a Jacobian's shape names."""
    lead, n = y_shape[:-1], y_shape[-1]
    if shape == y_shape:
        return Structure("diagonal")
    if shape == (*lead, n, n):
        return Structure("dense")
    if shape[:-3] == lead and len(shape) == len(lead) + 3:
        h, k, k2 = shape[-3:]
        if k == k2 and h * k == n:
            return Structure("block_diagonal", k)
    message = f"`jac` must return (…, {n}), (…, h, k, k) or (…, {n}, {n}); got {shape}."
    if shape in ((n,), (n, n)):
        axes = ", ".join(map(str, shape))
        message += f" The same for all steps is np.broadcast_to(A, (*y_prev.shape[:-1], {axes}))."
    raise ValueError(message)


def project(xp: Any, A: Array, structure: Structure, target: Structure | None) -> Array:
    """Return the part of `A` inside the target structure."""
    if target is None or target.kind == "dense" or structure.kind == "diagonal":
        return A
    if target.kind == "diagonal":
        diagonal = xp.diagonal(A, axis1=-2, axis2=-1)
        if structure.kind == "block_diagonal":
            diagonal = diagonal.reshape(*A.shape[:-3], -1)
        return diagonal
    k = target.block_size
    if k is None or structure.block_size == k:
        return A
    if structure.kind == "block_diagonal":
        raise ValueError(
            f"`jac_structure` asks for blocks of {k}; `jac` returns blocks of "
            f"{structure.block_size}."
        )
    h = A.shape[-1] // k
    blocks = A.reshape(*A.shape[:-2], h, k, h, k)
    return xp.moveaxis(xp.diagonal(blocks, axis1=-4, axis2=-2), -1, -3)


def meet(structure: Structure, target: Structure | None) -> Structure:
    """Return the structure that `project` gives."""
    if target is None or target.kind == "dense" or structure.kind == "diagonal":
        return structure
    if target.kind == "block_diagonal" and target.block_size is None:
        return structure
    return target


def differences(
    xp: Any,
    f: Callable[[Array], Array],
    y: Array,
    fy: Array | None,
    scheme: str,
    structure: Structure,
) -> Array:
    """Differentiate `f` at `y` numerically, with one direction per colour.

    All blocks are perturbed at once, so a diagonal Jacobian takes one
    direction, blocks of k take k, a dense one n.

    Parameters
    ----------
    xp : namespace
        Array functions.
    f : callable
        ``f(y)``, vectorised over leading axes.
    y : array, shape (..., n)
        The point.
    fy : array, shape (..., n), or None
        The value there; only forward differences need it.
    scheme : {"cs", "2-point", "3-point"}
        Complex step, forward or central differences.
    structure : Structure
        The structure to fill; entries outside are taken for zero.

    Returns
    -------
    array
        The Jacobian, in the structure's shape.
    """
    n = y.shape[-1]
    k = structure.width(n)
    in_blocks = (*y.shape[:-1], n // k, k)
    h = _displacement(xp, y, xp.maximum(1, xp.abs(y)), scheme)
    columns = []
    for j in range(k):
        direction = xp.zeros_like(h)
        direction[..., j::k] = h[..., j::k]
        change = _change(f, y, fy, direction, scheme).reshape(in_blocks)
        columns.append(change / h.reshape(in_blocks)[..., j : j + 1])
    if structure.kind == "diagonal":
        return columns[0].reshape(y.shape)
    blocks = xp.stack(columns, axis=-1)
    return blocks[..., 0, :, :] if structure.kind == "dense" else blocks


def outside(
    xp: Any, f: Callable[[Array], Array], y: Array, scheme: str, structure: Structure
) -> float:
    """Return how far ``J z`` is from the product that the structure allows, 0 if it explains it.

    `z` holds signs, one for each block. They are those of the bits of the
    block's number, one bit after the other: any two blocks differ in one. What
    differences are uncertain of is not counted.
    """
    A = differences(xp, f, y, None, scheme, structure)
    h = _displacement(xp, y, xp.maximum(1, xp.abs(y).max(axis=-1, keepdims=True)), scheme)
    size = 1 + float(xp.where(xp.isfinite(A), xp.abs(A), 0).max())
    uncertain = 100 * float(np.finfo(np.dtype(str(y.dtype))).eps) ** 0.5 * size
    k = structure.width(y.shape[-1])
    numbers = np.random.default_rng(0).permutation(y.shape[-1] // k)
    largest = 0.0
    for bit in range((numbers.size - 1).bit_length()):
        signs = np.repeat((numbers >> bit & 1) * 2 - 1, k)
        z = xp.zeros_like(y) + xp.asarray(signs, dtype=y.dtype)
        product = _change(f, y, None, h * z, scheme) / h
        if structure.kind == "diagonal":
            allowed = A * z
        else:
            allowed = xp.matmul(A, z.reshape(*A.shape[:-1], 1)).reshape(y.shape)
        excess = xp.abs(product - allowed)
        largest = max(largest, float(xp.where(excess > uncertain, excess, 0).max()))
    return largest


def hutchinson(
    xp: Any, f: Callable[[Array], Array], y: Array, fy: Array, signs: list[Array]
) -> Array:
    """Return the mean of ``z * (J z)`` over the given signs, J z by central differences."""
    h = _displacement(xp, y, xp.maximum(1, xp.abs(y).max(axis=-1, keepdims=True)), "3-point")
    return sum(z * _change(f, y, fy, h * z, "3-point") / h for z in signs) / len(signs)


def _displacement(xp: Any, y: Array, size: Array, scheme: str) -> Array:
    """Return how far to move, of a kind that ``size + h`` represents exactly."""
    eps = float(np.finfo(np.dtype(str(y.dtype))).eps)
    relative = {"cs": 1e-20, "2-point": eps**0.5, "3-point": eps ** (1 / 3)}[scheme]
    return size * relative if scheme == "cs" else (size + relative * size) - size


def _change(
    f: Callable[[Array], Array], y: Array, fy: Array | None, displacement: Array, scheme: str
) -> Array:
    """Return the change of `f` to first order, for a small displacement of `y`."""
    if scheme == "cs":
        moved = f(y + 1j * displacement)
        if np.dtype(str(moved.dtype)).kind != "c":
            _check_constant(f, y, moved)
        return moved.imag
    if scheme == "2-point":
        return f(y + displacement) - fy
    return (f(y + displacement) - f(y - displacement)) / 2


def _check_constant(f: Callable[[Array], Array], y: Array, value: Array) -> None:
    """Raise if `f`, which dropped the imaginary part of its argument, depends on it at all."""
    if not bool(((f(y + 0.5) == value) | (value != value)).all()):
        raise ValueError(
            "`jac` must not be 'cs' where `f` is not analytic: `f` returns real values for complex "
            "states, as `abs` and `.real` do. Use '2-point' or '3-point', or give the Jacobian."
        )
