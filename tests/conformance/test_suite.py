"""The conformance suite finds faults: one planted at a time, in a backend that passes."""

from __future__ import annotations

import numpy as np
import pytest

from seqsolve import random
from seqsolve.backend import BackendUnavailableError, Capabilities
from seqsolve.portable import PortableBackend
from seqsolve.testing import ConformanceCase, check_backend, conformance_cases


class Portable(PortableBackend):
    """A backend without a fault."""

    def __init__(self):
        super().__init__("planted", np)


class WrongSign(Portable):
    def linear_recurrence(self, A, b, y0, **options):
        return super().linear_recurrence(-A, b, y0, **options)


class IgnoresReverse(Portable):
    def linear_recurrence(self, A, b, y0, *, reverse, **options):
        return super().linear_recurrence(A, b, y0, reverse=False, **options)


class IgnoresTranspose(Portable):
    def linear_recurrence(self, A, b, y0, *, transpose, **options):
        return super().linear_recurrence(A, b, y0, transpose=False, **options)


class ConjugatesTranspose(Portable):
    def linear_recurrence(self, A, b, y0, *, transpose, **options):
        A = A.conj() if transpose else A
        return super().linear_recurrence(A, b, y0, transpose=transpose, **options)


class IgnoresInitialState(Portable):
    def linear_recurrence(self, A, b, y0, **options):
        return super().linear_recurrence(A, b, None, **options)


class IgnoresOut(Portable):
    def linear_recurrence(self, A, b, y0, *, out, **options):
        return super().linear_recurrence(A, b, y0, out=None, **options)


class LosesTheCarry(Portable):
    """Starts anew at every 32nd step, as a kernel does that forgets a chunk's end."""

    def linear_recurrence(self, A, b, y0, *, reverse, **options):
        A = A + 0
        A[31::32] = 0
        return super().linear_recurrence(A, b, y0, reverse=reverse, **options)


class LosesPrecision(Portable):
    def linear_recurrence(self, A, b, y0, **options):
        y = super().linear_recurrence(A, b, y0, **options)
        y[...] = y.astype("complex64" if y.dtype.kind == "c" else "float32")
        return y


class ReturnsDoublePrecision(Portable):
    def linear_recurrence(self, A, b, y0, **options):
        y = super().linear_recurrence(A, b, y0, **options)
        return y if options["out"] is not None else y.astype(np.result_type(y, np.float64))


class WritesToItsInput(Portable):
    def linear_recurrence(self, A, b, y0, **options):
        y = super().linear_recurrence(A, b, y0, **options)
        if b.flags.writeable:
            b[:1] += 1
        return y


class IgnoresStrides(Portable):
    """Reads memory in order, whatever the strides say."""

    def linear_recurrence(self, A, b, y0, **options):
        if b.strides[0] < 0:
            b = b[::-1]
        return super().linear_recurrence(A, b, y0, **options)


class OneMethodIsWrong(Portable):
    def linear_recurrence(self, A, b, y0, *, method, **options):
        if method == "cyclic_reduction":
            A = A * 1.001
        return super().linear_recurrence(A, b, y0, method=method, **options)


class FailsWithoutSteps(Portable):
    def linear_recurrence(self, A, b, y0, **options):
        if len(b) == 0:
            raise IndexError("no first step")
        return super().linear_recurrence(A, b, y0, **options)


class TakesNanForSuccess(Portable):
    def residual_test(self, y, fy, rtol, atol):
        r = np.abs(y - fy)
        fails = (r > atol + rtol * np.abs(y)).any(axis=-1)
        if not fails.size:
            return super().residual_test(y, fy, rtol, atol)
        first = np.where(fails.any(axis=0), fails.argmax(axis=0), len(y))
        return first.astype(np.intp), super().residual_test(y, fy, rtol, atol)[1]


class OffByOne(Portable):
    def residual_test(self, y, fy, rtol, atol):
        first, largest = super().residual_test(y, fy, rtol, atol)
        return np.minimum(first + 1, len(y)), largest


class HidesNan(Portable):
    def residual_test(self, y, fy, rtol, atol):
        first, largest = super().residual_test(y, fy, rtol, atol)
        return first, np.where(np.isinf(largest), 0.0, largest)


class AcceptsInfinity(Portable):
    def residual_test(self, y, fy, rtol, atol):
        if not np.isinf(y).any():
            return super().residual_test(y, fy, rtol, atol)
        fails = ~(np.abs(y - fy) <= atol + rtol * np.abs(y)).all(axis=-1)
        first = np.where(fails.any(axis=0), fails.argmax(axis=0), len(y))
        return first, super().residual_test(y, fy, rtol, atol)[1]


class IsStrict(Portable):
    def residual_test(self, y, fy, rtol, atol):
        return super().residual_test(y, fy, rtol * (1 - 1e-3), atol * (1 - 1e-3))


class MeasuresByTheImage(Portable):
    def residual_test(self, y, fy, rtol, atol):
        return super().residual_test(fy, y, rtol, atol)


class TakesOneTolerance(Portable):
    def residual_test(self, y, fy, rtol, atol):
        return super().residual_test(y, fy, rtol, atol[:1])


class ReportsTheWholeBatch(Portable):
    def residual_test(self, y, fy, rtol, atol):
        first, largest = super().residual_test(y, fy, rtol, atol)
        return np.full_like(first, first.min(initial=len(y))), largest


class NeverRepairs(Portable):
    def newton_update(self, A, fy, y, *, method):
        d = self.linear_recurrence(
            A, fy - y, None, reverse=False, transpose=False, method=method, out=None
        )
        y += d


class RepairsWithTheOldValue(NeverRepairs):
    def newton_update(self, A, fy, y, *, method):
        old = y.copy()
        super().newton_update(A, fy, y, method=method)
        y[...] = np.where(np.abs(y) <= np.finfo(y.dtype).max ** 0.5, y, old)


class RepairsOnlyNan(NeverRepairs):
    def newton_update(self, A, fy, y, *, method):
        old = y.copy()
        super().newton_update(A, fy, y, method=method)
        y[...] = np.where(np.isfinite(y), y, np.where(np.isfinite(fy), fy, old))


class ReadsTheFirstMatrix(Portable):
    def newton_update(self, A, fy, y, *, method):
        super().newton_update(A, fy + A[:1].sum() * 0, y, method=method)


class OverwritesSharedMemory(Portable):
    """Writes each step before it reads the next one's image."""

    def newton_update(self, A, fy, y, *, method):
        if not np.may_share_memory(fy, y):
            super().newton_update(A, fy, y, method=method)
            return
        change = np.zeros_like(y[:1])
        for t in range(len(y)):
            old = y[t].copy()
            product = A[t] * change if A.ndim == 3 else (A[t] @ change[..., None])[..., 0]
            y[t] = (fy[t] + product)[0] if t else fy[t]
            change = (y[t] - old)[None]


class CopiesTheIterate(Portable):
    def newton_update(self, A, fy, y, *, method):
        super().newton_update(A, fy, np.ascontiguousarray(y), method=method)


class NoWindow(Portable):
    def default_window(self, **sizes):
        return 0


class NoComplexNumbers(Portable):
    def asarray(self, a, dtype=None):
        return np.asarray(a, None if dtype is None else dtype.replace("complex128", "float64"))


class UnknownDtype(Portable):
    capabilities = Capabilities(dtypes=("float64", "bfloat16"))


class LacksAFunction(Portable):
    def __init__(self):
        super().__init__()

        class Namespace:
            def __getattr__(self, name):
                if name == "moveaxis":
                    raise AttributeError(name)
                return getattr(np, name)

        self.xp = Namespace()


class MakesNoise(Portable):
    """Kernels without a fault."""

    def add_noise(self, z, sigma, stream, copies):
        return random.add_noise(np, z, sigma, stream, copies)

    def weigh_noise(self, weights, stream, copies, out):
        random.weigh_noise(np, weights, stream, copies, out)


class FusesProducts(MakesNoise):
    def add_noise(self, z, sigma, stream, copies):
        wide = random.add_noise(np, z.astype(np.longdouble), sigma, stream, copies)
        return wide.astype(z.dtype)


class AddsCopiesInAnyOrder(MakesNoise):
    def weigh_noise(self, weights, stream, copies, out):
        before = out.copy()
        out[...] = 0
        super().weigh_noise(weights, stream, copies, out)
        out += before


class ForgetsTheFirstCopy(MakesNoise):
    def add_noise(self, z, sigma, stream, copies):
        return super().add_noise(z, sigma, stream, range(len(copies)))


class ForgetsTheTable(MakesNoise):
    def add_noise(self, z, sigma, stream, copies):
        return super().add_noise(z, sigma, stream._replace(table=None), copies)


class WeighsTheWrongNoise(MakesNoise):
    def weigh_noise(self, weights, stream, copies, out):
        super().weigh_noise(weights, stream._replace(step=stream.step + 1), copies, out)


class MultipliesHalves(Portable):
    """Products of half precision without a fault."""

    def half_matmul(self, a, b):
        return self.rounded(a) @ self.rounded(b)

    def rounded(self, a):
        return a.astype(np.float16).astype(a.dtype)


class DoesNotRoundOperands(MultipliesHalves):
    def rounded(self, a):
        return a


class RoundsProductsToHalf(MultipliesHalves):
    def half_matmul(self, a, b):
        return self.rounded(super().half_matmul(a, b))


#: Each fault with the cases among which it must be found.
FAULTS = {
    WrongSign: "linear_recurrence-diagonal",
    IgnoresReverse: "linear_recurrence-dense-reverse",
    IgnoresTranspose: "linear_recurrence-dense-transpose",
    ConjugatesTranspose: "linear_recurrence-dense-transpose",
    IgnoresInitialState: "linear_recurrence-diagonal",
    IgnoresOut: "linear_recurrence-dense-out",
    LosesTheCarry: "linear_recurrence-diagonal",
    LosesPrecision: "linear_recurrence-diagonal",
    ReturnsDoublePrecision: "linear_recurrence-diagonal",
    WritesToItsInput: "linear_recurrence-diagonal",
    IgnoresStrides: "linear_recurrence-diagonal-views",
    OneMethodIsWrong: "linear_recurrence-dense",
    FailsWithoutSteps: "linear_recurrence-diagonal",
    TakesNanForSuccess: "residual_test-nan",
    OffByOne: "residual_test-first",
    HidesNan: "residual_test-nan",
    AcceptsInfinity: "residual_test-infinity",
    IsStrict: "residual_test-at-the-tolerance",
    MeasuresByTheImage: "residual_test-relative",
    TakesOneTolerance: "residual_test-tolerance-per-element",
    ReportsTheWholeBatch: "residual_test-first",
    NeverRepairs: "newton_update-dense-repairs-non-finite",
    RepairsWithTheOldValue: "newton_update-diagonal-repairs",
    RepairsOnlyNan: "newton_update-dense-repairs-overflow",
    ReadsTheFirstMatrix: "newton_update-dense-ignores",
    OverwritesSharedMemory: "newton_update-dense-shared",
    CopiesTheIterate: "newton_update-diagonal-views",
    NoWindow: "contract-default-window",
    NoComplexNumbers: "arrays",
    UnknownDtype: "contract-capabilities",
    LacksAFunction: "contract-namespace",
    FusesProducts: "likelihood_ratio-noise",
    AddsCopiesInAnyOrder: "likelihood_ratio-noise",
    ForgetsTheFirstCopy: "likelihood_ratio-noise",
    ForgetsTheTable: "likelihood_ratio-noise",
    WeighsTheWrongNoise: "likelihood_ratio-estimates",
    DoesNotRoundOperands: "likelihood_ratio-half-products",
    RoundsProductsToHalf: "likelihood_ratio-half-products",
}


def cases(prefix):
    chosen = [case for case in conformance_cases() if case.name.startswith(prefix)]
    assert chosen
    return chosen


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("fault", "prefix"), FAULTS.items(), ids=lambda v: getattr(v, "__name__", v)
)
def test_a_planted_fault_is_found(fault, prefix):
    with pytest.raises(AssertionError, match=f"Backend 'planted' fails .* cases:\n  {prefix}"):
        check_backend(fault(), cases(prefix))


@pytest.mark.parametrize("prefix", sorted(set(FAULTS.values())))
def test_without_a_fault_the_same_cases_pass(prefix):
    check_backend(Portable(), cases(prefix))


@pytest.mark.parametrize("fault", [TakesNanForSuccess, OffByOne, NeverRepairs, WrongSign])
def test_faults_show_in_the_solvers_too(fault):
    solvers = [c for c in conformance_cases() if c.name.startswith(("deer", "vjp", "on_failure"))]
    with pytest.raises(AssertionError, match="Backend 'planted' fails"):
        check_backend(fault(), solvers)


def test_noise_kernels_without_a_fault_pass():
    check_backend(MakesNoise(), cases("likelihood_ratio"))


def test_half_precision_products_without_a_fault_pass():
    check_backend(MultipliesHalves(), cases("likelihood_ratio-half"))


def test_a_failure_says_what_was_expected_and_what_came():
    case = next(c for c in conformance_cases() if c.name == "linear_recurrence-dense-growth")
    with pytest.raises(
        AssertionError, match=r"float32, method 'auto', n_steps = 60, .*`y\[.*must be .* got .*"
    ):
        case.run(WrongSign())


def test_every_failing_case_is_listed_and_errors_are_named():
    def broken(backend):
        raise ZeroDivisionError("by zero")

    def wrong(backend):
        raise AssertionError("1 expected, 2 came")

    chosen = [
        ConformanceCase("broken", broken),
        ConformanceCase("fine", lambda backend: None),
        ConformanceCase("wrong", wrong),
    ]
    with pytest.raises(AssertionError) as caught:
        check_backend(Portable(), chosen)
    assert str(caught.value) == (
        "Backend 'planted' fails 2 of 3 cases:\n"
        "  broken: ZeroDivisionError: by zero\n"
        "  wrong: 1 expected, 2 came"
    )


def test_check_backend_takes_names():
    check_backend("numpy", cases("contract"))
    with pytest.raises(ValueError, match="'nobody'"):
        check_backend("nobody")
    with pytest.raises(ValueError, match="'nobody'"):
        conformance_cases()[0].run("nobody")
    assert issubclass(BackendUnavailableError, RuntimeError)


def test_a_backend_with_few_dtypes_and_more_methods_passes():
    class Small(Portable):
        capabilities = Capabilities(
            dtypes=("float32",),
            linear_solvers=("scan", "cyclic_reduction", "sequential", "own"),
        )

        def linear_recurrence(self, A, b, y0, *, method, **options):
            assert A.dtype == b.dtype == np.float32
            method = "scan" if method == "own" else method
            return super().linear_recurrence(A, b, y0, method=method, **options)

    check_backend(Small())


def test_the_namespace_case_names_what_the_library_uses():
    import ast
    import inspect
    from pathlib import Path

    import seqsolve
    from seqsolve.testing import _contract_cases

    used = set()
    for path in Path(inspect.getfile(seqsolve)).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value
                if "xp" in (getattr(owner, "id", None), getattr(owner, "attr", None)):
                    used.add(node.attr)
    assert used - {"__name__", "asarray", "inf"} == set(_contract_cases.NAMESPACE)
