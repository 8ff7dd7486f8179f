"""Runs CUDA kernels on the host, to test them without a GPU. Results are emulated ones.

A kernel's source is compiled with g++ and run with one fiber for each CUDA thread. Threads take
turns at random, from a seed; what the programming model forbids raises `KernelFault`.
"""

from cuda_host.build import (
    CompileError,
    compiler,
    is_sanitized,
    sanitizer_environment,
)
from cuda_host.launch import Kernel, KernelFault, LaunchError, Module, Pointer, Schedule, schedule

__all__ = [
    "CompileError",
    "Kernel",
    "KernelFault",
    "LaunchError",
    "Module",
    "Pointer",
    "Schedule",
    "compiler",
    "is_sanitized",
    "sanitizer_environment",
    "schedule",
]
