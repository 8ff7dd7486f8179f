"""Draws how Newton's method converges on whole windows."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import seqsolve

if TYPE_CHECKING:
    from seqsolve._demo.problems import Example
    from seqsolve._demo.report import Measurement

_N_WINDOWS = 4
_N_ITERATES = 5
_N_SHOWN = 8_766
_COLOURS = ("#0f6fb4", "#d9622b", "#2f8f5b")
_SHADES = ("#9a9a9a", "#a6d8b4", "#6fbf8b", "#3f9f68", "#1f7a4a", "#0b4f2c")


class PlotError(RuntimeError):
    """The picture cannot be drawn; the message says why."""


def check(path: Path) -> None:
    """Raise `PlotError` if a picture cannot be drawn to `path`."""
    if find_spec("matplotlib") is None:
        raise PlotError(
            "--plot needs matplotlib, which the extra `plot` installs: "
            'pip install "seqsolve[plot]", or pip install ".[plot]" in the source tree.'
        )
    if path.suffix.lower() != ".png":
        raise PlotError(f"--plot must name a .png file; got {str(path)!r}.")
    if not path.absolute().parent.is_dir():
        raise PlotError(f"--plot must name a file in an existing directory; got {str(path)!r}.")


def draw(measurements: Sequence[Measurement], path: Path) -> None:
    """Draw the iterates of the last example and the residuals of all.

    Parameters
    ----------
    measurements : sequence of Measurement
        The examples, solved.
    path : path
        The PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplot_mosaic(
        [["trajectory", "residuals"], ["errors", "residuals"]], width_ratios=(3, 2)
    )
    for axes in panels.values():
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
    _draw_iterates(panels["trajectory"], panels["errors"], measurements[-1].example)
    _draw_residuals(panels["residuals"], measurements)
    try:
        figure.savefig(path)
    except OSError as error:
        raise PlotError(f"--plot cannot write {str(path)!r}: {error.strerror}.") from error


def _draw_iterates(above: Any, below: Any, example: Example) -> None:
    x = example.x[:_N_SHOWN]
    drawn = slice(None, None, max(1, len(x) // 2_000))
    days = np.arange(1, len(x) + 1)[drawn] / 24
    exact = example.loop()[: len(x), 0]
    above.plot(days, exact[drawn], color="black", lw=1, label="plain loop")
    for nit, shade in enumerate(_SHADES[: _N_ITERATES + 1]):
        iterate = _iterate(example, x, nit)
        label = f"iteration {nit}" if nit else "guess"
        if nit < 2:
            above.plot(days, iterate[drawn], color=shade, lw=1.2, zorder=1.9, label=label)
        error = np.abs(iterate - exact)[drawn] + 1e-12
        below.semilogy(days, error, color=shade, lw=1, label=label)
    above.set(title=f"{example.name}: one window of {len(x):,} steps", ylabel="storage [mm]")
    above.margins(y=0.15)
    above.tick_params(labelbottom=False)
    above.legend(frameon=False, fontsize="small", ncols=3)
    below.set(xlabel="days, 24 steps each", ylabel="|error| [mm]")
    for axes in (above, below):
        axes.set_xlim(0, days[-1])
    below.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def _iterate(example: Example, x: Any, nit: int) -> Any:
    """Return the states after a number of iterations over all of `x` as one window."""
    if nit == 0:
        return np.full(len(x), example.y0[0])
    solution = seqsolve.deer(
        example.f,
        example.jac,
        x,
        example.y0,
        window=len(x),
        maxiter=nit,
        on_failure="return",
    )
    return solution.y[:, 0]


def _draw_residuals(axes: Any, measurements: Sequence[Measurement]) -> None:
    for m, colour in zip(measurements, _COLOURS, strict=True):
        label = m.example.name
        for record in m.solution.history[:_N_WINDOWS]:
            residuals = np.array(record.residuals)
            residuals[residuals <= 0] = np.nan
            axes.semilogy(residuals, "o-", color=colour, ms=3, lw=1.2, alpha=0.75, label=label)
            label = "_"
    axes.set(
        title=f"residuals of the first {_N_WINDOWS} windows",
        xlabel="iteration",
        ylabel="largest |y[t] − f(y[t−1], x[t])|",
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize="small")
