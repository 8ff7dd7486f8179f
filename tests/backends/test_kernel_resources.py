"""The CuPy backend's kernels compile for GPUs that are not there, within registers."""

from __future__ import annotations

import importlib.util
import re
from itertools import groupby

import pytest
from support.emulation import reason_not_to_emulate

if reason_not_to_emulate():
    pytest.skip(reason_not_to_emulate(), allow_module_level=True)

from support import kernel_resources
from support.kernel_resources import ARCHITECTURES, Instance, Resources

from seqsolve_cupy.plans import staged_length, staged_memory

#: Registers of a multiprocessor.
REGISTERS = 65536

#: Shared memory of a multiprocessor, and what each block takes of it besides its own.
SHARED_MEMORY, RESERVED = {"sm_80": 164 << 10, "sm_90": 228 << 10}, 1 << 10

#: Bytes that a multiprocessor must have under way at any time, to move what it can: an H200 copies
#: 4.3e12 bytes a second, its memory answers after some 700 ns, and it has 132 multiprocessors.
BYTES_UNDER_WAY = 23_000

#: Threads of a multiprocessor that hide the latency of memory, each with several loads in flight:
#: the quarter of the most.
BUSY_THREADS = 512

#: Kernels of one number per step, which are to run at the speed of memory.
AT_SPEED_OF_MEMORY = {"linear_recurrence_walk", "newton_update_walk", "residual_test"}

#: Bytes spilled at most, by template; elsewhere there are none. By itself, the compiler rounds
#: registers down to what leaves room for another block, and spills a few bytes for it; allowed
#: more, or told not to unroll loops, it spills elsewhere. Where they are stored and loaded was
#: looked up in the machine code before CuPy's own options were part of it: nearly all of it
#: outside of loops.
KNOWN_SPILLS = {
    "cyclic_reduction": 32,
    "linear_recurrence_map": 16,
}


def nvrtc_is_missing() -> str:
    """Return the reason not to compile, an empty text if there is none."""
    for module in ("cuda.core", "cuda.bindings", "nvidia"):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return "compiling kernels needs pip install 'cuda-core[cu13]' nvidia-cuda-nvrtc"
    try:
        kernel_resources.compiler_version()
    except Exception as error:  # the library is looked for when first used
        return f"NVRTC cannot be loaded: {str(error).splitlines()[0]}"
    return ""


@pytest.fixture(scope="module")
def compiler():
    reason = nvrtc_is_missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def table():
    return kernel_resources.load_table()


def by_source(instances):
    return {k: [i.expression for i in v] for k, v in groupby(instances, lambda i: i.source)}


SAMPLE = by_source(kernel_resources.sample())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", SAMPLE)
def test_instances_compile_to_what_is_recorded(compiler, table, source, architecture):
    found = kernel_resources.compile_instances(source, SAMPLE[source], architecture)
    assert set(found) == set(SAMPLE[source])
    for expression, resources in found.items():
        recorded = table[architecture][Instance(source, expression)]
        assert resources.registers <= recorded.registers + 8, expression
        assert resources.spilled <= recorded.spilled, expression
        assert resources.shared == recorded.shared, expression


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_recorded_is_what_the_backend_can_ask_for(table, architecture):
    assert set(kernel_resources.sample()) <= set(table[architecture])
    assert set(table[architecture]) <= set(kernel_resources.instances())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_kernels_that_are_known_to_spill_do(table, architecture):
    for instance, resources in table[architecture].items():
        assert resources.spilled <= KNOWN_SPILLS.get(instance.kind, 0), instance


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_blocks_fit(table, architecture):
    for instance, resources in table[architecture].items():
        assert resources.shared <= 48 * 1024, instance
        assert resources.registers * threads(instance) <= REGISTERS, instance


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_enough_threads_are_resident_to_keep_memory_busy(table, architecture):
    """Of float32, in whole blocks: registers and shared memory leave room for them."""
    for instance, resources in table[architecture].items():
        scalar, n, *_ = instance.arguments
        scans_of_numbers = instance.kind == "residual_test" or n == "1"
        if instance.kind in AT_SPEED_OF_MEMORY and scalar == "float" and scans_of_numbers:
            block = threads(instance)
            blocks = REGISTERS // (block * rounded(resources.registers))
            assert block * blocks >= BUSY_THREADS, (instance, resources)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_enough_bytes_are_under_way_in_tiles(table, architecture):
    """The copies of one tile for each block, while it solves another.

    Shared memory decides how many blocks there are: registers leave room for as many.
    """
    for instance, resources in table[architecture].items():
        if not instance.kind.endswith("_tiles"):
            continue
        scalar, n, _, block = instance.arguments
        itemsize = {"float": 4, "double": 8, "seqsolve::complex64": 8}.get(scalar, 16)
        n_vectors = 1 + instance.source.startswith("newton")
        memory = staged_memory(int(n), itemsize, int(block), n_vectors)
        blocks = SHARED_MEMORY[architecture] // (memory + resources.shared + RESERVED)
        assert REGISTERS // (int(block) * rounded(resources.registers)) >= blocks, instance
        items = int(block) * staged_length(int(n), itemsize) * (int(n) ** 2 + n_vectors * int(n))
        assert blocks * items * itemsize >= BYTES_UNDER_WAY, (instance, resources, blocks)


def rounded(registers):
    """Registers are handed out to a warp 256 at a time, 8 to a thread."""
    return -(-registers // 8) * 8


def threads(instance):
    """Return the threads of a block: the last number of all but two templates."""
    if instance.kind.endswith("_map"):
        return 32  # depends on n, at most (n + 1) * 4, and is checked by the driver
    return 256 if instance.kind == "cyclic_reduction" else int(instance.arguments[-1])


def test_the_log_is_read():
    log = """ptxas info    : 0 bytes gmem
        ptxas info    : Compiling entry function '_Z1k' for 'sm_90'
        ptxas info    : Function properties for _Z1k
        ptxas         .     128 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
        ptxas info    : Used 30 registers, used 1 barriers, 16 bytes smem, 372 bytes cmem[0]
        ptxas info    : Function properties for _Z2k
        ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
        ptxas info    : Used 6 registers
    """
    assert dict(kernel_resources._parse(log)) == {
        "_Z1k": Resources(registers=30, stack=128, spilled=20, shared=16),
        "_Z2k": Resources(registers=6, stack=0, spilled=0, shared=0),
    }
    with pytest.raises(ValueError, match=r"log has no 'Used"):
        dict(kernel_resources._parse("Function properties for _Z1k\n"))


def test_a_kernel_that_spills_is_seen(compiler, monkeypatch):
    from seqsolve_cupy import sources

    code = """
    template <int n>
    __global__ void __launch_bounds__(1024, 1) crowded(double *y, const double *x) {
        double a[n];
        for (int i = 0; i < n; ++i) a[i] = x[i * 1024 + threadIdx.x];
        for (int k = 0; k < 3; ++k)
            for (int i = 0; i < n; ++i) a[i] = a[(i * 7 + 3) % n] * a[i] + a[(i + 1) % n];
        for (int i = 0; i < n; ++i) y[i * 1024 + threadIdx.x] = a[i];
    }
    """
    monkeypatch.setattr(sources, "load", lambda name: code)
    found = kernel_resources.compile_instances("crowded", ["crowded<8>", "crowded<64>"], "sm_90")
    assert found["crowded<8>"].spilled == 0
    assert found["crowded<64>"].spilled > 0
    assert found["crowded<64>"].registers <= 64


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_noise_is_rounded_operation_by_operation(compiler, architecture):
    """For the bits of the other backends: nothing fused, nothing approximate."""
    from seqsolve_cupy import compilation

    assert kernel_resources.OPTIONS[:1] == compilation.OPTIONS
    ptx = kernel_resources.ptx("noise", SAMPLE["noise"], architecture)
    pattern = r"\b(fma|mad|sqrt|rsqrt|rcp|div|mul|add|sub|ex2|lg2)[.]([.a-z]*)f(?:32|64)"
    found = set(re.findall(pattern, ptx.replace(".ftz", "")))
    assert found == {("div", "rn."), ("sqrt", "rn."), ("mul", "rn."), ("add", "rn.")}
