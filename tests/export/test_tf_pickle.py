"""Pickles of the TensorFlow layout: names, shapes and values are those that the authors' codes expect."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from styleloom.config import Experiment
from styleloom.errors import UserError
from styleloom.export import tf_pickle
from styleloom.export.targets import Options, export
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.snapshot import Snapshot, read_snapshot
from styleloom.weights import stylegan2_tf
from styleloom.weights.tables import convert

from .test_rosinality import full
from .tiny_snapshots import snapshot

GLOBALS = {
    "dnnlib.tflib.network Network",
    "numpy dtype",
    "numpy ndarray",
    "numpy.core.multiarray _reconstruct",
}


class Network:
    """Stands for the authors' class."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    def variables(self) -> dict[str, np.ndarray]:
        """Those of the network and of its components, under the names that they have in its scope."""
        inside = {
            f"{component.state['name']}/{name}": value
            for component in self.state["components"].values()
            for name, value in component.state["variables"]
        }
        return dict(self.state["variables"]) | inside


class Reader(pickle.Unpickler):
    """Knows four names and no others."""

    def find_class(self, module: str, name: str) -> Any:
        assert f"{module} {name}" in GLOBALS
        found = {"Network": Network, "dtype": np.dtype, "ndarray": np.ndarray}
        return found.get(name) or np.empty(0).__reduce__()[0]


def read(path: Path) -> tuple[Network, Network, Network]:
    with open(path, "rb") as file:
        return Reader(file).load()


def tensors(network: Network) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in network.variables().items()}


@pytest.mark.parametrize(
    ("architecture", "d_architecture"), [("skip", "resnet"), ("orig", "skip"), ("resnet", "orig")]
)
def test_another_reader_gets_our_networks(architecture: str, d_architecture: str, tmp_path: Path) -> None:
    kinds = (f"generator.architecture={architecture}", f"discriminator.architecture={d_architecture}")
    given = full(tmp_path, *kinds, "generator.resample_filter=1,2,4,1")
    out = tmp_path / "out.pkl"
    record = export(given, out, "tf-pickle", Options())
    assert record["networks"] == record["from_snapshot"] == ["G", "D", "Gs"]
    networks = read(out)
    assert given.raw is not None
    assert given.discriminator is not None
    for network, ours in zip(networks, (given.raw, given.discriminator, given.generator), strict=True):
        kwargs = network.state["static_kwargs"]
        if ours is given.discriminator:
            cfg = stylegan2_tf.discriminator_config(kwargs)
            found = convert(stylegan2_tf.discriminator_table(cfg), tensors(network), build_discriminator(cfg))
            assert cfg == given.experiment.discriminator
        else:
            cfg = stylegan2_tf.generator_config(kwargs)
            found = convert(stylegan2_tf.generator_table(cfg), tensors(network), build_generator(cfg))
            assert cfg == given.experiment.generator
        assert all(torch.equal(t, found[name]) for name, t in ours.state_dict().items())


def test_our_own_reader_takes_it_for_a_snapshot(tmp_path: Path) -> None:
    """It runs nothing that is in a file, and is told nothing but the path."""
    given = full(tmp_path)
    export(given, tmp_path / "out.pkl", "tf-pickle", Options())
    again = read_snapshot(tmp_path / "out.pkl")
    assert again.experiment.generator == given.experiment.generator
    own = again.generator.state_dict()
    assert all(torch.equal(t, own[name]) for name, t in given.generator.state_dict().items())


def test_the_stream_names_four_classes_and_holds_no_source(tmp_path: Path) -> None:
    export(full(tmp_path), tmp_path / "out.pkl", "tf-pickle", Options())
    content = (tmp_path / "out.pkl").read_bytes()
    operations = list(pickletools.genops(content))
    assert {str(arg) for code, arg, _ in operations if code.name == "GLOBAL"} == GLOBALS
    assert operations[0][1] == 3
    assert len(content) == operations[-1][2] + 1
    assert not {code.name for code, _, _ in operations} & {"STACK_GLOBAL", "INST", "OBJ", "EXT1"}
    sources = {
        network.state["build_module_src"]
        for top in read(tmp_path / "out.pkl")
        for network in (top, *top.state["components"].values())
    }
    assert sources == {tf_pickle.SOURCE}
    compiled = compile(tf_pickle.SOURCE, "source", "exec")
    assert compiled.co_names == ()


GOLDEN = os.environ.get("STYLELOOM_GOLDEN_WEIGHTS")
RECORDED = sorted(Path(GOLDEN).glob("*.json")) if GOLDEN else []


@pytest.mark.skipif(not RECORDED, reason="STYLELOOM_GOLDEN_WEIGHTS names no folder of recorded files")
def test_records_are_those_of_the_authors(tmp_path: Path) -> None:
    """Of every recorded file of this layout: the same keys, components, variables, shapes and types."""
    compared = 0
    for about in map(json.loads, (path.read_text() for path in RECORDED)):
        if about.get("format") != "stylegan2-tf" or about["D_build_func"] != "D_stylegan2":
            continue
        if about["G_static_kwargs"]["label_size"]:
            continue
        cfg = stylegan2_tf.generator_config(about["G_static_kwargs"])
        d = stylegan2_tf.discriminator_config(about["D_static_kwargs"])
        given = Snapshot(build_generator(cfg), Experiment(generator=cfg, discriminator=d), {})
        export(given, tmp_path / "out.pkl", "tf-pickle", Options(), overwrite=True)
        for letter, network in zip("GD", read(tmp_path / "out.pkl"), strict=False):
            found = {n: (list(t.shape), str(t.dtype)) for n, t in network.variables().items()}
            recorded = about["variables"][letter]
            assert found == {n: (t["shape"], t["dtype"]) for n, t in recorded.items()}, about["file"]
            assert network.state["build_func_name"] == about[f"{letter}_build_func"]
            for name, component in network.state["components"].items():
                theirs = about["components"][name]
                assert list(component.state) == list(theirs)
                for key in ("version", "name", "build_func_name"):
                    assert component.state[key] == theirs[key]
        compared += 1
    assert compared


def test_what_the_snapshot_does_not_keep_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = snapshot(tmp_path, "stylegan2-f")
    record = export(given, tmp_path / "out.pkl", "tf-pickle", Options())
    assert record["from_snapshot"] == ["Gs"]
    assert "no generator in training: the average is written" in caplog.text
    assert "no discriminator: an untrained one is written" in caplog.text
    g, _, gs = read(tmp_path / "out.pkl")
    assert all(np.array_equal(value, gs.variables()[name]) for name, value in g.variables().items())


def test_what_the_layout_cannot_say_is_refused_by_name(tmp_path: Path) -> None:
    facts = [
        (
            "stylegan2-d",
            (),
            "generator.architecture is 'growing', the format has 'orig' or 'resnet' or 'skip'",
        ),
        ("stylegan2-f", ("label_dim=2",), "generator.label_dim is 2"),
        ("stylegan2-f", ("grid=3,4",), r"generator.grid is \(3, 4\)"),
        ("stylegan2-f", ("generator.clamp=256",), r"generator.clamp is 256"),
        ("stylegan2-f", ("generator.normalization=explicit",), "generator.normalization is 'explicit'"),
        ("stylegan2-f", ("discriminator.features.min=2",), "discriminator.features.min is 2"),
        ("progan", (), "family 'progan'"),
    ]
    for preset, overrides, message in facts:
        with pytest.raises(UserError, match=message):
            export(snapshot(tmp_path, preset, *overrides), tmp_path / "no.pkl", "tf-pickle", Options())
        assert not (tmp_path / "no.pkl").exists()
