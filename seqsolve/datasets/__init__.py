"""Data sets of the examples: downloaded once, checked, and kept on disk.

Each function looks for its files in the directory `path`, else in the one that the environment
variable ``SEQSOLVE_DATA`` names, else in the user's cache, and downloads what is missing there.
Downloads need the extra `datasets` (pooch), and `digits` needs scikit-learn.
"""

from __future__ import annotations

from seqsolve.datasets.files import DatasetError
from seqsolve.datasets.graphs import Graph, cora, normalized_adjacency
from seqsolve.datasets.images import Images, digits, mnist
from seqsolve.datasets.text import Articles, Vocabulary, ag_news, tokenize, word_vectors

__all__ = [
    "Articles",
    "DatasetError",
    "Graph",
    "Images",
    "Vocabulary",
    "ag_news",
    "cora",
    "digits",
    "mnist",
    "normalized_adjacency",
    "tokenize",
    "word_vectors",
]
