"""A graph of citations between articles."""

from __future__ import annotations

import os
import pickle
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve.datasets.files import (
    DatasetError,
    Source,
    directory,
    obtain,
    require_labels,
    require_shape,
)

_N_NODES, _N_FEATURES, _N_CLASSES, _N_EDGES = 2_708, 1_433, 7, 10_556
_PLANETOID = (
    "https://raw.githubusercontent.com/kimiyoung/planetoid/"
    "af6abf468a772cc055bec88c52e4d6f51b7c37e3/data/"
)
_HASHES = {
    "x": "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab",
    "y": "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
    "tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
    "ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
    "allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
    "ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
    "graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
    "test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
}
_SOURCES = {
    part: Source(f"ind.cora.{part}", f"{_PLANETOID}ind.cora.{part}", known_hash)
    for part, known_hash in _HASHES.items()
}


@dataclass(frozen=True)
class Graph:
    """A graph with features and classes at its nodes.

    Parameters
    ----------
    features : csr_array, shape (n_nodes, n_features), float32
        What is known of each node.
    adjacency : csr_array, shape (n_nodes, n_nodes), float32
        1 where two nodes are joined; symmetric, no loops.
    labels : ndarray, shape (n_nodes,), int64
        Classes, from 0.
    train_index, val_index, test_index : ndarray, int64
        The nodes of the splits.
    """

    features: Any
    adjacency: Any
    labels: npt.NDArray[np.int64]
    train_index: npt.NDArray[np.int64]
    val_index: npt.NDArray[np.int64]
    test_index: npt.NDArray[np.int64]


def cora(path: str | os.PathLike[str] | None = None, *, progress: bool = False) -> Graph:
    """Return Cora: 2,708 articles, the words in them and who cites whom, in 7 subjects.

    Parameters
    ----------
    path : path, optional
        Directory of ``cora.npz`` (CSR arrays ``feat_data``, ``feat_indices``, ``feat_indptr``,
        ``adj_indices``, ``adj_indptr``, and ``labels``, ``train_index``, ``val_index``,
        ``test_index``) or of Planetoid's eight files ``ind.cora.*``, which are downloaded
        (0.6 MB) if neither is there. By default the directory that ``SEQSOLVE_DATA`` names, else
        the user's cache.
    progress : bool, optional
        Whether to show progress bars of the downloads (needs tqdm).

    Returns
    -------
    Graph
        With the split of Planetoid: 140 nodes to train on, 500 to validate, 1,000 to test.

    Raises
    ------
    DatasetError
        If the files cannot be had or are not Cora.

    References
    ----------
    Sen et al., Collective classification in network data, AI Magazine 29 (2008);
    Yang, Cohen, Salakhutdinov, Revisiting semi-supervised learning with graph embeddings,
    arXiv:1603.08861.

    Examples
    --------
    >>> from seqsolve import datasets
    >>> datasets.cora().features.shape  # doctest: +SKIP
    (2708, 1433)
    """
    folder = directory(path)
    archive = folder / "cora.npz"
    if archive.exists():
        graph, origin = _read_archive(archive), archive
    else:
        files = {part: obtain(source, folder, progress) for part, source in _SOURCES.items()}
        graph, origin = _read_planetoid(files), folder
    require_shape("features", graph.features, (_N_NODES, _N_FEATURES), origin)
    require_shape("adjacency", graph.adjacency, (_N_NODES, _N_NODES), origin)
    require_labels("labels", graph.labels, _N_CLASSES, origin)
    if graph.adjacency.nnz != _N_EDGES or abs(graph.adjacency - graph.adjacency.T).nnz:
        raise DatasetError(
            f"adjacency in {origin} must be symmetric with {_N_EDGES} entries; "
            f"got {graph.adjacency.nnz}."
        )
    for name, n in (("train_index", 140), ("val_index", 500), ("test_index", 1_000)):
        require_shape(name, getattr(graph, name), (n,), origin)
    return graph


def normalized_adjacency(adjacency: Any) -> Any:
    """Return the matrix of graph convolutions: D^(-1/2) (A + I) D^(-1/2), D the degrees of A + I.

    Parameters
    ----------
    adjacency : sparse array or array_like, shape (n_nodes, n_nodes)
        Symmetric adjacency without loops.

    Returns
    -------
    csr_array, shape (n_nodes, n_nodes)
        In the dtype of `adjacency`, integers as float64.

    Raises
    ------
    ValueError
        If `adjacency` is not a square matrix.

    References
    ----------
    Kipf, Welling, Semi-supervised classification with graph convolutional networks,
    arXiv:1609.02907, equation 2.

    Examples
    --------
    >>> from seqsolve import datasets
    >>> datasets.normalized_adjacency([[0, 1], [1, 0]]).toarray()
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    from scipy import sparse

    a = sparse.csr_array(adjacency)
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"`adjacency` must be a square matrix; got shape {a.shape}.")
    dtype = np.result_type(a.dtype, np.float32 if a.dtype.kind == "f" else np.float64)
    a = a.astype(dtype) + sparse.eye_array(a.shape[0], dtype=dtype)
    scale = sparse.diags_array(1 / np.sqrt(np.asarray(a.sum(axis=1)).ravel()), dtype=dtype)
    return sparse.csr_array(scale @ a @ scale)


def _read_archive(file: Path) -> Graph:
    from scipy import sparse

    with np.load(file) as archive:
        try:
            a = {name: archive[name] for name in archive.files}
            n_nodes = len(a["labels"])
            features = sparse.csr_array(
                (a["feat_data"], a["feat_indices"], a["feat_indptr"]), shape=(n_nodes, _N_FEATURES)
            )
            ones = np.ones(len(a["adj_indices"]), np.float32)
            adjacency = sparse.csr_array(
                (ones, a["adj_indices"], a["adj_indptr"]), shape=(n_nodes, n_nodes)
            )
            features.check_format()
            adjacency.check_format()
            return Graph(
                features,
                adjacency,
                a["labels"].astype(np.int64),
                a["train_index"],
                a["val_index"],
                a["test_index"],
            )
        except (KeyError, ValueError) as error:
            raise DatasetError(f"{file} is not the graph Cora: {error}.") from error


def _read_planetoid(files: dict[str, Path]) -> Graph:
    """Return the graph of Planetoid's files, in which the test nodes come last, shuffled."""
    from scipy import sparse

    part = {name: _unpickle(file) for name, file in files.items() if name != "test.index"}
    shuffled = np.loadtxt(files["test.index"], dtype=np.int64)
    features = sparse.vstack([part["allx"], part["tx"]]).tolil()
    one_hot = np.vstack([part["ally"], part["ty"]])
    features[shuffled] = features[np.sort(shuffled)]
    one_hot[shuffled] = one_hot[np.sort(shuffled)]
    n, n_train = one_hot.shape[0], len(part["y"])
    ends = np.array([(i, j) for i, others in part["graph"].items() for j in others if i != j])
    joined = sparse.coo_array((np.ones(len(ends), np.float32), tuple(ends.T)), shape=(n, n))
    adjacency = sparse.csr_array(joined)
    adjacency.data[:] = 1
    return Graph(
        sparse.csr_array(features).astype(np.float32),
        adjacency,
        one_hot.argmax(axis=1),
        np.arange(n_train),
        np.arange(n_train, n_train + 500),
        np.sort(shuffled),
    )


def _unpickle(file: Path) -> Any:
    """Return what a file of Planetoid holds, which Python 2 has pickled."""
    with file.open("rb") as stream:
        try:
            return _ArraysOnly(stream, encoding="latin1").load()
        except (pickle.UnpicklingError, EOFError) as error:
            raise DatasetError(f"{file} is not a file of Planetoid: {error}") from error


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays, sparse matrices and lists; a pickle that names anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        from scipy import sparse

        known = {
            "scipy.sparse.csr.csr_matrix": sparse.csr_matrix,
            "numpy.core.multiarray._reconstruct": np.zeros(0).__reduce__()[0],
            "numpy.ndarray": np.ndarray,
            "numpy.dtype": np.dtype,
            "collections.defaultdict": defaultdict,
            "__builtin__.list": list,
        }
        try:
            return known[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}.") from None
