"""Damaged snapshots: every outcome is a snapshot or one UserError, soon and within the file's own memory."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from styleloom.errors import UserError
from styleloom.networks.build import build_generator
from styleloom.snapshot import read_snapshot, write_snapshot
from tiny import tiny

VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 10**40, 1.5, 1e308, "", "\x1b[2J", "x" * 10_000, [], [[]], {}, [2**40],
)  # fmt: skip
"""What a field may be replaced by."""

SECONDS = 20.0
"""Of the processor. A tiny network takes milliseconds; what takes so long works for what a header claims."""


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Any, tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def replaced(tree: Any, random: np.random.Generator) -> Any:
    """`tree` with one value, anywhere in it, replaced or removed."""
    parent, key = tree, None
    places = []
    stack = [tree]
    while stack:
        parent = stack.pop()
        keys = parent.keys() if isinstance(parent, dict) else range(len(parent))
        for key in keys:
            places.append((parent, key))
            if isinstance(parent[key], (dict, list)):
                stack.append(parent[key])
    parent, key = places[random.integers(len(places))]
    if isinstance(parent, dict) and random.random() < 0.1:
        del parent[key]
    else:
        parent[key] = VALUES[random.integers(len(VALUES))]
    return tree


def cut(content: bytes, random: np.random.Generator) -> bytes:
    return content[: random.integers(len(content))]


def flipped(content: bytes, random: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    end = len(content) if random.random() < 0.5 else len(content) - len(split(content)[1])
    for _ in range(random.integers(1, 4)):
        damaged[random.integers(end)] ^= 1 << random.integers(8)
    return bytes(damaged)


def other_header(content: bytes, random: np.random.Generator) -> bytes:
    """Types, shapes, offsets, names."""
    header, tensors = split(content)
    return joined(replaced(header, random), tensors)


def other_document(content: bytes, random: np.random.Generator) -> bytes:
    """Format, version, experiment, info; half of the time without a checksum, which would notice."""
    header, tensors = split(content)
    document = json.loads(header["__metadata__"]["styleloom"])
    if random.random() < 0.8:
        del document["sha256"]
        document["version"] = 1
    header["__metadata__"]["styleloom"] = json.dumps(replaced(document, random))
    return joined(header, tensors)


def other_type(content: bytes, random: np.random.Generator) -> bytes:
    header, tensors = split(content)
    names = [name for name in header if name != "__metadata__"]
    header[names[random.integers(len(names))]]["dtype"] = ("I32", "U32", "F16", "F64", "X")[
        random.integers(5)
    ]
    return joined(header, tensors)


def nested(content: bytes, random: np.random.Generator) -> bytes:
    header, tensors = split(content)
    depth = 10 ** int(random.integers(2, 6))
    header["__metadata__"]["styleloom"] = "[" * depth + "]" * int(depth * random.random())
    return joined(header, tensors)


WAYS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    cut, flipped, other_header, other_document, other_type, nested,
)  # fmt: skip


def damage(path: Path, seeds: range) -> None:
    write_snapshot(path, build_generator(tiny().generator), tiny(), images_seen=123, data={"name": "x"})
    good = path.read_bytes()
    whole = read_snapshot(path).generator.state_dict()
    for seed in seeds:
        random = np.random.default_rng(seed)
        path.write_bytes(WAYS[seed % len(WAYS)](good, random))
        began = time.process_time()
        message, state = outcome(path)
        if state is None:
            assert message.startswith(f"{path}: "), seed
            assert len(message) < 5000, seed
        else:
            assert all(torch.equal(t, state[name]) for name, t in whole.items()), seed
        if time.process_time() - began > SECONDS:
            pytest.fail(f"seed {seed} takes too long")


def outcome(path: Path) -> tuple[str, dict[str, torch.Tensor] | None]:
    """The message of the error, or the weights."""
    try:
        return "", read_snapshot(path).generator.state_dict()
    except UserError as error:
        return str(error), None


def test_a_sample_of_damage(tmp_path: Path) -> None:
    damage(tmp_path / "x.safetensors", range(120))


@pytest.mark.slow
def test_much_damage(tmp_path: Path) -> None:
    damage(tmp_path / "x.safetensors", range(1000, 7000))
