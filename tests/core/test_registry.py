"""Backends are found through entry points, loaded on demand, and fail politely."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import loopback
import numpy as np
import pytest

import seqsolve
from seqsolve import _registry
from seqsolve.backend import Backend, BackendUnavailableError, Capabilities
from seqsolve.portable import PortableBackend


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a distribution with one backend, for one test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name, source, attribute="make_backend", backend=None):
        (tmp_path / f"{name}_package.py").write_text(source, encoding="utf-8")
        info = tmp_path / f"{name}_package-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}-package\nVersion: 2.5\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(
            f"[seqsolve.backends]\n{backend or name} = {name}_package:{attribute}\n",
            encoding="utf-8",
        )

    return install


GOOD = """
import numpy as np
from seqsolve.portable import PortableBackend

def make_backend():
    return PortableBackend({name!r}, np)
"""


def test_every_installed_distribution_is_found(install):
    install("found", GOOD.format(name="found"))
    assert {"found", "loopback", "numpy"} <= set(seqsolve.available_backends())
    assert seqsolve.available_backends() == sorted(seqsolve.available_backends())
    status = seqsolve.backend_status("found")
    assert status.available
    assert status.reason == ""
    assert status.distribution == "found-package 2.5"
    assert status.details == {"numpy": np.__version__}
    own = seqsolve.backend_status("numpy")
    assert own.distribution == f"seqsolve {version('seqsolve')}"
    assert {"numpy", "numba", "cpu"} <= set(own.details)


@pytest.mark.parametrize("ask", [seqsolve.get_backend, seqsolve.backend_status])
def test_an_unknown_name_lists_the_installed_ones(ask):
    with pytest.raises(ValueError, match=r"installed backend \(.*'loopback'.*'numpy'.*'torch'"):
        ask("torch")


def test_solvers_refuse_an_unknown_name():
    with pytest.raises(ValueError, match="`backend` must name an installed backend"):
        seqsolve.linear_recurrence(np.ones((3, 1)), np.ones((3, 1)), backend="torch")


def test_a_name_must_be_a_string():
    with pytest.raises(TypeError, match="`name` must be a string; got int"):
        seqsolve.get_backend(3)


def test_calls_do_not_look_for_distributions_once_a_backend_is_loaded(monkeypatch):
    """Reading the metadata of everything installed takes milliseconds."""
    home = loopback.asarray(np.ones((3, 1)))
    for _ in range(2):
        seqsolve.sequential(lambda y, x: 0.5 * y + x, np.ones((3, 1)), np.ones(1), backend="numpy")
        seqsolve.linear_recurrence(home, home)
        monkeypatch.setattr(_registry, "entry_points", None)


def test_a_backend_under_another_name_is_refused(install):
    install("alias", GOOD.format(name="numpy"))
    with pytest.raises(BackendUnavailableError, match="registered as 'alias' but calls itself 'n"):
        seqsolve.get_backend("alias")


def test_two_distributions_with_one_name_are_refused(install):
    install("twice", GOOD.format(name="twice"))
    install("other", GOOD.format(name="twice"), backend="twice")
    with pytest.raises(
        BackendUnavailableError, match=r"more than one is installed: .*other_package:"
    ):
        seqsolve.get_backend("twice")
    assert "twice" not in seqsolve.available_backends()


def test_the_same_backend_at_every_call(install):
    install("constant", GOOD.format(name="constant"))
    assert seqsolve.get_backend("constant") is seqsolve.get_backend("constant")
    assert seqsolve.get_backend("numpy") is seqsolve.get_backend("numpy")
    assert isinstance(seqsolve.get_backend("constant"), Backend)


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("no_library", "ImportError('no module named driver')", "no module named driver"),
        ("no_driver", "OSError('libcuda.so.1: cannot open')", "libcuda.so.1: cannot open"),
        ("no_device", "BackendUnavailableError('no device')", "no device"),
        ("no_words", "RuntimeError()", "RuntimeError"),
    ],
)
def test_installed_but_no_driver(install, name, error, reason):
    install(
        name,
        "from seqsolve.backend import BackendUnavailableError\n"
        f"def make_backend():\n    raise {error}\n",
    )
    assert name not in seqsolve.available_backends()
    status = seqsolve.backend_status(name)
    assert not status.available
    assert reason in status.reason
    assert status.details == {}
    assert status.distribution == f"{name}-package 2.5"
    for ask in (
        lambda: seqsolve.get_backend(name),
        lambda: seqsolve.linear_recurrence(np.ones((3, 1)), np.ones((3, 1)), backend=name),
    ):
        with pytest.raises(BackendUnavailableError) as caught:
            ask()
        assert str(caught.value) == f"Backend {name!r} cannot run here: {reason}"


@pytest.mark.parametrize(
    ("name", "source", "attribute", "reason"),
    [
        ("unimportable", "import a_library_that_is_not_there", "make_backend", "a_library_that"),
        ("misnamed", "", "make_bakcend", "make_bakcend"),
        ("broken", "1 / 0", "make_backend", "division by zero"),
    ],
)
def test_a_broken_package_is_unavailable(install, name, source, attribute, reason):
    install(name, source, attribute)
    assert not seqsolve.backend_status(name).available
    assert "numpy" in seqsolve.available_backends()
    with pytest.raises(BackendUnavailableError, match=reason):
        seqsolve.get_backend(name)


def test_a_driver_that_appears_is_found(install, tmp_path):
    install(
        "later",
        "import pathlib, numpy as np\n"
        "from seqsolve.portable import PortableBackend\n"
        "def make_backend():\n"
        f"    if not pathlib.Path({str(tmp_path / 'driver')!r}).exists():\n"
        "        raise OSError('no driver')\n"
        "    return PortableBackend('later', np)\n",
    )
    assert not seqsolve.backend_status("later").available
    (tmp_path / "driver").touch()
    assert seqsolve.backend_status("later").available


def test_a_broken_contract_is_named(install):
    install(
        "partial",
        "class Partial:\n    name = 'partial'\n    xp = None\n    capabilities = None\n"
        "    def asarray(self, a, dtype=None): ...\n"
        "    def to_numpy(self, a): ...\n"
        "    def describe(self): ...\n"
        "    def default_window(self, **sizes): ...\n"
        "def make_backend():\n    return Partial()\n",
    )
    with pytest.raises(BackendUnavailableError) as caught:
        seqsolve.get_backend("partial")
    assert str(caught.value) == (
        "Backend 'partial' does not keep the contract: it lacks synchronize, "
        "linear_recurrence, residual_test, newton_update."
    )
    assert "partial" not in seqsolve.available_backends()


def test_a_backend_may_be_built_on_another(install):
    install(
        "wrapper",
        "from seqsolve.backend import get_backend\n"
        "from seqsolve.portable import PortableBackend\n"
        "def make_backend():\n"
        "    return PortableBackend('wrapper', get_backend('loopback').xp)\n",
    )
    assert seqsolve.get_backend("wrapper").xp is loopback


def test_nothing_is_loaded_before_it_is_used():
    code = (
        "import sys, seqsolve\n"
        "heavy = ('numba', 'cupy', 'llvmlite', 'scipy', 'pytest', 'hypothesis', 'matplotlib')\n"
        "own = [m for m in sys.modules if m.startswith('seqsolve_')]\n"
        "loaded = own + [m for m in heavy if m in sys.modules]\n"
        "assert not loaded, loaded\n"
        "seqsolve.get_backend('numpy')\n"
        "assert 'numba' not in sys.modules\n"
        "assert 'seqsolve_cupy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


X, Y0 = np.ones((5, 2)), np.zeros(2)


def f(y, x):
    return 0.5 * y + x


def test_without_a_name_the_backend_follows_the_arrays():
    solution = seqsolve.deer(f, "2-point", loopback.asarray(X), loopback.asarray(Y0))
    assert solution.backend == "loopback"
    assert isinstance(solution.y, loopback.Array)
    assert seqsolve.deer(f, "2-point", X, Y0).backend == "numpy"
    assert seqsolve.deer(f, "2-point", X, [0.0, 0.0]).backend == "numpy"


@pytest.mark.parametrize("on_device", ["x", "y0", "leaf"])
def test_one_array_of_a_library_is_enough(on_device):
    x = loopback.asarray(X) if on_device == "x" else X
    y0 = loopback.asarray(Y0) if on_device == "y0" else Y0
    tree = {"a": x, "b": (loopback.asarray(X) if on_device == "leaf" else X,)}
    solution = seqsolve.sequential(lambda y, x: 0.5 * y + x["a"] + x["b"][0], tree, y0)
    assert solution.backend == "loopback"
    np.testing.assert_allclose(solution.y.get()[0], 2.0)


def test_a_name_moves_host_arrays():
    solution = seqsolve.deer(f, "2-point", X, Y0, backend="loopback")
    assert isinstance(solution.y, loopback.Array)
    y = seqsolve.linear_recurrence(X, X, backend="loopback")
    assert isinstance(y, loopback.Array)


def test_arrays_of_another_library_do_not_move_by_themselves():
    with pytest.raises(TypeError, match=r"`y0` must be .* 'numpy' takes.*do not convert"):
        seqsolve.deer(f, "2-point", X, loopback.asarray(Y0), backend="numpy")


def test_arrays_of_two_libraries_need_a_name(install):
    install("other", "class Array:\n    shape = (5, 2)\n\nArray.__module__ = 'other.arrays'\n")
    other = __import__("other_package").Array()
    with pytest.raises(ValueError) as caught:
        seqsolve.deer(f, "2-point", {"a": other}, loopback.asarray(Y0))
    assert str(caught.value) == (
        "`backend` must be named where arrays are of several: "
        "`y0` on 'loopback'; `x['a']` on 'other'."
    )


def test_a_backend_object_is_taken_as_it_is():
    backend = PortableBackend("mine", np)
    assert seqsolve.deer(f, "2-point", X, Y0, backend=backend).backend == "mine"
    with pytest.raises(TypeError, match="`backend` must be a backend's name or None; got 3"):
        seqsolve.deer(f, "2-point", X, Y0, backend=3)


def test_what_a_backend_cannot_do_is_refused():
    class Small(PortableBackend):
        capabilities = Capabilities(dtypes=("float32",), linear_solvers=("scan",))

    backend = Small("small", np)
    with pytest.raises(TypeError, match=r"backend 'small' supports \(float32\); got float64"):
        seqsolve.deer(f, "2-point", X, Y0, backend=backend)
    with pytest.raises(ValueError, match="`linear_solver` must be one of 'auto', 'scan'; got"):
        seqsolve.deer(
            f,
            "2-point",
            X.astype("f4"),
            Y0.astype("f4"),
            backend=backend,
            linear_solver="cyclic_reduction",
        )
    with pytest.raises(TypeError, match="backend 'small' supports"):
        seqsolve.linear_recurrence(X, X, backend=backend)
