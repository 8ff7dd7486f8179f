"""Whether the backend can run here, and why not."""

from __future__ import annotations

from seqsolve.backend import BackendUnavailableError

#: The oldest CuPy whose dispatch of NumPy's functions and stream handling the backend relies on.
MINIMUM_CUPY = (13, 4)

#: The oldest architecture with threads that are scheduled independently (Volta).
MINIMUM_COMPUTE_CAPABILITY = 70


def require_device() -> None:
    """Raise `BackendUnavailableError` with the reason where no device can be used."""
    try:
        import cupy
    except ImportError as error:
        raise BackendUnavailableError(
            f"CuPy cannot be imported ({error}). Install the extra for the driver's CUDA: "
            "pip install 'seqsolve[cuda12]' or 'seqsolve[cuda13]'."
        ) from error
    version = tuple(int(part) for part in cupy.__version__.split(".")[:2])
    if version < MINIMUM_CUPY:
        raise BackendUnavailableError(
            f"CuPy must be {'.'.join(map(str, MINIMUM_CUPY))} or later; "
            f"{cupy.__version__} is installed."
        )
    runtime = cupy.cuda.runtime
    try:
        n_devices = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise BackendUnavailableError(f"No CUDA device can be used: {error}.") from error
    if n_devices == 0:
        raise BackendUnavailableError("There is no CUDA device.")
    capability = cupy.cuda.Device().compute_capability
    if int(capability) < MINIMUM_COMPUTE_CAPABILITY:
        raise BackendUnavailableError(
            f"The device must have compute capability {MINIMUM_COMPUTE_CAPABILITY / 10} or more; "
            f"got {int(capability) / 10}."
        )
