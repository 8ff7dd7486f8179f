"""What the reference needs beside autosummary and numpydoc."""

from __future__ import annotations

import collections
import enum
import importlib
import inspect
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

import seqsolve

logger = logging.getLogger(__name__)
_NamedTupleField = type(collections.namedtuple("_Example", "field").field)
_SHAPE = re.compile(r"shape \([^()]*\)")


def setup(app: Any) -> dict[str, Any]:
    """Register what is done."""
    app.add_role("code_or_link", _CodeOrLink())
    app.connect("env-check-consistency", _warn_of_missing_names)
    app.connect("autodoc-skip-member", _skip_named_tuple_fields)
    app.connect("autodoc-process-signature", _no_arguments_of_protocols)
    app.connect("autodoc-process-docstring", _escape_shapes, priority=100)
    app.connect("autodoc-process-docstring", _list_meanings, priority=900)
    return {"parallel_read_safe": True}


class _CodeOrLink(SphinxRole):
    """Text in single backticks: a link where it names something of ours, else code."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        code = nodes.literal(self.rawtext, self.text, classes=["code"])
        root = self.text.partition(".")[0]
        full = self.text if root == "seqsolve" else f"seqsolve.{self.text}"
        member = getattr(seqsolve, root, None)
        if root != "seqsolve" and (inspect.ismodule(member) or root == "vjp"):
            return [code], []  # an argument, rather, or a method
        link = addnodes.pending_xref(
            "",
            code,
            refdomain="py",
            reftype="obj",
            reftarget=full,
            refdoc=self.env.docname,
            refexplicit=True,
        )
        return [link], []


def _warn_of_missing_names(app: Any, env: Any) -> None:
    documented = env.get_domain("py").objects
    public = [app.config.project]
    while public:
        module = importlib.import_module(public.pop())
        for name in module.__all__:
            full = f"{module.__name__}.{name}"
            if inspect.ismodule(getattr(module, name)):
                public.append(full)
            if full not in documented:
                logger.warning("the reference lacks %s", full)


def _skip_named_tuple_fields(
    app: Any, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out fields that the class itself describes."""
    return True if isinstance(obj, _NamedTupleField) else None


def _no_arguments_of_protocols(
    app: Any, what: str, name: str, obj: Any, options: Any, arguments: str, returns: str
) -> tuple[str, str] | None:
    """A protocol is not called to make an object."""
    return ("", "") if what == "class" and getattr(obj, "_is_protocol", False) else None


def _escape_shapes(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Keep the star of ``shape (n_steps, *batch)`` from beginning an emphasis."""
    lines[:] = [_SHAPE.sub(lambda m: m[0].replace("*", r"\*"), line) for line in lines]


def _list_meanings(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """List the members of an enumeration that explains them."""
    if not (isinstance(obj, enum.EnumMeta) and hasattr(obj, "meaning")):
        return
    at = next((i for i, line in enumerate(lines) if line.startswith(".. rubric::")), len(lines))
    members = [""]
    for member in obj:
        members += [f"``{member.name}`` = {member.value}", f"    {member.meaning} {member.advice}"]
    lines[at:at] = [*members, ""]
