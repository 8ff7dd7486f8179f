"""A user's function: its syntax tree, and what its names stand for."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import linecache
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

from seqsolve.step import ElementStepError

__all__ = ["Source", "refusal"]

Definition = ast.FunctionDef | ast.Lambda

#: What to do where a function cannot be translated.
ADVICE = (
    "An element step uses numbers, loops and elements of its arguments, and allocates nothing. "
    "Its array form, `cell.__call__` and `cell.jac` in place of `cell`, runs uncompiled."
)


class Source:
    """The source of a plain Python function.

    Parameters
    ----------
    name : str
        What the user calls it: "step", "jac", or its own name.
    function : callable
        The function; of one compiled by Numba, the Python function.

    Raises
    ------
    ElementStepError
        It is no plain function, or its source is not to be found.
    """

    def __init__(self, name: str, function: Any) -> None:
        function = getattr(function, "py_func", function)
        if not isinstance(function, FunctionType):
            raise ElementStepError(f"`{name}` must be a plain Python function; got {function!r}.")
        self.name = name
        self.function = function
        self.file = function.__code__.co_filename
        self.node = _definition(name, function)
        self._cells = dict(
            zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        )

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters."""
        return [a.arg for a in (*self.node.args.posonlyargs, *self.node.args.args)]

    def lookup(self, name: str) -> tuple[Callable[[], Any], Any]:
        """Return how to read what a name from outside stands for, and what it stands for now.

        Raises
        ------
        NameError
            For nothing.
        """
        for read in (
            functools.partial(_contents, self._cells, name),
            functools.partial(self.function.__globals__.__getitem__, name),
            functools.partial(getattr, builtins, name),
        ):
            try:
                return read, read()
            except (KeyError, ValueError, AttributeError):
                continue
        raise NameError(name)

    def error(self, node: ast.AST, reason: str) -> ElementStepError:
        """Return an error about a part of the function."""
        return refusal(self.name, self.file, getattr(node, "lineno", self.node.lineno), reason)


def refusal(name: str, file: str, line: int, reason: str) -> ElementStepError:
    """Return the error that shows the user's line, the reason, and what to do."""
    text = linecache.getline(file, line).strip() or f"<line {line}>"
    return ElementStepError(
        f"`{name}` cannot be compiled:\n\n    {text}\n\n({file}, line {line}). {reason} {ADVICE}"
    )


def _contents(cells: dict[str, Any], name: str) -> Any:
    return cells[name].cell_contents


def _definition(name: str, function: FunctionType) -> Definition:
    """Return the tree of a function, sure to be what runs."""
    code = function.__code__
    try:
        lines, _ = inspect.findsource(function)
        found = list(_find("".join(lines), code))
        if code.co_filename == "<string>" and not found:  # since Python 3.13, that of `python -c`
            raise OSError("the source is that of other code with the same name")
    except (OSError, SyntaxError, IndexError):
        raise ElementStepError(
            f"`{name}` cannot be compiled: the source of {function.__qualname__} is not to be "
            "found. Define it in a file or a notebook, not by `exec` or at the `>>>` prompt. "
            f"{ADVICE}"
        ) from None
    if len(found) != 1:
        raise refusal(
            name,
            code.co_filename,
            code.co_firstlineno,
            "The file does not tell the function: it has changed since it was imported, "
            "or several functions begin on this line.",
        )
    return found[0]


def _find(text: str, code: CodeType) -> Iterator[Definition]:
    """Yield the definitions in a file that compile to a code object."""
    tree, compiled = _parse(text)
    if not any(_alike(other, code) for other in compiled.get(code.co_firstlineno, ())):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        elif isinstance(node, ast.Lambda) and code.co_name == "<lambda>":
            line = node.lineno
        else:
            continue
        if line == code.co_firstlineno:
            yield node


@functools.lru_cache(maxsize=16)
def _parse(text: str) -> tuple[ast.Module, dict[int, list[CodeType]]]:
    """Return the tree of a file, and the code objects in it by their first line."""
    tree = ast.parse(text)
    compiled: dict[int, list[CodeType]] = {}
    left = [compile(tree, "<source>", "exec", dont_inherit=True)]
    while left:
        code = left.pop()
        compiled.setdefault(code.co_firstlineno, []).append(code)
        left += [c for c in code.co_consts if isinstance(c, CodeType)]
    return tree, compiled


def _alike(a: CodeType, b: CodeType) -> bool:
    """Return whether two code objects do the same."""
    return (a.co_code, a.co_names, a.co_varnames, _numbers(a)) == (
        b.co_code,
        b.co_names,
        b.co_varnames,
        _numbers(b),
    )


def _numbers(code: CodeType) -> list[str]:
    return [repr(c) for c in code.co_consts if isinstance(c, int | float | complex | tuple)]
