"""Benchmarks, one area a file, on one thread unless the environment says otherwise."""

import os

for _library in ("OPENBLAS", "MKL", "OMP", "NUMBA"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")
