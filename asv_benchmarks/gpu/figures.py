"""What is measured, and the time that it may take: nothing here needs a device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

Case = dict[str, Any]

#: Marks, among the variants of a case, what the backend chooses.
CHOSEN = "chosen"


@dataclass(frozen=True)
class Figure:
    """One measurement.

    Parameters
    ----------
    section : str
        The section that it belongs to.
    case : dict
        What was measured: shapes, dtype.
    variant : str
        What computed it.
    seconds : float or None
        Median of the repeats; None where there is none, and `note` says why.
    floor : float or None
        Seconds that reading every input and writing every output once would
        take at the copy bandwidth.
    deviation : float or None
        Of the result from what it must be, relative to what is tolerated: at
        most 1. None where nothing was compared.
    note : str
        Iterations, or why there is no figure.
    """

    section: str
    case: Case
    variant: str
    seconds: float | None
    floor: float | None = None
    deviation: float | None = None
    note: str = ""

    @property
    def stands(self) -> bool:
        """Whether there is a time, and what was computed in it is not wrong."""
        wrong = self.deviation is not None and not self.deviation <= 1.0
        return self.seconds is not None and not wrong


@dataclass
class Session:
    """What the measurements of a section share.

    Parameters
    ----------
    seconds : float
        How long it may go on, from now.
    tiny : bool
        Sizes that only show that the report runs.
    save : callable
        Called with the session before each measurement and after the last.
    """

    seconds: float
    tiny: bool = False
    save: Callable[[Session], None] = lambda session: None
    bandwidth: float = float("nan")
    section: str = ""
    figures: list[Figure] = field(default_factory=list)
    running: tuple[Case, str] | None = None

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds

    def left(self) -> float:
        """Return the seconds that are left."""
        return self._end - time.monotonic()

    def is_over(self, expected: float) -> bool:
        """Return whether less time is left than something may take."""
        return self.left() < (0.0 if self.tiny else expected)

    def size(self, n: int, tiny: int = 64) -> int:
        """Return a size, or a small one where the report itself is tested."""
        return min(n, tiny) if self.tiny else n

    def cases(self, cases: Sequence[T], n_tiny: int = 2) -> Sequence[T]:
        """Return the cases, or the first few where the report itself is tested."""
        return cases[:n_tiny] if self.tiny else cases

    def add(
        self, case: Case, variant: str, measure: Callable[[], dict[str, Any]], expected: float = 2.0
    ) -> Figure:
        """Add a figure: what fails or has no time left is one without a time.

        Parameters
        ----------
        case, variant
            As in `Figure`.
        measure : callable
            Returns `Figure`'s other fields.
        expected : float
            Seconds that it may take; with less time left, it is skipped.
        """
        self.running = case, variant
        self.save(self)
        if self.is_over(expected):
            result: dict[str, Any] = {"seconds": None, "note": "skipped: no time left"}
        else:
            try:
                result = measure()
            except Exception as error:  # out of memory has a type of its own in each library
                result = {"seconds": None, "note": in_a_line(error)}
        figure = Figure(self.section, case, variant, **result)
        self.figures.append(figure)
        self.running = None
        return figure

    def attempt(self, case: Case, prepare: Callable[..., None], *arguments: Any) -> None:
        """Prepare and add the figures of a case, if time is left; note it if that fails."""
        if self.is_over(1.0):
            note = "skipped: no time left"
            self.figures.append(Figure(self.section, case, "all", None, note=note))
            return
        try:
            prepare(*arguments)
        except Exception as error:
            note = in_a_line(error)
            self.figures.append(Figure(self.section, case, "preparation", None, note=note))


def in_a_line(error: BaseException) -> str:
    """Return an error's type and the beginning of its message."""
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:200]
