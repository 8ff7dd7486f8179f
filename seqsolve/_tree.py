"""Trees of arrays: an array, or a tuple, list or dict of trees, or None."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its path, in a fixed order; None has no leaves."""
    if tree is None:
        return
    if isinstance(tree, dict):
        for key, child in tree.items():
            yield from leaves(child, f"{path}[{key!r}]")
    elif isinstance(tree, tuple | list) and not _is_plain_sequence(tree):
        for i, child in enumerate(tree):
            yield from leaves(child, f"{path}[{i}]")
    else:
        yield path, tree


def tree_map(fun: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply `fun` to the leaves of trees of one shape, keeping the containers."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {k: tree_map(fun, child, *(o[k] for o in others)) for k, child in tree.items()}
    if isinstance(tree, tuple | list) and not _is_plain_sequence(tree):
        mapped = [tree_map(fun, child, *rest) for child, *rest in zip(tree, *others, strict=True)]
        if hasattr(tree, "_fields"):
            return type(tree)(*mapped)
        return type(tree)(mapped)
    return fun(tree, *others)


def _is_plain_sequence(tree: tuple[Any, ...] | list[Any]) -> bool:
    """Tell a list of numbers, which is one array, from a list of arrays."""
    while isinstance(tree, tuple | list):
        if not tree:
            return False
        tree = tree[0]
    return isinstance(tree, int | float | complex | bool | np.generic)
