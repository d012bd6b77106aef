"""Files of every format, written here, are read as the tables of names say, and nothing in them runs."""

from __future__ import annotations

import gzip
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import styleloom
from every import every
from styleloom.cli import main
from styleloom.errors import UserError
from styleloom.foreign.reading import read_foreign, take_discriminator
from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.ops.upfirdn import fir_kernel
from styleloom.runs.initial import read_networks
from styleloom.snapshot import read_snapshot
from styleloom.weights import (
    bmsg,
    msg_tf,
    progan_tf,
    rosinality,
    stylegan2_ada,
    stylegan2_ada_tf,
    stylegan2_tf,
    stylegan_tf,
)
from styleloom.weights.tables import Table, convert

from .written import codes, persistent_module, pickled, tensorflow_network, variables

__all__ = ["codes"]  # a fixture

TF = {"num_channels": 3, "resolution": 16, "fmap_base": 64, "fmap_max": 8}
TF_G = {**TF, "latent_size": 6, "dlatent_size": 7, "mapping_fmaps": 5, "mapping_layers": 2}


def same_weights(ours: StyleGenerator, table: Table, found: Mapping[str, Tensor]) -> None:
    """Assert that the generator has the weights that the table makes of `found`."""
    expected = convert(table, found, ours)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@every(
    ("source", "function", "version", "kwargs", "state"),
    [
        (progan_tf, "G_paper", 2, {**TF, "latent_size": 6, "label_size": 2}, {}),
        (stylegan_tf, "G_style", 3, TF_G, {}),
        (msg_tf, "G_style", 3, {**TF_G, "label_size": 3}, {"num_inputs": 2}),
        (stylegan2_tf, "G_main", 4, {**TF_G, "synthesis_func": "G_synthesis_stylegan2"}, {}),
        (stylegan2_tf, "G_main", 4, {**TF_G, "synthesis_func": "G_synthesis_stylegan_revised"}, {}),
        (stylegan2_ada_tf, "G_main", 5, {**TF_G, "label_size": 2, "num_fp16_res": 4, "conv_clamp": 256}, {}),
    ],
)
def test_tensorflow(
    source: ModuleType,
    function: str,
    version: int,
    kwargs: dict[str, Any],
    state: dict[str, Any],
    codes: dict[str, Any],
    tmp_path: Path,
) -> None:
    config = source.generator_config(kwargs)
    table = source.generator_table(config)
    found = variables(table, build_generator(config))
    case = {"kwargs": kwargs, "variables": found, "state": state}
    network = tensorflow_network(codes, function, version, case)
    for protocol, suffix in ((2, "a"), (4, "b"), (5, "c")):
        path = pickled(network, tmp_path / f"{suffix}.pkl", protocol)
        snapshot = read_snapshot(path)
        assert snapshot.experiment.generator == config
        same_weights(snapshot.generator, table, found)
    assert snapshot.info["origin"]["licence"]


def test_growth_follows_the_level_of_detail(codes: dict[str, Any], tmp_path: Path) -> None:
    config = stylegan_tf.generator_config(TF_G)
    found = variables(stylegan_tf.generator_table(config), build_generator(config))
    found["lod"] = torch.tensor(0.75)
    network = tensorflow_network(codes, "G_style", 3, {"kwargs": TF_G, "variables": found})
    growth = read_snapshot(pickled(network, tmp_path / "growing.pkl")).growth
    assert growth is not None
    assert growth.level == 2
    assert growth.alpha == pytest.approx(0.25)


ADA_G = {"z_dim": 6, "c_dim": 2, "w_dim": 7, "img_resolution": 16, "img_channels": 4}
SYNTHESIS = {"channel_base": 128, "channel_max": 8, "num_fp16_res": 2, "conv_clamp": 256}


@pytest.fixture
def ada(codes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor], Any]:
    """Settings, variables and module of a generator."""
    kwargs = {**ADA_G, "mapping_kwargs": {"num_layers": 3}, "synthesis_kwargs": SYNTHESIS}
    config = stylegan2_ada.generator_config(kwargs)
    found = variables(stylegan2_ada.generator_table(config), build_generator(config))
    found["synthesis.b8.resample_filter"] = fir_kernel(config.resample_filter)
    return kwargs, found, persistent_module(codes, found, "Generator", _init_kwargs=kwargs, _init_args=())


def test_persistent_modules(ada: tuple[dict[str, Any], dict[str, Tensor], Any], tmp_path: Path) -> None:
    kwargs, found, module = ada
    config = stylegan2_ada.generator_config(kwargs)
    for protocol in range(6):
        content = {"training_set_kwargs": {"path": "x"}, "G": None, "D": None, "G_ema": module}
        snapshot = read_snapshot(pickled(content, tmp_path / f"{protocol}.pkl", protocol))
        assert snapshot.experiment.generator == config
        same_weights(snapshot.generator, stylegan2_ada.generator_table(config), found)
    zipped = pickled({"G_ema": module}, tmp_path / "zipped.pkl", around=gzip.compress)
    image = styleloom.load(zipped, device="cpu").generate([0], truncation=0.5, classes=1)
    assert image.shape == (1, 4, 16, 16)


def test_widths_depths_precisions_and_architectures(codes: dict[str, Any], tmp_path: Path) -> None:
    """Whatever is recorded there counts, and weights may be stored as any floats."""
    changes: list[tuple[dict[str, Any], dict[str, Any], torch.dtype]] = [
        ({"img_resolution": 64, "c_dim": 0}, {"channel_base": 256, "channel_max": 32}, torch.float32),
        (
            {"z_dim": 3, "w_dim": 16, "img_channels": 1},
            {"num_fp16_res": 0, "conv_clamp": None},
            torch.float64,
        ),
        ({"img_resolution": 8, "c_dim": 7}, {"architecture": "resnet"}, torch.float16),
        ({"img_channels": 3}, {"architecture": "orig", "resample_filter": [1, 2, 4, 1]}, torch.bfloat16),
        ({"img_channels": 2}, {"activation": "relu"}, torch.float32),
    ]
    for depth, (own, synthesis, kind) in enumerate(changes, 1):
        kwargs = {**ADA_G, **own, "mapping_kwargs": {"num_layers": depth}}
        kwargs["synthesis_kwargs"] = {**SYNTHESIS, **synthesis}
        config = stylegan2_ada.generator_config(kwargs)
        table = stylegan2_ada.generator_table(config)
        found = {name: t.to(kind) for name, t in variables(table, build_generator(config)).items()}
        module = persistent_module(codes, found, "Generator", _init_kwargs=kwargs)
        snapshot = read_snapshot(pickled({"G_ema": module}, tmp_path / f"{depth}.pkl"))
        assert snapshot.experiment.generator == config
        same_weights(snapshot.generator, table, {name: t.float() for name, t in found.items()})


def test_without_an_average_the_generator_in_training_is_taken(
    ada: tuple[dict[str, Any], dict[str, Tensor], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, found, module = ada
    for content in ({"G": module, "D": None, "G_ema": None}, {"G": module}):
        snapshot = read_snapshot(pickled(content, tmp_path / "x.pkl"))
        assert snapshot.info["origin"]["network"] == "G"
        same_weights(snapshot.generator, stylegan2_ada.generator_table(snapshot.experiment.generator), found)  # type: ignore[arg-type]
        assert "has no average of the generator: the one in training is taken" in caplog.text
        caplog.clear()


def test_rectangles(codes: dict[str, Any], tmp_path: Path) -> None:
    from dataclasses import replace

    kwargs = {**ADA_G, "c_dim": 0, "synthesis_kwargs": SYNTHESIS}
    config = replace(stylegan2_ada.generator_config(kwargs), grid=(2, 5))
    found = variables(stylegan2_ada.generator_table(config), build_generator(config))
    init = {**kwargs, "init_res": [2, 5]}
    module = persistent_module(codes, found, "Generator", _init_kwargs=init)
    snapshot = read_snapshot(pickled({"G_ema": module}, tmp_path / "wide.pkl"))
    assert snapshot.experiment.generator.size == (8, 20)


@every(("legacy", "training"), [(False, True), (False, False), (True, True), (True, False)])
def test_rosinality(legacy: bool, training: bool, tmp_path: Path) -> None:
    config = stylegan2_tf.generator_config({**TF, "latent_size": 6, "dlatent_size": 6, "mapping_fmaps": 6})
    table = rosinality.generator_table(config)
    g = variables(table, build_generator(config))
    average = g.pop("latent_avg")
    cfg_d = stylegan2_tf.discriminator_config(TF)
    table_d = rosinality.discriminator_table(cfg_d)
    d = variables(table_d, build_discriminator(cfg_d))
    kernel = fir_kernel(cfg_d.resample_filter)
    content: dict[str, Any] = {"g_ema": {**g, "convs.0.conv.blur.kernel": kernel * 4}}
    d_kernel = {"convs.1.conv2.0.kernel": kernel}
    content |= {"g": g, "d": d | d_kernel, "g_optim": {}} if training else {"latent_avg": average[None]}
    path = tmp_path / f"{legacy}{training}.pt"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    file = read_foreign(path)
    snapshot = read_networks(path)
    used = average if not training else snapshot.generator.w_avg.clone()
    assert used.abs().max() > 0
    same_weights(snapshot.generator, table, {**g, "latent_avg": used})
    assert (snapshot.raw is not None) == (snapshot.discriminator is not None) == training
    if training:
        expected = convert(table_d, d, take_discriminator(file))
        for name, tensor in take_discriminator(file).state_dict().items():
            assert torch.equal(tensor, expected[name])


@every(("prefix", "scale"), [("", 1.0), ("module.", 1.0), ("", 0.05)])
def test_bmsg(prefix: str, scale: float, tmp_path: Path) -> None:
    config = bmsg.generator_config({"depth": 3, "latent_size": 16})
    equalized = scale == 1
    table = bmsg.generator_table(config, equalized)
    found = {name: value * scale for name, value in variables(table, build_generator(config)).items()}
    path = tmp_path / f"GAN_GEN{prefix}{scale}.pth"
    torch.save({prefix + name: value for name, value in found.items()}, path)
    snapshot = read_snapshot(path)
    assert snapshot.experiment.generator == config
    same_weights(snapshot.generator, table, found)


def test_what_does_not_fit_is_named(
    ada: tuple[dict[str, Any], dict[str, Tensor], Any], codes: Any, tmp_path: Path
) -> None:
    kwargs, found, _ = ada
    less = {name: value for name, value in found.items() if name != "synthesis.b8.conv1.noise_const"}
    more = found | {"synthesis.b8.surprise": torch.zeros(1)}
    wrong = found | {"mapping.w_avg": torch.zeros(3)}
    broken = found | {"mapping.w_avg": torch.full((7,), float("nan"))}
    for given, words in (
        (less, r"synthesis\.b8\.conv1\.noise_const"),
        (more, r"synthesis\.b8\.surprise"),
        (wrong, r"mapping\.w_avg has the shape \[3\]"),
        (broken, "NaN"),
    ):
        module = persistent_module(codes, given, "Generator", _init_kwargs=kwargs)
        path = pickled({"G_ema": module}, tmp_path / "x.pkl")
        with pytest.raises(UserError, match=words):
            read_snapshot(path)
    for change, words in (({"class_name": "Mystery"}, "Mystery"), ({"version": 999}, "version 999")):
        module = persistent_module(codes, found, "Generator", _init_kwargs=kwargs)
        module.meta |= change
        with pytest.raises(UserError, match=words):
            read_snapshot(pickled({"G_ema": module}, tmp_path / "x.pkl"))


def test_inspect(
    ada: tuple[dict[str, Any], dict[str, Tensor], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    path = pickled({"G_ema": ada[2]}, tmp_path / "ada.pkl")
    assert main(["inspect", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["format"] == "stylegan2-ada-pytorch"
    assert told["read"]
    assert (told["height"], told["width"], told["channels"], told["labels"]) == (16, 16, 4, 2)
    assert told["mapping_layers"] == 3
    assert "torch.storage._load_from_bytes" in told["unpickling"]["calls"]
    assert told["unpickling"]["source_texts"] == 1
    assert main(["inspect", str(path)]) == 0
    assert "is read        yes" in capsys.readouterr().out
    own = told["networks"]["G_ema"]
    assert own["read"]
    assert own["parameters"] < own["numbers"]
    assert main(["inspect", "portraits-64", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["format"] == "styleloom-snapshot"
    assert told["networks"]["G_ema"]["parameters"] > 1e5
    name = "x\nis read        no\x1b[31m.pkl"
    shutil.copy(path, tmp_path / name)
    assert main(["inspect", str(tmp_path / name)]) == 0
    assert not [line for line in capsys.readouterr().out.splitlines() if line.startswith("is read        no")]


def test_inspect_tells_of_every_network(
    ada: tuple[dict[str, Any], dict[str, Tensor], Any],
    codes: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A network that is not read is told beside one that is; a discriminator alone is of a known kind."""
    import json

    kwargs, found, module = ada
    broken = found | {"mapping.w_avg": torch.full((7,), float("nan"))}
    bad = persistent_module(codes, broken, "Generator", _init_kwargs=kwargs)
    path = pickled({"G": bad, "G_ema": module}, tmp_path / "a.pkl")
    assert main(["inspect", str(path), "--json"]) == 0
    networks = json.loads(capsys.readouterr().out)["networks"]
    assert networks["G_ema"]["read"]
    assert "NaN" in networks["G"]["reason"]
    assert main(["inspect", str(path)]) == 0
    assert "is not read: " in capsys.readouterr().out
    assert main(["inspect", str(pickled({"G_ema": bad}, tmp_path / "b.pkl"))]) == 2
    assert "NaN" in capsys.readouterr().err
    few = {
        "final_block.conv_1.weight": torch.ones(4, 5, 3, 3),
        "layers.0.conv_1.weight": torch.ones(4, 4, 3, 3),
    }
    torch.save(few, tmp_path / "GAN_DIS_1.pth")
    assert main(["inspect", str(tmp_path / "GAN_DIS_1.pth")]) == 0
    assert "a discriminator alone" in capsys.readouterr().out
    assert main(["generate", str(tmp_path / "GAN_DIS_1.pth"), "--seeds", "0", "--out", str(tmp_path)]) == 2
    assert "only D; name the file that holds the generator" in capsys.readouterr().err


def test_verbs_that_take_snapshots_take_files_of_other_codes(
    ada: tuple[dict[str, Any], dict[str, Tensor], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`evaluate` takes images as well, and tells weights by name."""
    monkeypatch.chdir(tmp_path)
    pickled({"G_ema": ada[2]}, tmp_path / "ada.pkl")
    for words in (
        ["generate", "ada.pkl", "--seeds", "0", "--classes", "1", "--out", "a.png", "--grid", "1x1"],
        ["mix", "ada.pkl", "--rows", "0", "--columns", "1", "--classes", "1", "--out", "m.png"],
        ["directions", "ada.pkl", "--samples", "100", "--classes", "1", "--out", "x.directions.safetensors"],
    ):
        assert main([*words, "--device", "cpu"]) == 0, f"{words}: {capsys.readouterr().err}"
    assert main(["evaluate", "ada.pkl", "--metrics", "resolution_usage8", "--device", "cpu"]) == 2
    assert "this generator needs them" in capsys.readouterr().err  # labels
    assert main(["evaluate", "portraits", "--data", "ada.pkl", "--metrics", "swd16"]) == 2
    assert "--data: ada.pkl is a snapshot" in capsys.readouterr().err


class _Harmless:
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return print, ("ran",)


def test_names_that_no_weights_need(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, content in enumerate(({"G_ema": _Harmless()}, [1, _Harmless()], np.array([_Harmless()]))):
        path = pickled(content, tmp_path / f"{number}.pkl")
        with pytest.raises(UserError, match=r"'builtins\.print', which no weights need|type 'O8'"):
            read_foreign(path)
    assert capsys.readouterr().out == ""
    path = tmp_path / "two.pkl"
    path.write_bytes(pickle.dumps({"a": 1}) + pickle.dumps(_Harmless()))
    with pytest.raises(UserError, match="bytes follow the end"):
        read_foreign(path)
