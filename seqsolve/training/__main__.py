"""``python -m seqsolve.training``: train a network by back-propagation and without."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from seqsolve.datasets import DatasetError
from seqsolve.training import Epoch, Run, Task, as_table, draw, fit, save_runs
from seqsolve.training.methods import METHODS
from seqsolve.training.tasks import TASKS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit code: 0 on success, 1 where data or libraries are missing. Bad arguments exit with 2.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    given = sys.argv[1:] if argv is None else argv
    try:
        if arguments.plot is not None and find_spec("matplotlib") is None:
            raise ImportError("--plot needs matplotlib: pip install 'seqsolve[plot]'.")
        task = TASKS[arguments.task](arguments.data)
        runs = [
            _train(task, method, copies, arguments)
            for method in arguments.methods
            for copies in ([None] if method == "bp" else arguments.copies)
        ]
        print(as_table(runs))
        if arguments.output is not None:
            command = shlex.join(["python", "-m", "seqsolve.training", *given])
            save_runs(runs, arguments.output, command=command)
        if arguments.plot is not None:
            draw(runs, arguments.plot)
    except (DatasetError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _train(task: Task, method: str, copies: int | None, arguments: argparse.Namespace) -> Run:
    def report(epoch: Epoch) -> None:
        print(
            f"{task.name} {method}: loss {epoch.loss:.4f}, test accuracy {epoch.accuracy:.4f}, "
            f"{epoch.seconds:.1f} s",
            flush=True,
        )

    return fit(
        task,
        method,
        epochs=arguments.epochs,
        copies=copies,
        seed=arguments.seed,
        backend=arguments.backend,
        progress=arguments.progress,
        callback=None if arguments.progress else report,
    )


def _parser() -> argparse.ArgumentParser:
    methods = "; ".join(f"{name}: {meaning}" for name, meaning in METHODS.items())
    parser = argparse.ArgumentParser(
        prog="python -m seqsolve.training",
        description="Train a network by back-propagation and by likelihood-ratio gradients.",
        epilog=f"Methods are {methods}.",
    )
    parser.add_argument("task", choices=TASKS, help="network and data")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), help="default: all"
    )
    parser.add_argument("--epochs", type=_positive, help="default: the task's")
    parser.add_argument(
        "--copies", nargs="+", type=_even, default=[None], help="even; several make a run each"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and noise")
    parser.add_argument("--data", help="directory of the data; default: $SEQSOLVE_DATA, or a cache")
    parser.add_argument("--backend", default="numba", help="what computes; default: numba")
    parser.add_argument("--progress", action="store_true", help="progress bars (needs tqdm)")
    parser.add_argument("--output", metavar="FILE.json", help="write the runs")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the runs (needs matplotlib)")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be positive; got {number}")
    return number


def _even(text: str) -> int:
    number = _positive(text)
    if number % 2:
        raise argparse.ArgumentTypeError(f"must be even; got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
