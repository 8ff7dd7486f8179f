"""Where the files of the data sets are, and how they come there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class DatasetError(RuntimeError):
    """A data set cannot be had, or is not what it should be; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """A file of a data set.

    Parameters
    ----------
    name : str
        Its name on disk.
    url : str
        Where it is downloaded from.
    known_hash : str
        Checksum of the download: SHA-256, or "md5:" and an MD5.
    """

    name: str
    url: str
    known_hash: str


def directory(path: str | os.PathLike[str] | None) -> Path:
    """Return the directory of the data sets.

    Parameters
    ----------
    path : path or None
        The directory; None takes the one that ``SEQSOLVE_DATA`` names, else the user's cache.

    Returns
    -------
    Path
        The directory. The user's cache need not exist.

    Raises
    ------
    DatasetError
        If a directory is named that does not exist, or the cache is asked for without pooch.
    """
    origin = "`path`" if path is not None else "the environment variable SEQSOLVE_DATA"
    named = path if path is not None else os.environ.get("SEQSOLVE_DATA")
    if named is None:
        return Path(_pooch("a cache of data sets").os_cache("seqsolve"))
    if not Path(named).is_dir():
        raise DatasetError(f"{origin} must name an existing directory; got {os.fspath(named)!r}.")
    return Path(named)


def obtain(source: Source, folder: Path, progress: bool) -> Path:
    """Return the path of a file, downloaded first if it is not there.

    Parameters
    ----------
    source : Source
        The file.
    folder : Path
        Where it is, or is put.
    progress : bool
        Whether to show a progress bar of the download.

    Returns
    -------
    Path
        The file. A download's checksum was right.

    Raises
    ------
    DatasetError
        If the file cannot be downloaded or written, or has another checksum.
    """
    file = folder / source.name
    if file.exists():
        return file
    pooch = _pooch(f"{source.name} is not in {folder}, and downloading it")
    try:
        pooch.retrieve(
            source.url, source.known_hash, fname=source.name, path=folder, progressbar=progress
        )
    except ValueError as error:
        raise DatasetError(
            f"what {source.url} gave is not the {source.name} that is known, and was not kept: "
            f"{error} Try again; if it stays so, the file behind that address has changed."
        ) from error
    except OSError as error:
        raise DatasetError(
            f"cannot download {source.url} to {folder}: {error} If this machine has no network, "
            f"put {source.name} into a directory and name that in `path` or SEQSOLVE_DATA."
        ) from error
    return file


def require_shape(
    name: str, array: npt.NDArray[Any], shape: tuple[int, ...], file: Path
) -> npt.NDArray[Any]:
    """Return `array`, or raise `DatasetError` if it has another shape."""
    if array.shape != shape:
        raise DatasetError(f"{name} in {file} must have shape {shape}; got {array.shape}.")
    return array


def require_labels(
    name: str, labels: npt.NDArray[Any], n_classes: int, file: Path
) -> npt.NDArray[np.int64]:
    """Return `labels`, or raise `DatasetError` unless all classes occur and nothing else."""
    found = np.unique(labels)
    if not np.array_equal(found, np.arange(n_classes)):
        raise DatasetError(
            f"{name} in {file} must hold the classes 0 to {n_classes - 1}; got {found.tolist()}."
        )
    return labels.astype(np.int64)


def _pooch(what: str) -> Any:
    if find_spec("pooch") is None:
        raise DatasetError(
            f"{what} needs pooch, which the extra `datasets` installs: "
            'pip install "seqsolve[datasets]", or pip install ".[datasets]" in the source tree.'
        )
    import pooch

    return pooch
