"""Tables, pictures and laws of runs that were not made; the noise of each method; quiet runs."""

from __future__ import annotations

import numpy as np
import pytest

from seqsolve import likelihood_ratio as lr
from seqsolve import models, training
from seqsolve.training import __main__ as command_line
from seqsolve.training import fitting, reports, tasks


def made(method="lr-m", *, task="t", copies=(4, 8), units=(12, 3), accuracies=(0.25, 0.5)):
    """Return a run of so many epochs, whose numbers tell which epoch they are of."""
    epochs = tuple(
        fitting.Epoch(2.0 - e, a, 10.0 + e, 20.0 + e, (e + 1) * 10**9, (0.5, 0.1 * e), (0.4, 0.2))
        for e, a in enumerate(accuracies)
    )
    return fitting.Run(task, method, 0, copies, units, epochs)


def cells(run):
    """Return the row of a run in its table, by title."""
    header, _, row = (line.strip("| ").split(" | ") for line in reports._table([run]).splitlines())
    return dict(zip(header, row, strict=True))


def test_a_row_of_the_table():
    assert cells(made(accuracies=(0.25, 0.5, 0.625))) == {
        "method": "lr-m",
        "copies": "4 8",
        "right, %": "62.5",
        "slides, %": "–",
        "s": "11.00",
        "CPU s": "21.00",
        "GFLOP": "2",
        "cosines": "0.50 0.20",
    }
    assert cells(made("lr-l", task="mnist-mlp"))["slides, %"] == "92.2"
    assert cells(made("bp", task="cora-gcn", copies=(), units=()))["slides, %"] == "80.4"
    assert cells(made("bp", copies=(), units=()))["copies"] == "–"


def test_slides_are_of_tasks_and_methods_that_there_are():
    assert set(reports.SLIDES) <= set(tasks.TASKS)
    assert all(set(row) == set(training.methods.METHODS) for row in reports.SLIDES.values())


def test_the_law():
    """A pair is one draw; leave-one-out spends one on the mean."""
    assert made("lr-l").law == pytest.approx([np.sqrt(2 / 14), np.sqrt(4 / 7)])
    assert made("lr-m").law == pytest.approx([np.sqrt(3 / 15), np.sqrt(7 / 10)])
    assert made("lr-f").law == ()
    assert made("bp", copies=(), units=()).law == ()


def test_the_picture_of_several_numbers_of_copies():
    pytest.importorskip("matplotlib")
    runs = [made(copies=(4, 4)), made(copies=(4, 8), accuracies=(0.1,) * 21), made("lr-f")]
    left, right = training.draw(runs).axes
    labels = [line.get_label() for line in left.lines]
    assert labels == ["lr-m, 4 copies: 50.0 %", "lr-m, 4-8 copies: 10.0 %", "lr-f: 50.0 %"]
    assert [line.get_alpha() for line in left.lines] == [0.5, 1, 1]
    assert [line.get_marker() for line in left.lines] == ["o", "None", "o"]
    np.testing.assert_array_equal(left.lines[0].get_xdata(), [1, 2])
    np.testing.assert_array_equal(left.lines[0].get_ydata(), [25, 50])
    points = right.lines[1:]
    assert [p.get_alpha() for p in points] == [0.5, 0.5, 1, 1]
    assert [p.get_label() for p in points if not p.get_label().startswith("_")] == [
        "lr-m, layer 0",
        "lr-m, layer 1",
    ]
    for point, law, cosine in zip(points, runs[0].law + runs[1].law, (0.4, 0.2) * 2, strict=True):
        np.testing.assert_allclose(point.get_data(), [[law], [cosine]], rtol=1e-12)
    assert right.get_xlim() == right.get_ylim() == (0, 1)


def test_the_noise_of_layers_one_at_a_time():
    model, x = models.MLP.random((6, 5, 3), rng=0), np.ones((4, 6))
    noise = training.noise_of("lr-l", model, x, sigma=0.1, copies=6, seed=3)
    assert noise == lr.Noise(0.1, 6, "sign", "antithetic", scale="rms", key=3)


def test_copies_cost_what_the_same_number_for_every_layer_would():
    model, x = models.MLP.random((64, 40, 20, 10), rng=0), np.ones((50, 64))
    copies = training.noise_of("lr-m", model, x, sigma=0.1, copies=64).copies
    costs = [site.cost + 32 * 50 * site.units for site in lr.sites(model, x)]
    assert 0.9 * 64 * sum(costs) < np.dot(costs, copies) <= 64 * sum(costs)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_mean_cosines_leave_out_data_without_a_gradient(shape):
    rng = np.random.default_rng(0)
    estimate, exact = rng.standard_normal((2, *shape, 4, 5))
    exact[..., 2, :] = 0
    expected = [lr.cosine(estimate[..., i, :], exact[..., i, :]) for i in (0, 1, 3)]
    assert fitting._mean_cosine(estimate, exact) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_tasks_have_the_names_that_they_are_found_by(tmp_path, cell):
    for split in ("train", "test"):
        rows = [f'"{i % 4 + 1}","w{i % 4} w{i // 4} {split}{i}",""\n' for i in range(8)]
        (tmp_path / f"ag_news_{split}.csv").write_text("".join(rows), encoding="utf-8")
    task = tasks.TASKS[f"ag-news-{cell}"](tmp_path, n_embedding=2)
    assert task.name == f"ag-news-{cell}"
    assert task.model(0).layers[1].cell == cell
    assert tasks.TASKS["digits-mlp"](tmp_path).name == "digits-mlp"


def test_training_is_quiet_and_tells_every_epoch(capsys):
    seen = []
    run = training.fit(training.digits_mlp(), "bp", epochs=2, callback=seen.append)
    assert tuple(seen) == run.epochs
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def asked(monkeypatch, *arguments):
    """Return what the command line asks `fit` for."""
    calls = []

    def fit(task, method, **options):
        calls.append((task.name, method, options))
        return made(method, copies=() if method == "bp" else (4, 8))

    monkeypatch.setattr(command_line, "fit", fit)
    assert command_line.main(arguments) == 0
    return calls


def test_the_command_line_asks_for_all_methods_with_the_settings_of_the_task(monkeypatch):
    calls = asked(monkeypatch, "digits-mlp")
    assert [(task, method) for task, method, _ in calls] == [
        ("digits-mlp", method) for method in training.methods.METHODS
    ]
    for _, _, options in calls:
        report = options.pop("callback")
        report(made().epochs[0])
        assert options == {
            "epochs": None, "copies": None, "seed": 0, "backend": "numba", "progress": False,
        }  # fmt: skip


def test_the_command_line_asks_for_what_it_is_given(monkeypatch):
    given = (
        "digits-mlp --methods bp lr-l --copies 4 8 --seed 3 --epochs 2 --backend numpy --progress"
    )
    calls = asked(monkeypatch, *given.split())
    assert [(method, options.pop("copies")) for _, method, options in calls] == [
        ("bp", None),
        ("lr-l", 4),
        ("lr-l", 8),
    ]
    for _, _, options in calls:
        assert options == {
            "epochs": 2, "seed": 3, "backend": "numpy", "progress": True, "callback": None,
        }  # fmt: skip


def test_a_picture_without_matplotlib_is_refused_before_the_training(monkeypatch, capsys):
    monkeypatch.setattr(command_line, "find_spec", lambda name: None)
    assert command_line.main(["digits-mlp", "--plot", "runs.png"]) == 1
    assert "--plot needs matplotlib" in capsys.readouterr().err
