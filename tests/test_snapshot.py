"""Snapshots come back as they were, and everything that is none is refused in one message."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

import styleloom
from styleloom.config import from_json
from styleloom.errors import UserError
from styleloom.networks.build import build_generator
from styleloom.snapshot import FORMAT, VERSION, load, load_weights, read_tensors, save, write_tensors
from tiny import tiny

SOURCE = Path(styleloom.__file__).parent


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("snapshot") / "good.safetensors"
    generator = build_generator(tiny().generator)
    with torch.no_grad():
        generator.w_avg.normal_()
    save(path, generator, tiny(), images_seen=123, data={"name": "x"}, swd=1.25)
    return path


def changed(good: Path, dest: Path, **fields: Any) -> Path:
    """The same weights with other metadata."""
    tensors, document = read_tensors(good, FORMAT)
    document = {k: v for k, v in {**document, **fields}.items() if v is not ...}
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
    save(tmp_path / "x.safetensors", generator, experiment, images_seen=5, data={"name": "x"})
    snapshot = load(tmp_path / "x.safetensors")
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


def one_error(path: Path) -> str:
    """The message of the UserError that loading raises, which names the file."""
    with pytest.raises(UserError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_absent(tmp_path: Path) -> None:
    assert "there is no such file; expected a styleloom-snapshot" in one_error(tmp_path / "no.safetensors")
    assert "no such file" in one_error(tmp_path)  # a folder


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


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"PK\x03\x04" + b"x" * 100, "damaged"),  # torch.save
        (b"\x80\x02}q\x00." * 20, "damaged"),  # pickle
        (b"\x89PNG\r\n\x1a\n" + b"x" * 100, "damaged"),
    ],
)
def test_other_formats(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert word in one_error(path)


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
    assert "not a styleloom-snapshot (found: styleloom-state)" in one_error(path)


@pytest.mark.parametrize("version", [VERSION + 1, "2", None, ...])
def test_another_version(version: Any, good: Path, tmp_path: Path) -> None:
    assert "written by a newer styleloom" in one_error(changed(good, tmp_path / "x", version=version))


@pytest.mark.parametrize("experiment", [..., None, 3, [], {"nmae": "x"}, {"batch": {"base": -1}}])
def test_an_experiment_that_cannot_be_read(experiment: Any, good: Path, tmp_path: Path) -> None:
    path = changed(good, tmp_path / "x.safetensors", experiment=experiment)
    assert "its experiment cannot be read" in one_error(path)


def test_weights_of_another_network(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for other in ("generator.features.max=16", "resolution=16", "label_dim=2", "generator.w_dim=8"):
        save(path, build_generator(tiny(other).generator), tiny())
        message = one_error(path)
        assert "weights of another network: " in message
        assert len(message) < 1000
    save(path, build_generator(tiny("generator.features.max=16").generator), tiny())
    assert re.search(r"weight is \(16, 16, 3, 3\), expected \(8, 8, 3, 3\)", one_error(path))


def test_refused_weights_leave_the_network_as_it_was() -> None:
    network = torch.nn.Linear(2, 3)
    before = [p.clone() for p in network.parameters()]
    with pytest.raises(UserError, match=r"x: weights of another network: missing bias; unexpected bais"):
        load_weights(network, {"weight": torch.zeros(3, 2), "bais": torch.zeros(3)}, "x")
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """safetensors reports it in its own way."""
    resource = pytest.importorskip("resource")
    path, generator = tmp_path / "x.safetensors", build_generator(tiny().generator)
    save(path, generator, tiny(), number=1)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(UserError, match=rf"cannot write {path}: .*File too large"):
            save(path, generator, tiny(), number=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_nowhere_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"cannot write .*file/x\.safetensors: "):
        save(tmp_path / "file" / "x.safetensors", build_generator(tiny().generator), tiny())


@pytest.mark.parametrize(
    "word", ["torch.load", "torch.save", "import pickle", "import dill", "eval(", "exec("]
)
def test_the_source_never_unpickles(word: str) -> None:
    """One place reads files that other people pickled, as tensors alone, after verifying their hash."""
    pattern = re.compile(rf"(?<![\w.]){re.escape(word)}")
    for path in SOURCE.rglob("*.py"):
        lines = [line for line in path.read_text().splitlines() if not line.strip().startswith("#")]
        if path == SOURCE / "metrics" / "weights.py":
            lines = [line for line in lines if "weights_only=True)" not in line]
        assert not any(pattern.search(line) for line in lines), f"{path}: {word}"
