"""The calls that a pickle of weights makes, a closed list, and our answers: arrays, tensors, dictionaries."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from styleloom.errors import UserError, quoted
from styleloom.foreign.pickles.records import (
    Array,
    Name,
    NumberType,
    Record,
    Storage,
    fortran_strides,
    item_size,
    item_type,
    shape_of,
)

if TYPE_CHECKING:
    from styleloom.foreign.pickles.unpickler import Unpickler

Answer = Callable[["Unpickler", tuple[Any, ...]], Any]


def as_buffer(value: Any) -> memoryview:
    """Bytes, or text of Python 2 that stands for them. Raises UserError for anything else."""
    if isinstance(value, str):
        value = value.encode("latin-1")
    if not isinstance(value, (bytes, memoryview)):
        raise UserError("damaged, the numbers of an array are no bytes")
    return memoryview(value)


# ---- NumPy


def _dtype(u: Unpickler, args: tuple[Any, ...]) -> NumberType:
    name = args[0] if args else None
    return NumberType(item_type(name.lstrip("<=|") if isinstance(name, str) else name))


def _array(kind: NumberType, shape: Any, data: Any, fortran: Any) -> Array:
    """An array over all of `data`."""
    if not isinstance(kind, NumberType):
        raise UserError("damaged, the type of an array is none")
    buffer = as_buffer(data)
    storage = Storage(kind.kind, len(buffer) // item_size(kind.kind))
    storage.fill(buffer)
    dims = shape_of(shape)
    array = Array(kind.kind, dims, storage, 0, fortran_strides(dims) if fortran else None)
    if array.size != storage.count:
        raise UserError(f"damaged, an array of the shape {list(dims)} has {storage.count} numbers")
    return array


def _scalar(u: Unpickler, args: tuple[Any, ...]) -> Array:
    kind, data = args
    return _array(kind, (), data, False)


def _reconstruct(u: Unpickler, args: tuple[Any, ...]) -> Array:
    if not args or not isinstance(args[0], Name) or str(args[0]) != "numpy.ndarray":
        raise UserError("refused, an array of a class that is not NumPy's own")
    return Array("<f4", (0,))


def _frombuffer(u: Unpickler, args: tuple[Any, ...]) -> Array:
    data, kind, shape, order = args
    return _array(kind, shape, data, order == "F")


def _dill_array(u: Unpickler, args: tuple[Any, ...]) -> Array:
    of, inner, state = args[:3]
    if not isinstance(of, Name) or str(of) != "numpy.core.multiarray._reconstruct":
        raise UserError("refused, an array that is made in a way that is not known")
    array = _reconstruct(u, inner)
    set_state(array, state)
    return array


# ---- PyTorch


def _tensor(u: Unpickler, args: tuple[Any, ...]) -> Array:
    """_rebuild_tensor, _v2 and _v3: storage, offset, shape, strides, then what does not matter here."""
    storage, offset, shape, strides = args[:4]
    if not isinstance(storage, Storage) or type(offset) is not int or not 0 <= offset < 2**48:
        raise UserError("damaged, a tensor without storage or with an impossible offset")
    return Array(storage.kind, shape_of(shape), storage, offset, shape_of(strides))


def _tensor_v3(u: Unpickler, args: tuple[Any, ...]) -> Array:
    """As others, but the storage is of bytes and the type comes last."""
    kind, storage = args[6], args[0]
    if not isinstance(kind, Name) or not isinstance(storage, Storage):
        raise UserError("damaged, a tensor whose type is none")
    typed = Storage(item_type(kind.name), storage.count // item_size(item_type(kind.name)), storage.data)
    return _tensor(u, (typed, *args[1:4]))


def _parameter(u: Unpickler, args: tuple[Any, ...]) -> Array:
    value = args[0]
    if not isinstance(value, Array):
        raise UserError("damaged, a parameter that is no tensor")
    value.trained = True
    return value


def _storage_bytes(u: Unpickler, args: tuple[Any, ...]) -> Any:
    from styleloom.foreign.pickles.torch_files import read_legacy

    seen = u.nested()
    value = read_legacy(as_buffer(args[0]), seen)
    seen.depth -= 1
    if not isinstance(value, Storage):
        raise UserError("refused, what should be a storage is something else")
    return value


# ---- Python


def _dictionary(u: Unpickler, args: tuple[Any, ...]) -> dict[Any, Any]:
    pairs = args[0] if args else []
    if isinstance(pairs, dict):
        return dict(pairs)
    if not isinstance(pairs, list) or not all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], (str, int))
        for pair in pairs
    ):
        raise UserError("damaged, a dictionary is not made from keys and values")
    return {pair[0]: pair[1] for pair in pairs}


def _items(u: Unpickler, args: tuple[Any, ...]) -> list[Any]:
    items = args[0] if args else []
    if not isinstance(items, (list, tuple)):
        raise UserError("damaged, a set is not made from items")
    return list(items)


def _encode(u: Unpickler, args: tuple[Any, ...]) -> bytes:
    text, encoding = (*args, "latin1")[:2]
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UserError(f"refused, bytes in the encoding {quoted(encoding)}")
    return text.encode("latin-1")


def _bytearray(u: Unpickler, args: tuple[Any, ...]) -> Any:
    return as_buffer(args[0]) if args else b""


def _reconstructor(u: Unpickler, args: tuple[Any, ...]) -> Record:
    """An object of protocol 0 or 1."""
    if not args or not isinstance(args[0], Name):
        raise UserError("damaged, an object without a class")
    u.seen.called[args[0]] = None
    return Record(args[0])


CALLS: dict[str, Answer] = {
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "dill._dill._create_array": _dill_array,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.storage._load_from_bytes": _storage_bytes,
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": lambda u, args: {},
    "dnnlib.util.EasyDict": _dictionary,
    "builtins.dict": _dictionary,
    "builtins.set": _items,
    "builtins.frozenset": _items,
    "builtins.list": _items,
    "builtins.tuple": lambda u, args: tuple(_items(u, args)),
    "builtins.bytearray": _bytearray,
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _reconstructor,
}
"""By name of the function."""


def set_state(target: Any, state: Any) -> None:
    """What BUILD does to `target`. Raises UserError for an object that has no state here."""
    if isinstance(target, NumberType):
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            target.kind = target.kind.replace("<", ">")
    elif isinstance(target, Array):
        if not isinstance(state, tuple) or len(state) != 5:
            raise UserError("damaged, an array without type, shape and numbers")
        _, shape, kind, fortran, data = state
        filled = _array(kind, shape, data, fortran)
        target.__dict__.update(filled.__dict__)
    elif isinstance(target, Record):
        target.state = state
    elif not isinstance(target, dict):  # a dictionary's attributes, such as versions of modules, are left
        raise UserError("damaged, a state is set on something that has none")


def unpacked(form: str, data: memoryview, at: int) -> Any:
    """A number at `at`. Raises UserError where the data end before."""
    if not 0 <= at <= len(data) - struct.calcsize(form):
        raise UserError(f"damaged or cut off, a number should be at byte {at}")
    return struct.unpack_from(form, data, at)[0]
