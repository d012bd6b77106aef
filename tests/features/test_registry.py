"""The table of networks: every entry builds, loads and says what it is; others can join."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from styleloom.errors import UserError
from styleloom.features import registry
from styleloom.features.inception import ConvUnit, InceptionV3
from styleloom.features.registry import NETWORKS, NetworkEntry, load_distance, load_network, register
from styleloom.features.vgg import WIDTHS
from styleloom.features.weights import EFFICIENTNET_LITE0, INCEPTION_2015, LPIPS_VGG, VGG16, WeightFile
from styleloom.types import FeatureNetwork, PerceptualDistance


def constant(shape: Sequence[int], value: float = 0.01) -> Tensor:
    """A tensor of one number, which takes no memory and no room in a file."""
    return torch.tensor(value).expand(tuple(shape))


def inception_state() -> dict[str, Tensor]:
    with torch.device("meta"):
        network = InceptionV3()
    state = {f"fc.{name}": constant(p.shape) for name, p in network.fc.named_parameters()}
    for name, unit in network.named_modules():
        if isinstance(unit, ConvUnit):
            state[f"{name}.conv.weight"] = constant(unit.weight.shape)
            for part in ("weight", "bias", "running_mean", "running_var"):
                state[f"{name}.bn.{part}"] = constant(unit.weight.shape[:1])
    return state


def vgg_state() -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    number, channels = 0, 3
    for stage in WIDTHS:
        for width in stage:
            state[f"features.{number}.weight"] = constant((width, channels, 3, 3))
            state[f"features.{number}.bias"] = constant((width,))
            number, channels = number + 2, width
        number += 1
    for number, (c_in, c_out) in zip((0, 3, 6), ((25088, 4096), (4096, 4096), (4096, 1000)), strict=True):
        state[f"classifier.{number}.weight"] = constant((c_out, c_in))
        state[f"classifier.{number}.bias"] = constant((c_out,))
    return state


def head_state() -> dict[str, Tensor]:
    return {f"lin{i}.model.1.weight": constant((1, s[-1], 1, 1)) for i, s in enumerate(WIDTHS)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[WeightFile, WeightFile]:
    """Files in place of those that would have to be downloaded, in a folder of weights."""
    folder = tmp_path_factory.mktemp("weights")
    states = {INCEPTION_2015: inception_state(), VGG16: vgg_state(), LPIPS_VGG: head_state()}
    result = {EFFICIENTNET_LITE0: EFFICIENTNET_LITE0}
    for file, state in states.items():
        path = folder / file.file
        torch.save(state, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        result[file] = replace(file, sha256=digest, source=str(path))
    return result


@pytest.fixture
def installed(
    made: dict[WeightFile, WeightFile], monkeypatch: pytest.MonkeyPatch
) -> dict[WeightFile, WeightFile]:
    """Every network's weights are there."""
    monkeypatch.setenv("STYLELOOM_WEIGHTS", str(Path(made[VGG16].source).parent))
    for name, entry in list(NETWORKS.items()):
        files = tuple(made[file] for file in entry.weights)
        monkeypatch.setitem(NETWORKS, name, replace(entry, weights=files))
    return made


@pytest.fixture
def absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights are there, but those of packages."""
    monkeypatch.setenv("STYLELOOM_WEIGHTS", str(tmp_path / "none"))
    return tmp_path / "none"


WITH_FEATURES = ("inception-2015", "vgg16", "efficientnet-lite0")
WITH_DISTANCE = ("lpips-vgg", "efficientnet-lite0")


def frozen(network: Any) -> bool:
    parameters = list(network.parameters())
    return not network.training and all(
        not p.requires_grad and p.dtype == torch.float32 and not p.is_meta for p in parameters
    )


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_every_feature_network_loads(name: str, installed: dict[WeightFile, WeightFile]) -> None:
    before = torch.get_rng_state()
    network = load_network(name)
    entry = NETWORKS[name]
    assert isinstance(network, FeatureNetwork)
    assert frozen(network)
    assert network.identity["name"] == name
    assert network.identity["weights"] == entry.weights[0].sha256
    assert isinstance(network.identity["resize"], str)
    assert entry.default_layer in network.layers
    assert entry.logits_layer is None or entry.logits_layer in network.layers
    asked = list(network.layers)
    if name != "vgg16":  # of which the dense layers have 119 million weights
        grey = torch.full((2, 1, 20, 30), 99, dtype=torch.uint8)
        found = network.features(grey, asked)
        assert {layer: tuple(f.shape) for layer, f in found.items()} == {
            layer: (2, size) for layer, size in network.layers.items()
        }
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", WITH_DISTANCE)
def test_every_distance_loads(name: str, installed: dict[WeightFile, WeightFile]) -> None:
    before = torch.get_rng_state()
    network = load_distance(name)
    assert isinstance(network, PerceptualDistance)
    assert frozen(network)
    assert network.identity["name"] == name
    assert network.identity["weights"] == NETWORKS[name].weights[0].sha256
    image = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    assert network.distance(image, image).tolist() == [0]
    assert torch.equal(torch.get_rng_state(), before)


def test_the_table_says_what_there_is(absent: Path) -> None:
    assert [n for n in NETWORKS if NETWORKS[n].features] == list(WITH_FEATURES)
    assert [n for n in NETWORKS if NETWORKS[n].distance] == list(WITH_DISTANCE)
    assert NETWORKS["efficientnet-lite0"].suffix == "lite0"
    assert [NETWORKS[n].default_layer for n in WITH_FEATURES] == ["pool3", "fc2", "pool"]
    assert [NETWORKS[n].logits_layer for n in WITH_FEATURES] == ["logits_unbiased", None, "logits"]
    assert len({entry.suffix for entry in NETWORKS.values()}) == len(NETWORKS)
    with pytest.raises(UserError, match="'lpips-vgg' has no features, only a distance; choose from incep"):
        load_network("lpips-vgg")
    with pytest.raises(UserError, match="'vgg16' has no distance, only features; choose from lpips-vgg"):
        load_distance("vgg16")


def test_unknown_names(absent: Path) -> None:
    with pytest.raises(UserError, match="no feature network 'inception', did you mean 'inception-2015'"):
        load_network("inception")


def test_absent_weights_name_the_command(absent: Path) -> None:
    with pytest.raises(UserError, match=r"styleloom features fetch lpips-vgg\n") as caught:
        load_distance("lpips-vgg")
    assert str(absent / VGG16.file) in str(caught.value)


def test_weights_that_lie_elsewhere(absent: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(b"x")
    with pytest.raises(UserError, match=rf"{path}: not the weights {VGG16.file}"):
        load_network("vgg16", weights={VGG16.file: path})
    with pytest.raises(
        UserError, match=r"weights: no network reads 'vgg16\.pth', did you mean 'vgg16-397923af"
    ):
        load_network("vgg16", weights={"vgg16.pth": path})


def test_weights_that_lie_elsewhere_are_read(
    absent: Path, made: dict[WeightFile, WeightFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (made[VGG16], made[LPIPS_VGG])
    monkeypatch.setitem(NETWORKS, "lpips-vgg", replace(NETWORKS["lpips-vgg"], weights=files))
    given = {file.file: Path(file.source) for file in files}
    assert load_distance("lpips-vgg", weights=given).identity["heads"] == files[1].sha256


# --- Networks of others -------------------------------------------------------------------------------------


class Mean:
    """A feature network of one's own: the mean colour."""

    identity: dict[str, Any] = {"name": "mean", "weights": "none", "resize": "none"}  # noqa: RUF012
    layers: Mapping[str, int] = {"colour": 3}

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def features(self, images_u8: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        return dict.fromkeys(layers, images_u8.to(self.device, torch.float32).mean((2, 3)))


ENTRY = NetworkEntry(
    suffix="mean",
    description="mean colour",
    licence="MIT",
    features=lambda paths, device: Mean(device),
    default_layer="colour",
)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "NETWORKS", dict(NETWORKS))


@pytest.mark.usefixtures("own")
def test_a_network_of_ones_own() -> None:
    register("mean", ENTRY)
    network = load_network("mean", "cpu")
    images = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 2, 2)
    assert network.features(images, ["colour"])["colour"].tolist() == [[1.5, 5.5, 9.5]]
    assert "mean" in registry.names()
    with pytest.raises(ValueError, match="'mean': taken by 'mean colour'"):
        register("mean", ENTRY)


class Points:
    """Installed packages with entry points."""

    def __init__(self, **values: str) -> None:
        self.points = [EntryPoint(name, value, registry.GROUP) for name, value in values.items()]

    def __call__(self, group: str) -> list[EntryPoint]:
        assert group == "styleloom.features"
        return self.points


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package as a plug-in brings it."""
    (tmp_path / "plugin_of_a_test.py").write_text(
        "from styleloom.features.registry import NetworkEntry\n"
        "ENTRY = NetworkEntry('mine', 'my own', 'MIT', distance=lambda paths, device: 'built')\n"
        "WRONG = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "plugin_of_a_test"


def test_networks_of_installed_packages(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", Points(mine=f"{module}:ENTRY"))
    assert registry.names() == [*NETWORKS, "mine"]
    assert load_distance("mine") == "built"
    with pytest.raises(UserError, match="did you mean 'mine'"):
        registry.entry("mne")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mine", "plugin_of_a_test:WRONG", "is a int, valid: a styleloom.features.registry.NetworkEntry"),
        ("mine", "plugin_of_a_test:ABSENT", "'mine': cannot load plugin_of_a_test:ABSENT"),
        ("vgg16", "plugin_of_a_test:ENTRY", "'vgg16': the name is taken twice"),
    ],
)
@pytest.mark.usefixtures("module")
def test_broken_packages(name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", Points(**{name: value}))
    with pytest.raises(UserError, match=message):
        registry.entry(name)


def test_convolutions_are_channels_last_on_the_cpu(absent: Path) -> None:
    network = load_network("efficientnet-lite0")
    assert isinstance(network, nn.Module)
    head = network.get_submodule("network.head")
    assert head.weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr, operator]
    tap = network.network.taps(torch.zeros(2, 3, 64, 64))[2]  # type: ignore[union-attr, operator]
    assert tap.is_contiguous(memory_format=torch.channels_last)
