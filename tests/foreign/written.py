"""Files in the formats of other codes, with random weights, written by the tests themselves."""

from __future__ import annotations

import itertools
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from styleloom.weights.tables import Layout, Table, expected_names, locate


def variables(table: Table, network: nn.Module) -> dict[str, Tensor]:
    """Random variables under the source's names, of shapes that its layouts turn into ours."""
    state = network.state_dict()
    drawn = torch.Generator().manual_seed(0)
    names = {target: name for name, target in expected_names(table, set(state))}
    found = {}
    for target, name in names.items():
        place = locate(table, name)
        assert place is not None
        shape = source_shape(place.layout, state[target].shape)
        found[name] = torch.randn(shape, generator=drawn)
    assert len(found) == len(state), set(state) - set(names)
    return found


def source_shape(layout: Layout, shape: torch.Size) -> tuple[int, ...]:
    """A shape that `layout` turns into `shape`."""
    whole = tuple(shape)
    candidates = [(1, *whole, 1, 1), (1, *whole), whole, whole[1:], whole[2:]]
    if len(whole) == 2:
        candidates.append((whole[1], whole[0] // 16, 4, 4))
    for candidate in [*candidates, *itertools.permutations(shape)]:
        try:
            if layout(torch.zeros(candidate)).shape == shape:
                return candidate
        except (RuntimeError, IndexError, TypeError, ValueError):
            continue
    raise AssertionError(f"no shape for {list(shape)}")


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stand-ins for what pickles name, importable while they are written."""

    class Network:
        def __init__(self, state: Mapping[str, Any]) -> None:
            self.__dict__.update(state)

    class Persistent:
        def __init__(self, meta: Mapping[str, Any]) -> None:
            self.meta = dict(meta)

        def __reduce__(self) -> tuple[Any, tuple[Any]]:
            return reconstruct, (self.meta,)

    def reconstruct(meta: Any) -> None:
        raise AssertionError("unpickled the usual way")

    made: dict[str, Any] = {"Persistent": Persistent}
    for module, name, value in (
        ("dnnlib.tflib.network", "Network", Network),
        ("torch_utils.persistence", "_reconstruct_persistent_obj", reconstruct),
    ):
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            path = ".".join(parts[:count])
            monkeypatch.setitem(sys.modules, path, types.ModuleType(path))
        value.__module__, value.__qualname__, value.__name__ = module, name, name
        setattr(sys.modules[module], name, value)
        made[name] = value
    return made


def tensorflow_network(codes: Mapping[str, Any], function: str, version: int, case: Mapping[str, Any]) -> Any:
    """A `Network`; variables of components stand in them."""
    own = {n: v.numpy() for n, v in case["variables"].items() if not n.startswith("G_")}
    state = {
        **case.get("state", {}),
        "version": version,
        "name": "G",
        "static_kwargs": dict(case["kwargs"]),
        "components": {},
        "build_module_src": "raise SystemExit('source was run')",
        "build_func_name": function,
        "variables": list(own.items()),
    }
    for part in ("synthesis", "mapping"):
        begin = f"G_{part}/"
        inner = [
            (n.removeprefix(begin), v.numpy()) for n, v in case["variables"].items() if n.startswith(begin)
        ]
        if inner:
            name = case["kwargs"].get("synthesis_func", f"G_{part}") if part == "synthesis" else f"G_{part}"
            state["components"][part] = codes["Network"](
                {**state, "components": {}, "build_func_name": name, "variables": inner, "static_kwargs": {}}
            )
    return codes["Network"](state)


def persistent_module(codes: Mapping[str, Any], found: Mapping[str, Tensor], kind: str, **own: Any) -> Any:
    """A module of the PyTorch codes and all modules in it."""
    inner: dict[str, dict[str, Tensor]] = {}
    parameters: OrderedDict[str, Tensor] = OrderedDict()
    for name, value in found.items():
        head, _, rest = name.partition(".")
        if rest:
            inner.setdefault(head, {})[rest] = value
        else:
            parameters[head] = torch.nn.Parameter(value, requires_grad=False)
    kinds = {"mapping": "MappingNetwork", "synthesis": "SynthesisNetwork"}
    modules = OrderedDict(
        (name, persistent_module(codes, part, kinds.get(name, "SynthesisLayer")))
        for name, part in inner.items()
    )
    buffers: OrderedDict[str, Tensor] = OrderedDict()
    state = {"_parameters": parameters, "_buffers": buffers, "_modules": modules, **own}
    source = "raise SystemExit('source was run')"
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": kind, "state": state}
    return codes["Persistent"](meta)


def pickled(value: Any, path: Path, protocol: int = 4, around: Callable[[bytes], bytes] = bytes) -> Path:
    """Write a pickle."""
    path.write_bytes(around(pickle.dumps(value, protocol)))
    return path
