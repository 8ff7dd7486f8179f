"""A GRU by cuDNN, through PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np


def on_gpu() -> bool:
    """Return whether PyTorch is installed and has a GPU."""
    if find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def gru(cell: Any, x: Any, y0: Any) -> Callable[[], Any]:
    """Return a function that runs the cell over its input, and waits for the result."""
    import torch

    torch.backends.cudnn.allow_tf32 = False  # it computes in single precision
    torch.backends.cuda.matmul.allow_tf32 = False
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = torch.nn.GRU(x.shape[-1], y0.shape[-1]).to(device)
    with torch.no_grad():
        for name, a in cell.params.items():
            getattr(module, f"{name}_l0").copy_(torch.from_numpy(np.array(a)))
    inputs = torch.from_numpy(x if x.ndim == 3 else x[:, None]).to(device)
    start = torch.from_numpy(y0.reshape(1, -1, y0.shape[-1])).to(device)

    def run() -> Any:
        with torch.no_grad():
            y = module(inputs, start)[0]
        if device == "cuda":
            torch.cuda.synchronize()
        return y

    return run
