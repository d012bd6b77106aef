"""Snapshots come back as they were, and everything that is none is refused in one message."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

import styleloom
from styleloom import file_kinds
from styleloom.config import from_json
from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.snapshot import FORMAT, Snapshot, load_weights, read_snapshot, write_snapshot
from styleloom.tensor_file import VERSION, read_tensors, write_tensors
from tiny import tiny

SOURCE = Path(styleloom.__file__).parent


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("snapshot") / "good.safetensors"
    generator = build_generator(tiny().generator)
    with torch.no_grad():
        generator.w_avg.normal_()
    write_snapshot(path, generator, tiny(), images_seen=123, data={"name": "x"}, swd=1.25)
    return path


def changed(good: Path, dest: Path, **fields: Any) -> Path:
    """The same weights with other metadata, in a file of version 1, which needs no checksum."""
    tensors, document = read_tensors(good, FORMAT)
    document = {k: v for k, v in {**document, "version": 1, **fields}.items() if v is not ...}
    save_file(tensors, dest, {"styleloom": json.dumps(document)})
    return dest


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["label_dim=3"],
        ["channels=1"],
        ["channels=4", "resolution=16"],
        ["generator.architecture=resnet"],
        ["generator.mapping.labels=embed", "label_dim=2"],
    ],
)
def test_round_trip(overrides: list[str], tmp_path: Path) -> None:
    experiment = tiny(*overrides)
    generator = build_generator(experiment.generator)
    with torch.no_grad():
        for t in generator.state_dict().values():
            t.normal_()
    write_snapshot(tmp_path / "x.safetensors", generator, experiment, images_seen=5, data={"name": "x"})
    snapshot = read_snapshot(tmp_path / "x.safetensors")
    assert snapshot.experiment == experiment
    assert snapshot.info == {"images_seen": 5, "data": {"name": "x"}}
    state = snapshot.generator.state_dict()
    assert state.keys() == generator.state_dict().keys()
    assert all(torch.equal(t, state[name]) for name, t in generator.state_dict().items())
    assert not snapshot.generator.training
    assert not any(p.requires_grad for p in snapshot.generator.parameters())
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_the_metadata_is_json(good: Path) -> None:
    with safe_open(str(good), framework="pt") as file:  # type: ignore[no-untyped-call]
        metadata = file.metadata()
    assert list(metadata) == ["styleloom"]
    document = json.loads(metadata["styleloom"])
    assert document["format"] == FORMAT
    assert document["version"] == VERSION
    assert from_json(document["experiment"]) == tiny()
    assert document["info"]["images_seen"] == 123


def same(a: Snapshot, b: Snapshot) -> None:
    """Equal in all that they say and hold."""
    assert (a.experiment, a.info) == (b.experiment, b.info)
    ours, theirs = a.generator.state_dict(), b.generator.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(t, theirs[name]) for name, t in ours.items())


def one_error(path: Path) -> str:
    """The message of the UserError that loading raises, which names the file."""
    with pytest.raises(UserError) as caught:
        read_snapshot(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_absent(tmp_path: Path) -> None:
    assert "there is no such file; expected a styleloom-snapshot" in one_error(tmp_path / "no.safetensors")
    assert "is a folder" in one_error(tmp_path)
    assert "cannot be read (" in one_error(tmp_path / ("x" * 300 + ".safetensors"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "no regular file" in one_error(tmp_path / "pipe")


def test_permission_denied(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in for `open`: the super-user may read everything."""

    def refuse(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(file_kinds, "open", refuse, raising=False)
    assert "permission denied" in one_error(good)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_half_written(share: float, good: Path, tmp_path: Path) -> None:
    content = good.read_bytes()
    path = tmp_path / "half.safetensors"
    path.write_bytes(content[: int(len(content) * share)])
    assert "damaged or half-written" in one_error(path)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 100])
def test_cut_in_the_header_or_by_one_byte(length: int, good: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    path.write_bytes(good.read_bytes()[:length])
    assert "damaged or half-written" in one_error(path)
    path.write_bytes(good.read_bytes()[:-1])
    assert "damaged or half-written" in one_error(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), long_header=st.booleans())
def test_random_bytes(content: bytes, long_header: bool, tmp_path: Path) -> None:
    path = tmp_path / "random.safetensors"
    header = len(content).to_bytes(8, "little") if long_header else b""
    path.write_bytes(header + content)
    one_error(path)


def test_other_formats_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    torch_file, legacy = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.zeros(2)}, torch_file)  # the test writes what users have
    torch.save({"a": torch.zeros(2)}, legacy, _use_new_zipfile_serialization=False)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("a.png", "x")
    for content, words in {
        torch_file.getvalue(): "PyTorch, zip, but there are no networks of ProGAN",
        legacy.getvalue(): "PyTorch, legacy, but there are no networks of ProGAN",
        pickle.dumps({"G": [1, 2]}): "pickle, protocol 4, but there are no networks of ProGAN",
        plain.getvalue(): "a zip archive",
        b"\x89HDF\r\n\x1a\n" + bytes(100): "an HDF5 file",
        b"\x08\x07\x12\x07pytorch" + b"x" * 100: "an ONNX file",
        picture.getvalue(): "a PNG image",
        b"<!DOCTYPE html><html>404": "a web page",
        b"version https://git-lfs.github.com/spec/v1": "a pointer of Git LFS",
        bytes(1000): "a file of zeros",
    }.items():
        path.write_bytes(content)
        message = one_error(path)
        assert words in message
        assert "damaged" not in message


def test_other_safetensors(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    assert "not a styleloom-snapshot (found: no styleloom metadata)" in one_error(path)
    for metadata in ("[]", "3", '"x"', "null"):
        save_file({"a": torch.zeros(2)}, path, {"styleloom": metadata})
        assert "not a styleloom-snapshot" in one_error(path)
    save_file({"a": torch.zeros(2)}, path, {"styleloom": "{"})
    assert "damaged" in one_error(path)
    write_tensors(path, {"a": torch.zeros(2)}, {"format": "styleloom-state", "version": 1})
    assert "not a styleloom-snapshot (found: 'styleloom-state')" in one_error(path)


def test_another_version(good: Path, tmp_path: Path) -> None:
    for version in (VERSION + 1, 10**4000):
        assert "written by a newer styleloom" in one_error(changed(good, tmp_path / "x", version=version))
    for version in ("1", "2", None, ..., True, 1.0, 0, -1, [1]):
        assert "damaged, its version is " in one_error(changed(good, tmp_path / "x", version=version))


def test_wrong_types_anywhere_in_the_header(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    own = json.loads(json.dumps(read_tensors(good, FORMAT)[1]["experiment"]))
    wrong: list[Any] = [..., None, 3, [], {"nmae": "x"}, {"batch": {"base": -1}}, "\x1b[2J" * 10**5]
    for name in own:
        wrong += [{**own, name: value} for value in ({}, [[]], "\x1b", True, -(2**70), 1e308)]
    for experiment in wrong:
        if experiment not in ({**own, "name": "\x1b"}, {**own, "source": "\x1b"}):
            with contextlib.suppress(UserError):
                read_snapshot(changed(good, path, experiment=experiment))
    for experiment in wrong[:7]:
        message = one_error(changed(good, path, experiment=experiment))
        assert "its experiment cannot be read" in message
        assert len(message) < 1000
    for info in (None, 3, [], "x", {"images_seen": "x"}, {"images_seen": -1}, {"images_seen": True}):
        assert "damaged, its i" in one_error(changed(good, path, info=info))
    tensors, _ = read_tensors(good, FORMAT)
    deep = "[" * 100_000
    save_file(tensors, path, {"styleloom": deep})
    assert "nested too deeply" in one_error(path)
    save_file(tensors, path, {"styleloom": '{"format": ' + deep[:900] + "]" * 900 + "}"})
    assert "not a styleloom-snapshot" in one_error(path)


def test_what_a_header_claims_is_compared_before_anything_is_built(good: Path, tmp_path: Path) -> None:
    """Networks of terabytes, and of more layers than can be counted, against the weights of a small one."""
    path = tmp_path / "x.safetensors"
    own = read_tensors(good, FORMAT)[1]["experiment"]
    for part in (
        {"resolution": 2**16},
        {"resolution": 2**2000},
        {"channels": 10**12},
        {"w_dim": 2**40},
        {"z_dim": 2**63 - 1},
        {"label_dim": 10**15},
        {"mapping": {**own["generator"]["mapping"], "layers": 10**15}},
        {"mapping": {**own["generator"]["mapping"], "width": 2**50}},
        {"features": {"base": 2**62, "max": 2**62, "min": 2**62, "decay": 0.0}},
        {"features": {"base": 8, "max": 8, "min": 1, "decay": 1e300}},
    ):
        shared = {name: part[name] for name in ("resolution", "channels", "label_dim") if name in part}
        experiment = {
            **own,
            "generator": {**own["generator"], **part},
            "discriminator": {**own["discriminator"], **shared},
        }
        message = one_error(changed(good, path, experiment=experiment))
        assert (
            "weights of another network" in message
            or "cannot be built" in message
            or "is not valid" in message
        ), part


def test_every_flipped_byte_is_noticed(good: Path, tmp_path: Path) -> None:
    """Also those that leave a valid header and plausible numbers."""
    path, content = tmp_path / "x.safetensors", good.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    seen = content.index(b"images_seen") + len(b"images_seen") + 5  # the 2 of 123
    assert content[seen - 1 : seen + 2] == b"123"
    random = np.random.default_rng(0)
    at_random = [
        int(i) for i in (*random.integers(0, header, 40), *random.integers(header, len(content), 40))
    ]
    for position in (header, len(content) - 1, seen, *at_random):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):
            same(read_snapshot(path), read_snapshot(good))  # padding of the header
    word = content.index(b"sha256")  # by which the checksum is found
    for position in (header, len(content) - 1, seen, word):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert "checksum" in one_error(path)


def test_files_from_before_checksums_load(good: Path, tmp_path: Path) -> None:
    assert "sha256" not in read_tensors(good, FORMAT)[1]
    path = changed(good, tmp_path / "x.safetensors")
    with safe_open(str(path), framework="pt") as file:  # type: ignore[no-untyped-call]
        assert "sha256" not in json.loads(file.metadata()["styleloom"])
    same(read_snapshot(path), read_snapshot(good))
    assert "its checksum is missing" in one_error(changed(good, path, version=2))


def test_weights_of_another_type_and_weights_that_are_no_numbers(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors, document = read_tensors(good, FORMAT)
    name = "synthesis_network.const"
    for dtype, word in ((torch.float64, "F64"), (torch.bfloat16, "BF16"), (torch.int32, "I32")):
        write_tensors(path, {**tensors, name: tensors[name].to(dtype)}, document)
        assert f"{name} is of type {word}, expected F32" in one_error(path)
    for value in (float("nan"), float("inf"), -float("inf")):
        bad = tensors[name].clone()
        bad.view(-1)[3] = value
        write_tensors(path, {**tensors, name: bad}, document)
        assert f"1 of {len(tensors)} weights hold NaN or infinite numbers, first '{name}'" in one_error(path)
    large = {**tensors, name: torch.full_like(tensors[name], 3e38)}  # finite, though their sum is not
    write_tensors(path, large, document)
    assert torch.equal(read_snapshot(path).generator.state_dict()[name], large[name])


def test_loading_leaves_the_global_generator_alone(good: Path) -> None:
    before = torch.get_rng_state()
    read_snapshot(good)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_of_another_network(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for other in ("generator.features.max=16", "resolution=16", "label_dim=2", "generator.w_dim=8"):
        write_snapshot(path, build_generator(tiny(other).generator), tiny())
        message = one_error(path)
        assert "weights of another network: " in message
        assert len(message) < 1000
    write_snapshot(path, build_generator(tiny("generator.features.max=16").generator), tiny())
    assert re.search(r"weight is \(16, 16, 3, 3\), expected \(8, 8, 3, 3\)", one_error(path))


def test_refused_weights_leave_the_network_as_it_was() -> None:
    network = torch.nn.Linear(2, 3)
    before = [p.clone() for p in network.parameters()]
    with pytest.raises(UserError, match=r"x: weights of another network: missing bias; unexpected 'bais'"):
        load_weights(network, {"weight": torch.zeros(3, 2), "bais": torch.zeros(3)}, "x")
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """safetensors reports it in its own way."""
    resource = pytest.importorskip("resource")
    path, generator = tmp_path / "x.safetensors", build_generator(tiny().generator)
    write_snapshot(path, generator, tiny(), number=1)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(UserError, match=rf"cannot write {path}: .*File too large"):
            write_snapshot(path, generator, tiny(), number=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_nowhere_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"cannot write .*file/x\.safetensors: "):
        write_snapshot(tmp_path / "file" / "x.safetensors", build_generator(tiny().generator), tiny())


@pytest.mark.parametrize(
    "word", ["torch.load", "torch.save", "import pickle", "import dill", "eval(", "exec("]
)
def test_the_source_never_unpickles(word: str) -> None:
    """One place reads files that other people pickled, as tensors alone, after verifying their hash."""
    pattern = re.compile(rf"(?<![\w.]){re.escape(word)}")
    for path in SOURCE.rglob("*.py"):
        lines = [line for line in path.read_text().splitlines() if not line.strip().startswith("#")]
        if path == SOURCE / "cli" / "signals.py":
            lines = [line for line in lines if 'exec("")' not in line]  # executes nothing
        if path == SOURCE / "export" / "rosinality.py":  # writes tensors for others, and reads nothing
            lines = [line for line in lines if "torch.save(content, out)" not in line]
        if path == SOURCE / "data" / "workers.py":  # what it reads, processes that it started have written
            lines = [line for line in lines if not re.search(r"import pickle|pickle\.load", line)]
        if path == SOURCE / "features" / "weights.py":
            lines = [line for line in lines if "weights_only=True)" not in line]
        assert not any(pattern.search(line) for line in lines), f"{path}: {word}"


def test_a_snapshot_may_hold_the_networks_in_training(tmp_path: Path) -> None:
    experiment = tiny()
    average, raw = build_generator(experiment.generator), build_generator(experiment.generator)
    d = build_discriminator(experiment.discriminator)
    write_snapshot(tmp_path / "x.safetensors", average, experiment, raw, d, images_seen=5)
    found = read_snapshot(tmp_path / "x.safetensors")
    assert found.raw is not None
    assert found.discriminator is not None
    for network, was in ((found.generator, average), (found.raw, raw), (found.discriminator, d)):
        assert network.state_dict().keys() == was.state_dict().keys()
        assert all(torch.equal(t, was.state_dict()[name]) for name, t in network.state_dict().items())
    write_snapshot(tmp_path / "y.safetensors", average, experiment, **{"raw": 1, "path": 2})
    assert read_snapshot(tmp_path / "y.safetensors").info == {"raw": 1, "path": 2}
    assert read_snapshot(tmp_path / "y.safetensors").raw is None
    write_snapshot(tmp_path / "z.safetensors", average, experiment, raw.mapping_network, d)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"z\.safetensors: weights of another network: missing"):
        read_snapshot(tmp_path / "z.safetensors")
