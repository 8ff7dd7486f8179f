"""News articles, and the way from text to arrays."""

from __future__ import annotations

import csv
import gzip
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve.datasets.files import DatasetError, Source, directory, obtain, require_labels

_AG_NEWS = (
    "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/"
    "555590db4219b1243abb1918effd6a7425a2d75f/data/ag_news_csv/"
)
_SOURCES = {
    "train": Source(
        "ag_news_train.csv", f"{_AG_NEWS}train.csv", "md5:b1a00f826fdfbd249f79597b59e1dc12"
    ),
    "test": Source(
        "ag_news_test.csv",
        f"{_AG_NEWS}test.csv",
        "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699",
    ),
}
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


@dataclass(frozen=True)
class Articles:
    """Labelled texts in two splits.

    Parameters
    ----------
    train_texts, test_texts : tuple of str
        The texts.
    train_labels, test_labels : ndarray, shape (n_texts,), int64
        Classes, from 0.
    classes : tuple of str
        Their names.
    """

    train_texts: tuple[str, ...]
    train_labels: npt.NDArray[np.int64]
    test_texts: tuple[str, ...]
    test_labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]


def ag_news(path: str | os.PathLike[str] | None = None, *, progress: bool = False) -> Articles:
    """Return AG-News: titles and first sentences of news in 4 subjects.

    Parameters
    ----------
    path : path, optional
        Directory of ``ag_news_train.csv`` and ``ag_news_test.csv``, or of a selection of them,
        ``ag_news_train.csv.gz`` and ``ag_news_test.csv.gz`` with columns ``label,text``. They are
        downloaded (31 MB) if they are not there. By default the directory that ``SEQSOLVE_DATA``
        names, else the user's cache.
    progress : bool, optional
        Whether to show progress bars of the downloads (needs tqdm).

    Returns
    -------
    Articles
        All 120,000 articles to train on and 7,600 to test, or those of the selection.

    Raises
    ------
    DatasetError
        If the files cannot be had or are not AG-News.

    References
    ----------
    Zhang, Zhao, LeCun, Character-level convolutional networks for text classification,
    arXiv:1509.01626. The articles are for research and other non-commercial use.

    Examples
    --------
    >>> from seqsolve import datasets
    >>> datasets.ag_news().classes  # doctest: +SKIP
    ('World', 'Sports', 'Business', 'Sci/Tech')
    """
    folder = directory(path)
    train, test = (_read(_split_file(folder, split, progress)) for split in ("train", "test"))
    return Articles(*train, *test, ("World", "Sports", "Business", "Sci/Tech"))


def tokenize(text: str) -> list[str]:
    """Split a text into words: runs of letters and digits, in lower case.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    list of str
        The words in order. An apostrophe stays within a word.

    Examples
    --------
    >>> from seqsolve import datasets
    >>> datasets.tokenize("It's 5% up, AP says.")
    ["it's", '5', 'up', 'ap', 'says']
    """
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Numbers for words.

    Parameters
    ----------
    words : tuple of str
        The words; their place is their number.

    Examples
    --------
    >>> from seqsolve import datasets
    >>> vocabulary = datasets.Vocabulary.of(["to be or not", "to be"], min_count=2)
    >>> vocabulary.words
    ('to', 'be')
    >>> vocabulary.encode(["not to be", "be"], n_steps=2)
    array([[ 0,  1],
           [ 1, -1]])
    """

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str], *, min_count: int = 1) -> Vocabulary:
        """Return the vocabulary of texts, frequent words first.

        Parameters
        ----------
        texts : iterable of str
            The texts.
        min_count : int, optional
            Words that are rarer are left out.

        Returns
        -------
        Vocabulary
            Words of the same frequency are in the order of their first occurrence.
        """
        counts = Counter(word for text in texts for word in tokenize(text))
        return cls(tuple(word for word, n in counts.most_common() if n >= min_count))

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, texts: Sequence[str], *, n_steps: int) -> npt.NDArray[np.int64]:
        """Return the numbers of the words of texts, one word a step.

        Parameters
        ----------
        texts : sequence of str
            The texts. Words that are not in the vocabulary are left out.
        n_steps : int
            Length of the sequences: longer texts are cut, shorter ones padded.

        Returns
        -------
        ndarray, shape (n_steps, n_texts), int64
            Numbers of words, and -1 behind the end of a text: ``tokens >= 0`` is the mask.

        Raises
        ------
        ValueError
            If `n_steps` is not positive.
        """
        if n_steps < 1:
            raise ValueError(f"`n_steps` must be positive; got {n_steps}.")
        tokens = np.full((n_steps, len(texts)), -1, np.int64)
        for column, text in enumerate(texts):
            numbers = [self._numbers[w] for w in tokenize(text) if w in self._numbers][:n_steps]
            tokens[: len(numbers), column] = numbers
        return tokens

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}


def word_vectors(
    tokens: npt.NDArray[np.integer[Any]], n_words: int, n_embedding: int
) -> npt.NDArray[np.float32]:
    """Return vectors for words from the texts they occur in, without labels.

    Latent semantic analysis: the right singular vectors of the matrix of texts and words, whose
    entries are `(1 + log count) log(n_texts / n_texts with the word)` with rows scaled to norm 1.
    Each word's vector is scaled to norm `sqrt(n_embedding) min(1, log(n_texts / n_texts with the
    word) / 4)`, so that the words of every text weigh little.

    Parameters
    ----------
    tokens : ndarray, shape (n_steps, n_texts), integers
        Numbers of the words, as of `Vocabulary.encode`; negative numbers are no words.
    n_words : int
        Size of the vocabulary.
    n_embedding : int
        Length of the vectors; less than `n_words` and the number of texts.

    Returns
    -------
    ndarray, shape (n_words, n_embedding), float32
        The vectors; 0 for words that do not occur.

    Raises
    ------
    ValueError
        If `tokens` has another shape, or `n_embedding` is out of range.

    References
    ----------
    Deerwester et al., Indexing by latent semantic analysis, J. Am. Soc. Inf. Sci. 41 (1990).

    Examples
    --------
    >>> from seqsolve import datasets
    >>> texts = ["red apple", "green apple", "fast car", "slow car"]
    >>> vocabulary = datasets.Vocabulary.of(texts)
    >>> tokens = vocabulary.encode(texts, n_steps=2)
    >>> datasets.word_vectors(tokens, len(vocabulary), 2).shape
    (6, 2)
    """
    from scipy import sparse
    from scipy.sparse.linalg import svds

    if tokens.ndim != 2:
        raise ValueError(f"`tokens` must have shape (n_steps, n_texts); got {tokens.shape}.")
    n_texts = tokens.shape[1]
    if not 0 < n_embedding < min(n_words, n_texts):
        raise ValueError(
            f"`n_embedding` must be positive and less than {min(n_words, n_texts)}, the number of "
            f"words or texts; got {n_embedding}."
        )
    _, texts = np.nonzero(tokens >= 0)
    words = tokens[tokens >= 0]
    counts = sparse.coo_array((np.ones(len(words)), (texts, words)), shape=(n_texts, n_words))
    weights = sparse.csr_array(counts)
    occurrences = np.bincount(weights.indices, minlength=n_words)
    rarity = np.log(n_texts / np.maximum(1, occurrences))
    weights.data = (1 + np.log(weights.data)) * rarity[weights.indices]
    norms = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
    weights = sparse.diags_array(1 / np.maximum(norms, np.finfo(float).tiny)) @ weights
    start = np.random.default_rng(0).standard_normal(min(weights.shape))
    vectors: npt.NDArray[np.float64] = svds(weights, k=n_embedding, tol=0.01, v0=start)[2].T
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    scale = np.sqrt(n_embedding) * np.minimum(1, rarity / 4) / lengths * (occurrences > 0)
    return np.asarray(vectors * scale[:, None], dtype=np.float32)


def _split_file(folder: Path, split: str, progress: bool) -> Path:
    selection = folder / f"ag_news_{split}.csv.gz"
    return selection if selection.exists() else obtain(_SOURCES[split], folder, progress)


def _read(file: Path) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Return texts and labels: of `label,text` behind a header, or of class, title and text."""
    with (gzip.open if file.suffix == ".gz" else open)(
        file, "rt", encoding="utf-8", newline=""
    ) as stream:
        rows = list(csv.reader(stream))
    headed = rows[:1] == [["label", "text"]]
    rows, first = (rows[1:], 0) if headed else (rows, 1)
    try:
        labels = np.array([int(row[0]) for row in rows], dtype=np.int64) - first
        texts = tuple(" ".join(row[1:]).replace("\\", " ") for row in rows)
    except (ValueError, IndexError) as error:
        raise DatasetError(f"{file} is not a table of labels and texts: {error}.") from error
    return texts, require_labels("labels", labels, 4, file)
