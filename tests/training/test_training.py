"""Training runs: on digits, which need no download, and on small texts and graphs."""

from __future__ import annotations

import math
import os
import re
from dataclasses import astuple, replace
from itertools import pairwise

import numpy as np
import pytest

from seqsolve import datasets, models, training
from seqsolve import likelihood_ratio as lr
from seqsolve.training import __main__ as command_line
from seqsolve.training import tasks
from seqsolve.training.methods import METHODS

HAS_DATA = pytest.mark.skipif("SEQSOLVE_DATA" not in os.environ, reason="SEQSOLVE_DATA is not set")
TIMES = {"seconds": 0.0, "process_seconds": 0.0}


@pytest.fixture(scope="module")
def digits():
    return training.digits_mlp()


@pytest.fixture(scope="module")
def runs(digits):
    return {method: training.fit(digits, method, epochs=5) for method in METHODS}


def without_times(run):
    return [replace(epoch, **TIMES) for epoch in run.epochs]


def test_every_method_learns_and_back_propagation_is_no_worse(runs):
    accuracy = {method: run.accuracy for method, run in runs.items()}
    assert accuracy["bp"] > 0.85
    for method in ("lr-f", "lr-l", "lr-m"):
        assert accuracy["bp"] - 0.15 < accuracy[method] <= accuracy["bp"] + 0.02
    assert accuracy["lr-m"] > accuracy["bp"] - 0.07
    assert accuracy["lr-m"] >= accuracy["lr-f"]


def test_cosines_of_single_data_follow_the_law(runs):
    for method in ("lr-l", "lr-m"):
        run = runs[method]
        measured = np.mean([epoch.delta_cosines for epoch in run.epochs], axis=0)
        np.testing.assert_allclose(measured, run.law, rtol=0.15)
    assert runs["lr-f"].law == runs["bp"].law == ()


def test_cosines_of_gradients_gain_from_the_batch(runs):
    assert runs["bp"].epochs[0].cosines == ()
    first = runs["lr-m"].epochs[0]
    assert len(first.cosines) == len(first.delta_cosines) == 3
    assert all(0 < c < 1 for c in first.cosines)
    assert first.cosines[0] > first.delta_cosines[0] * 0.9


def test_operations_are_counted(runs, digits):
    n, sizes = len(digits.train), (64, 64, 32, 10)
    forward = sum(2 * n * a * b for a, b in pairwise(sizes))
    assert all(epoch.flops == forward for epoch in runs["bp"].epochs)
    behind = [sum(2 * a * b for a, b in pairwise(sizes[i:])) for i in (1, 2, 3)]
    for method in ("lr-l", "lr-m"):
        copies = runs[method].copies
        assert runs[method].epochs[0].flops == forward + n * int(np.dot(copies, behind))
    assert runs["lr-m"].epochs[0].flops <= runs["lr-l"].epochs[0].flops


def test_a_seed_decides_everything_but_the_time(digits, runs):
    again = training.fit(digits, "lr-l", epochs=5)
    assert without_times(again) == without_times(runs["lr-l"])
    other = training.fit(digits, "lr-l", epochs=1, seed=1)
    assert other.epochs[0].loss != again.epochs[0].loss


def test_an_update_is_that_of_adam_with_decay_on_matrices_alone():
    rng = np.random.default_rng(3)
    x, labels = rng.standard_normal((6, 4)), rng.integers(0, 3, 6)
    weight, bias = rng.standard_normal((3, 4)), rng.standard_normal(3)
    split = training.Split(x, labels)
    task = training.Task(
        "one layer",
        lambda seed: models.Stack((models.layers.Linear(weight, bias),)),
        split,
        split,
        lr.cross_entropy,
        batch_size=6,
        epochs=2,
        learning_rate=0.1,
        sigma=0.1,
        copies=2,
        weight_decay=0.3,
    )
    trained = training.fit(task, "bp").model.params[0]

    def gradients(w, b):
        p = np.exp(x @ w.T + b)
        delta = (p / p.sum(axis=1, keepdims=True) - np.eye(3)[labels]) / 6
        return delta.T @ x + 0.3 * w, delta.sum(axis=0)

    expected = [weight, bias]
    first, second = [0.0, 0.0], [0.0, 0.0]
    for step in (1, 2):
        rate = 0.1 * 0.5 * (1 + math.cos(math.pi * (step - 0.5) / 2))
        for i, g in enumerate(gradients(*expected)):
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.999 * second[i] + 0.001 * g * g
            mean, square = first[i] / (1 - 0.9**step), second[i] / (1 - 0.999**step)
            expected[i] = expected[i] - rate * mean / (np.sqrt(square) + 1e-8)
    np.testing.assert_allclose(trained["weight"], expected[0], rtol=1e-12)
    np.testing.assert_allclose(trained["bias"], expected[1], rtol=1e-12)


def test_activations_that_jump_are_learnt(digits):
    task = replace(
        digits,
        model=lambda seed: models.MLP.random(
            (64, 64, 10), activation="threshold", dtype="float32", rng=seed
        ),
        sigma=0.3,
        copies=32,
        differentiable=False,
    )
    with pytest.raises(TypeError, match="derivative"):
        training.fit(task, "bp", epochs=1)
    run = training.fit(task, "lr-m", epochs=5)
    assert run.epochs[0].cosines == run.epochs[0].delta_cosines == ()
    assert run.accuracy > 0.8
    assert len(training.draw([run]).axes[1].lines) == 1
    before = task.model(0).layers[0].weight
    assert lr.cosine(run.model.layers[0].weight, before) < 0.98


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_recurrent_networks_learn_texts(tmp_path, cell):
    rng = np.random.default_rng(0)
    for split, n in (("train", 160), ("test", 80)):
        labels = rng.permutation(np.arange(n) % 4)
        words = [
            " ".join(f"w{w}" for w in 5 * label + rng.integers(0, 7, rng.integers(2, 9)))
            for label in labels
        ]
        rows = [f'"{label + 1}","{text}",""' for label, text in zip(labels, words, strict=True)]
        (tmp_path / f"ag_news_{split}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    task = tasks.ag_news(tmp_path, cell=cell, n_steps=8, n_embedding=8)
    assert task.name == f"ag-news-{cell}"
    task = replace(task, batch_size=20, learning_rate=0.02, copies=16)
    before = task.model(0)
    run = training.fit(task, "lr-m")
    assert run.accuracy > 0.75
    assert run.accuracy > training.fit(task, "bp").accuracy - 0.1
    np.testing.assert_array_equal(run.model.layers[0].weight, before.layers[0].weight)


def test_articles_of_the_test_are_not_trained_on(monkeypatch):
    labels = np.zeros(5, int)
    news = datasets.Articles(tuple("abcde"), labels, ("b", "x"), labels[:2], ("only",))
    np.testing.assert_array_equal(tasks._selection(news), [0, 2, 3, 4])
    monkeypatch.setattr(tasks, "_N_ARTICLES", 2)
    chosen = tasks._selection(news)
    assert len(set(chosen) & {0, 2, 3, 4}) == len(chosen) == 2


def test_graph_networks_learn_from_the_few_nodes_with_labels():
    rng = np.random.default_rng(1)
    n, labels = 60, np.arange(60) % 2
    joined = np.triu(rng.random((n, n)) < np.where(labels[:, None] == labels, 0.2, 0.01), 1)
    adjacency = datasets.normalized_adjacency((joined + joined.T).astype(np.float32))
    x = rng.standard_normal((n, 5)).astype(np.float32)
    x[:, 0] += labels - 0.5
    weights = np.zeros(n, np.float32)
    weights[:8] = n / 8
    task = training.Task(
        "two communities",
        lambda seed: models.GCN.random((5, 8, 2), adjacency, dtype="float32", rng=seed),
        training.Split(x, labels, weights, axis=None),
        training.Split(x, labels, np.where(weights > 0, 0, 1).astype(np.float32), axis=None),
        lr.masked(lr.cross_entropy),
        batch_size=n,
        epochs=60,
        learning_rate=0.03,
        sigma=0.03,
        copies=16,
    )
    run = training.fit(task, "lr-m")
    assert len(run.epochs) == 60
    assert run.epochs[0].loss > run.epochs[-1].loss
    assert run.accuracy > 0.85
    predicted = run.model(x).argmax(axis=-1)
    assert run.accuracy == pytest.approx((predicted == labels)[8:].mean())


@HAS_DATA
def test_the_graph_of_citations_is_learnt_by_back_propagation():
    assert training.fit(training.cora_gcn(), "bp", epochs=100).accuracy > 0.78


def test_batches_hold_every_datum_once_in_the_order_asked_for():
    x, labels = np.arange(14).reshape(2, 7), np.arange(7)
    split = training.Split(x, labels, np.arange(7.0), axis=1)
    order = np.array([3, 1, 0, 6, 5, 2, 4])
    batches = list(split.batches(3, order))
    assert len(batches) == split.n_batches(3) == 3
    np.testing.assert_array_equal(np.concatenate([b[0][1] for b in batches]), 7 + order)
    np.testing.assert_array_equal(np.concatenate([b[1][0] for b in batches]), order)
    np.testing.assert_array_equal(np.concatenate([b[1][1] for b in batches]), order)
    whole = training.Split(x, labels, axis=None)
    assert whole.n_batches(3) == 1
    assert next(whole.batches(3, order))[0] is x


def test_accuracy_counts_weights():
    split = training.Split(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1]), np.array([1.0, 0, 1, 2]))
    assert split.accuracy(lambda x: np.eye(2)[x], batch_size=3) == 0.25


def test_copies_are_allotted_within_the_budget(digits):
    model, x = digits.model(0), digits.train.x[:48]
    assert training.noise_of("bp", model, x, sigma=0.03, copies=16) is None
    full = training.noise_of("lr-f", model, x, sigma=0.03, copies=16, seed=7)
    assert (full.order, full.baseline, full.copies, full.key) == ("all", "antithetic", 16, 7)
    mixed = training.noise_of("lr-m", model, x, sigma=0.03, copies=16)
    assert (mixed.order, mixed.baseline, mixed.precision) == ("layer", "loo", "half")
    costs = [site.cost for site in lr.sites(model, x)]
    assert np.dot(costs, mixed.copies) <= 16 * sum(costs)
    assert mixed.copies[0] < mixed.copies[-1]


def test_bad_arguments_say_what_came(digits):
    with pytest.raises(ValueError, match=r"`method` must be one of 'bp', .*; got 'sgd'"):
        training.fit(digits, "sgd")
    with pytest.raises(ValueError, match="`copies` must be even; got 7"):
        training.fit(digits, "lr-m", copies=7)
    with pytest.raises(ValueError, match="`epochs` must be at least 1; got 0"):
        training.fit(digits, "bp", epochs=0)


@pytest.mark.parametrize("method", ["bp", "lr-m"])
def test_a_loss_that_is_not_finite_stops_the_training(digits, method):
    x = digits.train.x.copy()
    x[0] = np.nan
    broken = replace(digits, train=replace(digits.train, x=x))
    with pytest.raises((FloatingPointError, ValueError), match=r"finite|nan"):
        training.fit(broken, method, epochs=1)


def test_runs_survive_a_file(runs, tmp_path):
    file = tmp_path / "runs.json"
    training.save_runs(list(runs.values()), file, command="as here")
    read, origin = training.load_runs(file)
    for run, original in zip(read, runs.values(), strict=True):
        assert replace(run, epochs=()) == replace(original, epochs=())
        for epoch, first in zip(run.epochs, original.epochs, strict=True):
            assert astuple(epoch)[:5] == pytest.approx(astuple(first)[:5], rel=1e-4)
            assert epoch.delta_cosines == pytest.approx(first.delta_cosines, rel=1e-4)
    training.save_runs(read, tmp_path / "again.json", command="as here")
    assert (tmp_path / "again.json").read_text() == file.read_text()
    assert origin["command"] == "as here"
    assert "NumPy" in origin["machine"]
    file.write_text('{"runs": [{"task": "x"}]}')
    with pytest.raises(ValueError, match="holds no training runs"):
        training.load_runs(file)


def test_the_table_has_a_row_for_each_run(runs):
    shorter = replace(runs["bp"], epochs=runs["bp"].epochs[:1])
    text = training.as_table([runs["bp"], shorter, runs["lr-m"]])
    n = len(runs["bp"].epochs)
    titles, tables = text.split("\n\n")[::2], text.split("\n\n")[1::2]
    assert titles == [f"**{runs['bp'].task}, {n} epochs**", f"**{runs['bp'].task}, 1 epoch**"]
    lines = tables[0].splitlines()
    assert len(lines) == 4
    assert len(tables[1].splitlines()) == 3
    assert len({line.count("|") for line in lines}) == 1
    assert f"| {100 * runs['bp'].accuracy:.1f} |" in lines[2]
    assert " ".join(map(str, runs["lr-m"].copies)) in lines[3]


def test_the_picture_shows_every_run(runs, tmp_path):
    file = tmp_path / "runs.png"
    figure = training.draw(list(runs.values()), file)
    assert file.read_bytes().startswith(b"\x89PNG")
    accuracy, cosines = figure.axes
    assert len(accuracy.lines) == len(runs)
    drawn = accuracy.lines[0].get_ydata()
    np.testing.assert_allclose(drawn, [100 * epoch.accuracy for epoch in runs["bp"].epochs])
    points = [line for line in cosines.lines if len(line.get_xdata()) == 1]
    assert len(points) == 3 * 2  # three layers by two methods that have a law


def test_the_command_line_trains_writes_and_draws(tmp_path, capsys):
    file, picture = tmp_path / "runs.json", tmp_path / "runs.png"
    arguments = ["digits-mlp", "--methods", "bp", "lr-m", "--epochs", "1", "--copies", "4", "8"]
    written = ["--output", str(file), "--plot", str(picture)]
    assert command_line.main([*arguments, *written]) == 0
    out = capsys.readouterr().out
    assert "**digits-mlp, 1 epoch**" in out
    assert "| bp |" in out
    assert "digits-mlp lr-m: loss" in out
    runs, origin = training.load_runs(file)
    assert [run.method for run in runs] == ["bp", "lr-m", "lr-m"]
    assert origin["command"].startswith("python -m seqsolve.training digits-mlp --methods bp lr-m")
    assert picture.exists()


def test_the_command_line_says_what_is_wrong(tmp_path, capsys):
    assert command_line.main(["cora-gcn", "--data", str(tmp_path / "absent")]) == 1
    assert "must name an existing directory" in capsys.readouterr().err
    for arguments in (["chess"], ["digits-mlp", "--copies", "3"], ["digits-mlp", "--epochs", "0"]):
        with pytest.raises(SystemExit) as exit_:
            command_line.main(arguments)
        assert exit_.value.code == 2


def test_a_progress_bar_shows_the_accuracy(digits, capsys):
    training.fit(digits, "bp", epochs=1, progress=True)
    shown = capsys.readouterr().err
    assert "digits-mlp bp" in shown
    assert "accuracy" in shown


def own_task(**changes):
    x = np.random.default_rng(0).standard_normal((60, 3))
    labels = (x[:, 0] > 0).astype(int)
    given = {
        "name": "own",
        "model": lambda seed: models.MLP.random((3, 4, 2), activation="threshold", rng=seed),
        "train": training.Split(x[:40], labels[:40]),
        "test": training.Split(x[40:], labels[40:]),
        "loss": lr.zero_one,
        "batch_size": 20,
        "epochs": 1,
        "learning_rate": 0.01,
        "sigma": 0.3,
        "copies": 4,
        "differentiable": False,
    }
    return training.Task(**{**given, **changes})


def test_lists_are_data():
    split = training.Split([[0.0, 1.0], [2.0, 3.0]], [0, 1], [1.0, 0.5])
    assert isinstance(split.x, np.ndarray)
    assert split.accuracy(lambda x: x, batch_size=1) == 1 / 3
    split = training.Split([[0.0, 1.0], [2.0, 3.0]], [0, 1])
    task = own_task(train=split, test=split, model=lambda seed: models.MLP.random((2, 2), rng=seed))
    assert len(training.fit(task, epochs=2).epochs) == 2


NO_TASK = {
    "fewer labels": (lambda: training.Split(np.ones((4, 2)), [0, 1]), "`labels` must be one for"),
    "another axis": (lambda: training.Split(np.ones((4, 2)), [0] * 4, axis=1), "2 data on axis 1"),
    "a column": (lambda: training.Split(np.ones((2, 2)), [[0], [1]]), "shape (n_data,), one at"),
    "no data": (lambda: training.Split(np.ones((0, 2)), np.zeros(0, int)), "got (0,)."),
    "names": (lambda: training.Split(np.ones((2, 2)), ["a", "b"]), "`labels` must be an array of"),
    "numbers": (lambda: training.Split(np.ones((2, 2)), [0.5, 1.0]), "must be integers; got float"),
    "weights": (lambda: training.Split(np.ones((2, 2)), [0, 1], [1.0]), "`weights` must have sha"),
    "a network": (lambda: own_task(model=models.MLP.random((3, 2))), "`lambda seed: network` is;"),
    "no network": (lambda: own_task(model=None), "`model` must be callable; got None"),
    "no split": (lambda: own_task(test=(1, 2)), "`test` must be a Split(x, labels); got tuple."),
    "no loss": (lambda: own_task(loss="zero_one"), "`loss` must be callable; got 'zero_one'"),
    "batches": (lambda: own_task(batch_size=0), "`batch_size` must be at least 1; got 0."),
    "copies": (lambda: own_task(copies=2.5), "`copies` must be an integer; got 2.5 (float)."),
    "rate": (lambda: own_task(learning_rate=-1), "`learning_rate` must be finite and at least 0"),
}


@pytest.mark.parametrize(("make", "message"), NO_TASK.values(), ids=NO_TASK)
def test_a_task_of_ones_own_that_is_wrong_says_so_at_once(make, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        make()
