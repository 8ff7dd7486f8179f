# mypy: disable-error-code="no-untyped-call"
"""Memory access that the compiler can see through."""

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array


def _row(typing_context: Any, array: types.Array, index: types.BaseTuple) -> Any:
    """Return the row ``array[index]`` along the last axis, which must be contiguous.

    Unlike NumPy indexing it neither counts references nor checks bounds, and
    the compiler knows that neighbouring elements are neighbours in memory.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = make_array(array)(context, builder, arguments[0])
        at = cgutils.unpack_tuple(builder, arguments[1], len(index))
        length = cgutils.unpack_tuple(builder, source.shape, array.ndim)[-1]
        return _vector(context, builder, array, source, at, length)

    return array.copy(ndim=1, layout="C")(array, index), generate


def _span(
    typing_context: Any, array: types.Array, step: types.Type, start: types.Type, size: types.Type
) -> Any:
    """Return `size` values of ``array[step]`` from number `start` on, all contiguous."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = make_array(array)(context, builder, arguments[0])
        _, step, start, size = arguments
        vector_type = array.copy(ndim=1, layout="C")
        vector = make_array(vector_type)(
            context, builder, _vector(context, builder, array, source, [step], size)
        )
        vector.data = builder.gep(vector.data, [start])
        return vector._getvalue()

    vector_type = array.copy(ndim=1, layout="C")
    return vector_type(array, types.intp, types.intp, types.intp), generate


def _vector(
    context: Any, builder: Any, array: types.Array, source: Any, index: list[Any], length: Any
) -> Any:
    data = source.data
    strides = cgutils.unpack_tuple(builder, source.strides, array.ndim)
    for position, stride in zip(index, strides, strict=False):
        data = cgutils.pointer_add(builder, data, builder.mul(position, stride))
    vector = make_array(array.copy(ndim=1, layout="C"))(context, builder)
    populate_array(
        vector,
        data=data,
        shape=[length],
        strides=[source.itemsize],
        itemsize=source.itemsize,
        meminfo=None,
    )
    return vector._getvalue()


def _local(typing_context: Any, size: Any, like: types.Array) -> Any:
    """Return an uninitialised vector of constant `size`, of the dtype of `like`.

    It lives on the stack; where all loops over it unroll, in registers.
    """
    if not isinstance(size, types.Literal):
        return None
    vector_type = types.Array(like.dtype, 1, "C")
    length = size.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        element = context.get_data_type(like.dtype)
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(element))
        vector = make_array(vector_type)(context, builder)
        populate_array(
            vector,
            data=cgutils.alloca_once(builder, element, size=length),
            shape=[context.get_constant(types.intp, length)],
            strides=[itemsize],
            itemsize=itemsize,
            meminfo=None,
        )
        return vector._getvalue()

    return vector_type(size, like), generate


row: Any = intrinsic(_row)
span: Any = intrinsic(_span)
local: Any = intrinsic(prefer_literal=True)(_local)
