"""Sphinx configuration. Every code cell of the pages runs when they are built."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpydoc.xref

import seqsolve

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

# Figures go into the pages, whatever backend the shell that builds them has chosen.
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"

# The pages are the same with a GPU and without: "numba" is CPU threads in them.
os.environ["NUMBA_DISABLE_CUDA"] = "1"

project = "seqsolve"
author = "The seqsolve developers"
copyright = author
version = release = seqsolve.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "reference",
    "executed_docstrings",
    "figures",
    "include_if_present",
    "joined_streams",
    "mathml",
]
exclude_patterns = ["_build", "benchmarks/*_table.md", "README*"]
templates_path = ["_templates"]
default_role = "code_or_link"  # of docs/_ext/reference.py
nitpicky = False

# Pages: a cell that raises, or that writes to stderr, fails a build with -W.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_output_stderr = "remove-warn"
nb_render_markdown_format = "myst"
nb_mime_priority_overrides = [("html", "image/svg+xml", 0)]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

# Reference.
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True  # types that are ours become links
numpydoc_xref_aliases = {
    name: f"seqsolve.{name}"
    for name in seqsolve.__all__
    if isinstance(getattr(seqsolve, name), type)
}
numpydoc_xref_ignore = "all"
numpydoc.xref.DEFAULT_LINKS.clear()  # into the pages of others
numpydoc_validation_checks = {
    "GL03",  # double line breaks
    "GL07",  # sections in the wrong order
    "PR02",  # unknown parameters
    "PR07",  # a parameter without a description
    "RT03",  # a return value without a description
    "SS03",  # a summary without a period
    "SS06",  # a summary of several lines
}
numpydoc_validation_exclude = {r"\.__", r"\._"}

# HTML.
html_theme = "pydata_sphinx_theme"
html_title = f"seqsolve {release}"
html_static_path = ["_static"]
html_css_files = ["seqsolve.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
}
_ALONE = [page.stem for page in DOCS.glob("*.md")]  # pages that belong to no section
html_sidebars = {page: [] for page in (*_ALONE, "benchmarks/*", "genindex", "search")}
