from __future__ import annotations

import re
import struct
import subprocess
import sys

import pytest

import seqsolve
from seqsolve import _registry
from seqsolve.__main__ import main
from seqsolve._demo.table import WIDTH, format_table
from seqsolve.backend import BackendStatus

STEPS = ["--steps", "300"]


@pytest.fixture
def failing_backend(monkeypatch):
    """Register a backend that cannot run, beside those that are installed."""
    reason = "no driver was found; " + "install one. " * 12

    def unavailable():
        raise RuntimeError(reason)

    class Point:
        name, dist = "broken", None

        def load(self):
            return unavailable

    installed = list(_registry.entry_points(group=_registry.GROUP))
    monkeypatch.setattr(_registry, "entry_points", lambda group: [*installed, Point()])
    return reason


def lines_of(capsys):
    return capsys.readouterr().out.splitlines()


def row_of(lines, name):
    (row,) = (line for line in lines if re.match(rf"{name}  ", line))
    return re.split(r" {2,}", row)


def test_listing_names_backends_and_extras(capsys):
    assert main([]) == 0
    lines = lines_of(capsys)
    assert seqsolve.__version__ in lines[0]
    assert row_of(lines, "numpy")[1:3] == ["yes", f"seqsolve {seqsolve.__version__}"]
    assert row_of(lines, "plot")[1].startswith("pictures")
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.usefixtures("failing_backend")
def test_listing_gives_the_reason_of_an_unavailable_backend(capsys):
    assert main([]) == 0
    lines = lines_of(capsys)
    name, available, _, reason = row_of(lines, "broken")
    assert (name, available) == ("broken", "no")
    assert "cannot run here" in reason
    assert "no driver was found" in " ".join(lines)
    assert max(map(len, lines)) <= WIDTH


def test_listing_says_how_to_install_a_missing_extra(monkeypatch, capsys):
    monkeypatch.setattr("seqsolve.__main__.find_spec", lambda name: None)
    assert main([]) == 0
    assert row_of(lines_of(capsys), "progress")[2] == 'pip install "seqsolve[progress]"'


def test_listing_shows_what_backends_say_of_themselves(monkeypatch, capsys):
    def status(name):
        return BackendStatus(name, True, "", "seqsolve 0", {"device": f"abacus of {name}"})

    monkeypatch.setattr("seqsolve.__main__.backend_status", status)
    assert main([]) == 0
    assert row_of(lines_of(capsys), "numpy")[3] == "device abacus of numpy"


def test_demo_reports_every_problem(capsys):
    assert main(["demo", *STEPS]) == 0
    lines = lines_of(capsys)
    (start,) = (i for i, line in enumerate(lines) if line.startswith("problem"))
    assert re.split(r" {2,}", lines[start]) == [
        "problem",
        "steps",
        "loop [s]",
        "seqsolve [s]",
        "speed-up",
        "iterations/window",
        "largest deviation",
    ]
    rows = [re.split(r" {2,}", line) for line in lines[start + 2 : start + 5]]
    assert [row[0] for row in rows] == ["GRU, 1 unit", "GRU, 4 units", "catchment"]
    for row, tolerance in zip(rows, (1e-5, 1e-5, 1e-8), strict=True):
        assert row[1] == "300"
        assert all(float(seconds) > 0 for seconds in row[2:4])
        assert re.fullmatch(r"\d+\.\d x", row[4])
        assert re.fullmatch(r"\d+\.\d \(\d+ to \d+\)", row[5])
        deviation, size = map(float, row[6].split(" of "))
        assert deviation <= tolerance * size
    assert "first one" in " ".join(lines)
    assert max(map(len, lines)) <= WIDTH


def test_demo_says_so_if_it_does_not_converge(monkeypatch, capsys):
    def loosely(*args, **kwargs):
        return deer(*args, **kwargs, maxiter=1)

    deer = seqsolve.deer
    monkeypatch.setattr(seqsolve, "deer", loosely)
    assert main(["demo", *STEPS]) == 1
    assert "catchment did not converge. The iterations ran out" in capsys.readouterr().out


def test_demo_draws_a_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "demo.png"
    assert main(["demo", *STEPS, "--plot", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert width > 500
    assert height > 200
    from matplotlib.image import imread

    pixels = imread(path)[..., :3]
    coloured = (pixels.max(axis=-1) - pixels.min(axis=-1)) > 0.15
    halves = coloured[:, : width // 2], coloured[:, width // 2 :]
    assert all(half.sum() > 200 for half in halves)


def test_demo_names_the_extra_that_the_picture_needs(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("seqsolve._demo.plot.find_spec", lambda name: None)
    path = tmp_path / "demo.png"
    assert main(["demo", *STEPS, "--plot", str(path)]) == 1
    output = capsys.readouterr()
    assert "needs matplotlib" in output.err
    assert "[plot]" in output.err
    assert output.out == ""
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("demo.pdf", "must name a .png file"), ("missing/demo.png", "an existing directory")],
)
def test_demo_rejects_a_picture_before_solving(tmp_path, capsys, name, message):
    pytest.importorskip("matplotlib")
    assert main(["demo", *STEPS, "--plot", str(tmp_path / name)]) == 1
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""


def test_demo_reports_a_picture_that_cannot_be_written(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "demo.png"
    path.mkdir()
    assert main(["demo", *STEPS, "--plot", str(path)]) == 1
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.usefixtures("failing_backend")
def test_demo_on_an_unavailable_backend_gives_the_reason(capsys):
    assert main(["demo", *STEPS, "--backend", "broken"]) == 1
    output = capsys.readouterr()
    assert "no driver was found" in output.err
    assert output.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--backend", "abacus"], "--backend must be one of "),
        (["demo", "--steps", "0"], "must be an integer of at least 1; got '0'"),
        (["demo", "--steps", "many"], "must be an integer of at least 1; got 'many'"),
        (["dance"], "invalid choice"),
        (["--dance"], "unrecognized arguments"),
    ],
)
def test_bad_arguments_exit_with_2(capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"seqsolve {seqsolve.__version__}\n"


def test_module_runs_as_a_command(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "seqsolve", "demo", "--steps", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert "usage: python -m seqsolve demo" in process.stderr


def test_table_wraps_its_last_column():
    table = format_table(("a", "b"), [("1", "word " * 60), ("22", "")], numbers=("a",))
    lines = table.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[2].startswith(" 1  word")
    assert lines[3].startswith("    word")
    assert lines[-1] == "22"
