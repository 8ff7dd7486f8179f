# mypy: disable-error-code="no-untyped-call"
"""Arrays whose shape and strides the compiler knows.

Loops over them unroll, small ones live in registers, and nothing is counted
or freed.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from numba.core import cgutils, types
from numba.core.imputils import impl_ret_untracked
from numba.extending import intrinsic
from numba.np.arrayobj import load_item, make_array, populate_array


class Layout(NamedTuple):
    """The shape of an array, and its strides in bytes."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def contiguous(cls, shape: tuple[int, ...], itemsize: int) -> Layout:
        """Return the layout of a C-contiguous array."""
        strides = tuple(prod(shape[i + 1 :]) * itemsize for i in range(len(shape)))
        return cls(tuple(shape), strides)


def local(n_values: int) -> Any:
    """Return the compiled function ``f(like)``: an uninitialised vector of `like`'s dtype."""

    def typed(typing_context: Any, like: types.Array) -> Any:
        vector_type = types.Array(like.dtype, 1, "C")

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            element = context.get_data_type(like.dtype)
            itemsize = context.get_abi_sizeof(element)
            data = cgutils.alloca_once(builder, element, size=n_values)
            layout = Layout((n_values,), (itemsize,))
            return _array(context, builder, vector_type, data, itemsize, layout)

        return vector_type(like), generate

    return intrinsic(typed)


def known(layout: Layout) -> Any:
    """Return the compiled function ``f(a)``: the memory of `a` in a layout known beforehand."""

    def typed(typing_context: Any, array: types.Array) -> Any:
        known_type = _type_of(array, layout)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _known(context, builder, array, known_type, arguments[0], layout)

        return known_type(array), generate

    return intrinsic(typed)


def known_all(layouts: tuple[Layout, ...]) -> Any:
    """Return the compiled function ``f(arrays)``, `known` for a tuple of arrays.

    An array of shape () becomes its number.
    """

    def typed(typing_context: Any, arrays: Any) -> Any:
        pairs = list(zip(arrays, layouts, strict=True))
        known_types = [_type_of(a, layout) if layout.shape else a.dtype for a, layout in pairs]
        result_type = types.Tuple(known_types)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            values = []
            for i, (array, layout) in enumerate(pairs):
                value = builder.extract_value(arguments[0], i)
                if layout.shape:
                    value = _known(context, builder, array, known_types[i], value, layout)
                else:
                    data = make_array(array)(context, builder, value).data
                    value = load_item(context, builder, array, data)
                values.append(value)
            result = context.make_tuple(builder, result_type, values)
            return impl_ret_untracked(context, builder, result_type, result)

        return result_type(arrays), generate

    return intrinsic(typed)


def _ahead(typing_context: Any, array: types.Array, n_values: types.Type) -> Any:
    """Return `array` as seen from `n_values` further on along its last, contiguous axis.

    Unlike a slice it leaves no doubt about the sign of the indices, so that
    loops over it need no gathers.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        moved = make_array(array)(context, builder, arguments[0])
        moved.data = builder.gep(moved.data, [arguments[1]])
        moved.meminfo = cgutils.get_null_value(moved.meminfo.type)
        return moved._getvalue()

    return array(array, types.intp), generate


ahead: Any = intrinsic(_ahead)


def _wide(typing_context: Any) -> Any:
    """Let the function that calls it use the longest vector registers that there are.

    LLVM prefers those of half the length on most processors that have AVX-512: the longest
    were slow there once.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


wide: Any = intrinsic(_wide)


def _type_of(array: types.Array, layout: Layout) -> types.Array:
    return types.Array(array.dtype, len(layout.shape), "A", readonly=not array.mutable)


def _known(
    context: Any, builder: Any, source: types.Array, target: types.Array, value: Any, layout: Layout
) -> Any:
    array = make_array(source)(context, builder, value)
    itemsize = context.get_abi_sizeof(context.get_data_type(source.dtype))
    return _array(context, builder, target, array.data, itemsize, layout)


def _array(
    context: Any, builder: Any, array_type: types.Array, data: Any, itemsize: int, layout: Layout
) -> Any:
    def constant(value: int) -> Any:
        return context.get_constant(types.intp, value)

    array = make_array(array_type)(context, builder)
    populate_array(
        array,
        data=data,
        shape=[constant(size) for size in layout.shape],
        strides=[constant(stride) for stride in layout.strides],
        itemsize=constant(itemsize),
        meminfo=None,
    )
    return array._getvalue()
