"""Element steps on the device: plain Python functions as CUDA C++, fused with the solvers."""
