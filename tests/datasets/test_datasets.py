"""Data sets: where they are looked for, what is refused, and the way from text to arrays."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import pickle
import threading
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from seqsolve import datasets
from seqsolve.datasets import files, graphs, images, text

HAS_DATA = pytest.mark.skipif("SEQSOLVE_DATA" not in os.environ, reason="SEQSOLVE_DATA is not set")
HEADED = "label,text\n0,war\n1,match\n2,shares\n3,chips\n"
ORIGINAL = '"1","war","far"\n"2","match","won\\lost"\n"3","shares",""\n"4","chips","small"\n'


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a directory from this machine."""
    root = tmp_path / "served"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=root)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield root, f"http://127.0.0.1:{listening.server_port}/"
        listening.shutdown()
        thread.join()


def test_a_missing_file_is_downloaded_checked_and_kept(server, tmp_path):
    root, url = server
    (root / "a.bin").write_bytes(b"contents")
    source = files.Source("b.bin", url + "a.bin", hashlib.sha256(b"contents").hexdigest())
    file = files.obtain(source, tmp_path, progress=False)
    assert file == tmp_path / "b.bin"
    assert file.read_bytes() == b"contents"
    (root / "a.bin").unlink()
    assert files.obtain(source, tmp_path, progress=False) == file


def test_a_download_with_another_checksum_is_refused(server, tmp_path):
    root, url = server
    (root / "a.bin").write_bytes(b"contents, changed")
    source = files.Source("a.bin", url + "a.bin", hashlib.sha256(b"contents").hexdigest())
    with pytest.raises(datasets.DatasetError, match=r"(?s)is not the a\.bin that is known.*hash"):
        files.obtain(source, tmp_path, progress=False)
    assert not (tmp_path / "a.bin").exists()


def test_a_failed_download_says_what_to_do(server, tmp_path):
    _, url = server
    with pytest.raises(datasets.DatasetError, match=r"(?s)put absent\.bin .* SEQSOLVE_DATA"):
        files.obtain(files.Source("absent.bin", url + "absent.bin", "0" * 64), tmp_path, False)


def test_without_pooch_the_message_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(datasets.DatasetError, match=r"seqsolve\[datasets\]"):
        datasets.mnist(tmp_path)
    monkeypatch.delenv("SEQSOLVE_DATA", raising=False)
    with pytest.raises(datasets.DatasetError, match=r"seqsolve\[datasets\]"):
        files.directory(None)


def test_where_files_are_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("SEQSOLVE_DATA", str(tmp_path))
    assert files.directory(None) == tmp_path
    assert files.directory(tmp_path.parent) == tmp_path.parent
    with pytest.raises(datasets.DatasetError, match="`path` must name an existing directory"):
        files.directory(tmp_path / "absent")
    monkeypatch.setenv("SEQSOLVE_DATA", str(tmp_path / "absent"))
    with pytest.raises(datasets.DatasetError, match="SEQSOLVE_DATA must name an existing"):
        files.directory(None)
    monkeypatch.delenv("SEQSOLVE_DATA")
    assert files.directory(None).name == "seqsolve"


def test_every_download_has_a_checksum():
    sources = [images._MNIST, *text._SOURCES.values(), *graphs._SOURCES.values()]
    for source in sources:
        kind, _, digest = source.known_hash.rpartition(":")
        assert len(bytes.fromhex(digest)) == {"": 32, "md5": 16}[kind]
        assert source.url.startswith("https://")


def test_files_that_are_not_mnist_are_refused(tmp_path):
    arrays = {name: np.zeros((2, 28, 28), np.uint8) for name in images._MNIST_KEYS}
    np.savez(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(datasets.DatasetError, match=r"shape \(60000, 28, 28\); got \(2, 28, 28\)"):
        datasets.mnist(tmp_path)
    np.savez(tmp_path / "mnist.npz", x_train=np.zeros(3))
    with pytest.raises(datasets.DatasetError, match=r"'test_labels'\] are missing"):
        datasets.mnist(tmp_path)


def test_digits_need_no_download(monkeypatch):
    digits = datasets.digits()
    assert digits.train_images.shape == (1_437, 8, 8)
    assert digits.test_labels.shape == (360,)
    assert digits.train_images.dtype == np.float32
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 1)
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    with pytest.raises(datasets.DatasetError, match="scikit-learn"):
        datasets.digits()


def write_news(folder, train, test):
    for split, contents in (("train", train), ("test", test)):
        if contents.startswith("label"):
            with gzip.open(folder / f"ag_news_{split}.csv.gz", "wt", encoding="utf-8") as stream:
                stream.write(contents)
        else:
            (folder / f"ag_news_{split}.csv").write_text(contents, encoding="utf-8")


def test_both_forms_of_ag_news_are_read(tmp_path):
    write_news(tmp_path, HEADED, ORIGINAL)
    news = datasets.ag_news(tmp_path)
    assert news.train_texts == ("war", "match", "shares", "chips")
    assert news.test_texts == ("war far", "match won lost", "shares ", "chips small")
    np.testing.assert_array_equal(news.train_labels, range(4))
    np.testing.assert_array_equal(news.test_labels, range(4))


@pytest.mark.parametrize("test", ["label,text\n7,war\n", "one,war\n", "label,text\n0,war\n"])
def test_tables_that_are_not_ag_news_are_refused(tmp_path, test):
    write_news(tmp_path, HEADED, test)
    with pytest.raises(datasets.DatasetError, match="ag_news_test"):
        datasets.ag_news(tmp_path)


def planetoid(folder):
    """Write a graph of five nodes as Planetoid does; the last two are for the test, swapped."""
    features, one_hot = np.eye(5, 3, dtype=np.float32), np.eye(5, dtype=np.int32)[[0, 1, 2, 1, 0]]
    features[3, 0], features[4, 1] = 4, 5
    order = np.array([4, 3])
    parts = {
        "x": sparse.csr_matrix(features[:1]),
        "y": one_hot[:1],
        "allx": sparse.csr_matrix(features[:3]),
        "ally": one_hot[:3],
        "tx": sparse.csr_matrix(features[order]),
        "ty": one_hot[order],
        "graph": defaultdict(list, {0: [1, 1, 0], 1: [0], 2: [3], 3: [2, 4], 4: [3]}),
    }
    for part, value in parts.items():
        # as Python 2 named these modules
        pickled = pickle.dumps(value, protocol=3)
        for new, old in (
            (b"scipy.sparse._csr", b"scipy.sparse.csr"),
            (b"numpy._core", b"numpy.core"),
            (b"builtins", b"__builtin__"),
        ):
            pickled = pickled.replace(new, old)
        (folder / f"ind.cora.{part}").write_bytes(pickled)
    np.savetxt(folder / "ind.cora.test.index", order, fmt="%d")
    return features, one_hot


def test_planetoid_files_are_put_in_order(tmp_path):
    features, one_hot = planetoid(tmp_path)
    graph = graphs._read_planetoid({p: tmp_path / f"ind.cora.{p}" for p in graphs._HASHES})
    np.testing.assert_array_equal(graph.features.toarray(), features)
    np.testing.assert_array_equal(graph.labels, one_hot.argmax(axis=1))
    np.testing.assert_array_equal(graph.test_index, [3, 4])
    expected = np.zeros((5, 5))
    for i, j in ((0, 1), (2, 3), (3, 4)):
        expected[i, j] = expected[j, i] = 1
    np.testing.assert_array_equal(graph.adjacency.toarray(), expected)
    with pytest.raises(datasets.DatasetError, match=r"\(2708, 1433\); got \(5, 3\)"):
        datasets.cora(tmp_path)


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (os.system, ("true",))

    file = tmp_path / "ind.cora.x"
    file.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(datasets.DatasetError, match=r"names posix\.system|names nt\.system"):
        graphs._unpickle(file)


def test_an_archive_that_is_not_cora_is_refused(tmp_path):
    np.savez(tmp_path / "cora.npz", labels=np.arange(3))
    with pytest.raises(datasets.DatasetError, match="not the graph Cora"):
        datasets.cora(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"labels": np.array([0, 1, 2, 0])}, "labels in .* must hold the classes 0 to 1; got"),
        ({"labels": np.array([1, 1, 1, 1])}, "labels in .* must hold the classes 0 to 1; got"),
        ({"adj_indices": np.array([1, 0, 3, 1])}, "adjacency in .* must be symmetric with 4"),
        (
            {"adj_indices": np.array([1, 0]), "adj_indptr": np.array([0, 1, 2, 2, 2])},
            "adjacency in .* must be symmetric with 4 entries; got 2",
        ),
        ({"train_index": np.zeros(141, int)}, r"train_index in .* shape \(140,\); got \(141,\)"),
        ({"val_index": np.zeros(140, int)}, r"val_index in .* shape \(500,\); got \(140,\)"),
        ({"test_index": np.zeros(500, int)}, r"test_index in .* shape \(1000,\); got \(500,\)"),
        ({"feat_indices": np.array([7, 0, 0, 0])}, "is not the graph Cora"),
        ({"adj_indices": np.array([1, 0, 3, -2])}, "is not the graph Cora"),
    ],
)
def test_every_part_of_cora_is_checked(change, message, tmp_path, monkeypatch):
    """On a graph of four nodes in two pairs."""
    for name, value in {"_N_NODES": 4, "_N_FEATURES": 2, "_N_CLASSES": 2, "_N_EDGES": 4}.items():
        monkeypatch.setattr(graphs, name, value)
    parts = {
        "feat_data": np.ones(4, np.float32),
        "feat_indices": np.array([0, 1, 0, 1]),
        "feat_indptr": np.arange(5),
        "adj_indices": np.array([1, 0, 3, 2]),
        "adj_indptr": np.arange(5),
        "labels": np.array([0, 1, 0, 1]),
        "train_index": np.zeros(140, int),
        "val_index": np.zeros(500, int),
        "test_index": np.zeros(1000, int),
    }
    np.savez(tmp_path / "cora.npz", **{**parts, **change})
    if message is None:
        graph = datasets.cora(tmp_path)
        np.testing.assert_array_equal(graph.adjacency.toarray(), np.kron(np.eye(2), 1 - np.eye(2)))
        np.testing.assert_array_equal(graph.features.toarray(), np.tile(np.eye(2), (2, 1)))
        return
    with pytest.raises(datasets.DatasetError, match=message):
        datasets.cora(tmp_path)


@HAS_DATA
def test_real_files():
    assert datasets.mnist().test_images.shape == (10_000, 28, 28)
    graph = datasets.cora()
    assert graph.features.nnz == 49_216
    assert np.bincount(graph.labels[graph.train_index]).tolist() == [20] * 7
    news = datasets.ag_news()
    assert np.bincount(news.test_labels).tolist() == [1_900] * 4


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_normalized_adjacency_is_symmetric_with_radius_one(n, seed):
    upper = np.triu(np.random.default_rng(seed).random((n, n)) < 0.3, 1).astype(float)
    matrix = datasets.normalized_adjacency(upper + upper.T).toarray()
    np.testing.assert_allclose(matrix, matrix.T)
    assert np.abs(np.linalg.eigvalsh(matrix)).max() == pytest.approx(1)
    degrees = 1 + (upper + upper.T).sum(axis=0)
    np.testing.assert_allclose(matrix @ np.sqrt(degrees), np.sqrt(degrees))


def test_normalized_adjacency_keeps_single_precision():
    one = sparse.csr_array(np.ones((2, 2), np.float32) - np.eye(2, dtype=np.float32))
    assert datasets.normalized_adjacency(one).dtype == np.float32
    with pytest.raises(ValueError, match=r"square matrix; got shape \(2, 3\)"):
        datasets.normalized_adjacency(np.zeros((2, 3)))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float64"])
def test_normalized_adjacency_of_integers_is_in_double_precision(dtype):
    a = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    scale = 1 / np.sqrt(1 + a.sum(axis=1))
    found = datasets.normalized_adjacency(a.astype(dtype))
    assert found.dtype == np.float64
    expected = scale[:, None] * (a + np.eye(4)) * scale
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-14)


@given(st.lists(st.lists(st.sampled_from(["a", "bb", "c3", "it's"]), max_size=6), min_size=1))
def test_encoding_can_be_undone(words):
    texts = [" ".join(w) for w in words]
    vocabulary = datasets.Vocabulary.of(texts)
    tokens = vocabulary.encode(texts, n_steps=6)
    assert tokens.shape == (6, len(texts))
    for column, expected in zip(tokens.T, words, strict=True):
        length = int((column >= 0).sum())
        assert [vocabulary.words[i] for i in column[:length]] == expected
        assert (column[length:] == -1).all()


def test_rare_and_unknown_words_are_left_out_and_long_texts_cut():
    vocabulary = datasets.Vocabulary.of(["Rain, rain; SUN!", "sun rain wind"], min_count=2)
    assert vocabulary.words == ("rain", "sun")
    np.testing.assert_array_equal(
        vocabulary.encode(["wind sun hail rain rain", ""], n_steps=2), [[1, -1], [0, -1]]
    )
    with pytest.raises(ValueError, match="`n_steps` must be positive; got 0"):
        vocabulary.encode(["sun"], n_steps=0)


def test_word_vectors_are_the_leading_singular_vectors():
    rng = np.random.default_rng(5)
    tokens = np.minimum(rng.geometric(0.1, (9, 40)) - 1, 28)
    tokens[6:, ::3] = -1
    n_words = 30  # the last word does not occur
    weights = np.zeros((40, n_words))
    for text_number in range(40):
        for word in tokens[tokens[:, text_number] >= 0, text_number]:
            weights[text_number, word] += 1
    rarity = np.log(40 / np.maximum(1, (weights > 0).sum(axis=0)))
    weights = np.where(weights > 0, 1 + np.log(np.maximum(weights, 1)), 0) * rarity
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    _, singular, right = np.linalg.svd(weights)
    assert singular[3] / singular[4] > 1.01  # so that four vectors are well defined
    expected = right[:4].T

    found = datasets.word_vectors(tokens, n_words, 4).astype(float)
    lengths = 2 * np.minimum(1, rarity / 4)
    lengths[~weights.any(axis=0)] = 0
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), lengths, rtol=1e-5)
    unit = expected / np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-12)
    scaled = unit * lengths[:, None]
    np.testing.assert_allclose(found @ found.T, scaled @ scaled.T, atol=0.02)


def test_word_vectors_refuse_what_they_cannot_do():
    tokens = np.zeros((3, 5), int)
    with pytest.raises(ValueError, match=r"less than 5, .* got 5"):
        datasets.word_vectors(tokens, 10, 5)
    with pytest.raises(ValueError, match=r"\(n_steps, n_texts\); got \(3,\)"):
        datasets.word_vectors(tokens[:, 0][:3], 10, 2)
