"""The table of feature networks and perceptual distances.

A network of one's own joins by `register`, or by an entry point of the group "styleloom.features" in the
package that brings it; the entry point's name is the network's and it loads to a `NetworkEntry`:

    [project.entry-points."styleloom.features"]
    my-network = "my_package:ENTRY"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from styleloom.errors import UserError, nearest, quoted
from styleloom.features.efficientnet import Lite0Distance, Lite0Features
from styleloom.features.inception import Inception2015
from styleloom.features.resize import as_rgb
from styleloom.features.vgg import LPIPSVGG, VGG16Features
from styleloom.features.weights import (
    EFFICIENTNET_LITE0,
    INCEPTION_2015,
    LPIPS_VGG,
    VGG16,
    WeightFile,
    find_weights,
    load_state,
)
from styleloom.file_hash import sha256_of
from styleloom.types import FeatureNetwork, PerceptualDistance

__all__ = [
    "NETWORKS",
    "NetworkEntry",
    "as_rgb",
    "entry",
    "load_distance",
    "load_network",
    "names",
    "register",
]

GROUP = "styleloom.features"
"""Entry points of packages that bring networks."""


@dataclass(frozen=True)
class NetworkEntry:
    """What is known of a network before it is built.

    Args:
        suffix: short name, for names of metrics.
        description: one line.
        licence: SPDX names of the licences of the weights.
        weights: files that it needs, in the order in which the builders take their verified paths.
        features: builds the `FeatureNetwork` on a device; None where there is none.
        distance: builds the `PerceptualDistance` on a device; None where there is none.
        default_layer: layer of Fréchet and kernel distances, precision and recall; None without `features`.
        logits_layer: layer of the inception score; None where there are no classes.
    """

    suffix: str
    description: str
    licence: str
    weights: tuple[WeightFile, ...] = ()
    features: Callable[[Sequence[Path], torch.device], FeatureNetwork] | None = None
    distance: Callable[[Sequence[Path], torch.device], PerceptualDistance] | None = None
    default_layer: str | None = None
    logits_layer: str | None = None


M = TypeVar("M", bound=nn.Module)


def _place(network: M, device: torch.device) -> M:
    """`network` on `device`; on the CPU channels-last, which convolutions pass on and run faster in."""
    network.to(device)
    if device.type == "cpu":
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def _inception_2015(paths: Sequence[Path], device: torch.device) -> FeatureNetwork:
    return _place(Inception2015(load_state(paths[0]), sha256_of(paths[0])), device)


def _vgg16(paths: Sequence[Path], device: torch.device) -> FeatureNetwork:
    return _place(VGG16Features(load_state(paths[0]), sha256_of(paths[0])), device)


def _lpips_vgg(paths: Sequence[Path], device: torch.device) -> PerceptualDistance:
    vgg, heads = paths
    return _place(LPIPSVGG(load_state(vgg), load_state(heads), sha256_of(vgg), sha256_of(heads)), device)


def _lite0_features(paths: Sequence[Path], device: torch.device) -> FeatureNetwork:
    return _place(Lite0Features(load_state(paths[0]), sha256_of(paths[0])), device)


def _lite0_distance(paths: Sequence[Path], device: torch.device) -> PerceptualDistance:
    return _place(Lite0Distance(load_state(paths[0]), sha256_of(paths[0])), device)


NETWORKS: dict[str, NetworkEntry] = {
    "inception-2015": NetworkEntry(
        suffix="inception",
        description="Inception-v3 of the TensorFlow graph of 2015-12-05: published FID and inception scores",
        licence="Apache-2.0",
        weights=(INCEPTION_2015,),
        features=_inception_2015,
        default_layer="pool3",
        logits_layer="logits_unbiased",
    ),
    "vgg16": NetworkEntry(
        suffix="vgg16",
        description="VGG-16, second dense layer: improved precision and recall",
        licence="BSD-3-Clause",
        weights=(VGG16,),
        features=_vgg16,
        default_layer="fc2",
    ),
    "lpips-vgg": NetworkEntry(
        suffix="lpips",
        description="LPIPS v0.1 with VGG-16: path length, projection",
        licence="BSD-3-Clause AND BSD-2-Clause",
        weights=(VGG16, LPIPS_VGG),
        distance=_lpips_vgg,
    ),
    "efficientnet-lite0": NetworkEntry(
        suffix="lite0",
        description="EfficientNet-Lite0: small, for the CPU; comes as a Python package",
        licence="Apache-2.0",
        weights=(EFFICIENTNET_LITE0,),
        features=_lite0_features,
        distance=_lite0_distance,
        default_layer="pool",
        logits_layer="logits",
    ),
}
"""Networks by name: ours, and those that were registered."""


def register(name: str, entry: NetworkEntry) -> None:
    """Make `entry` known under `name` in this process. Raises ValueError when the name is taken."""
    if name in NETWORKS:
        raise ValueError(f"name {name!r}: taken by {NETWORKS[name].description!r}")
    NETWORKS[name] = entry


def names() -> list[str]:
    """Every name: ours, those registered, and those of installed packages."""
    return list(dict.fromkeys([*NETWORKS, *(point.name for point in _plugins())]))


def entry(name: str) -> NetworkEntry:
    """The entry of the network of that name.

    Raises UserError for an unknown name, a name taken twice, and a package that does not load.
    """
    plugins = [point for point in _plugins() if point.name == name]
    if len(plugins) + (name in NETWORKS) > 1:
        packages = ", ".join(f"{point.value!r}" for point in plugins)
        raise UserError(
            f"feature network {quoted(name)}: the name is taken twice, by entry points {packages}"
        )
    if plugins:
        return _load_plugin(plugins[0])
    if name not in NETWORKS:
        hint = nearest(name, names())
        raise UserError(f"no feature network {quoted(name)}, {hint}choose from {', '.join(names())}")
    return NETWORKS[name]


def _plugins() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _load_plugin(point: EntryPoint) -> NetworkEntry:
    try:
        loaded = point.load()
    except Exception as error:  # what another package raises on import is not enumerable
        raise UserError(
            f"feature network {quoted(point.name)}: cannot load {point.value}: {error}"
        ) from error
    if not isinstance(loaded, NetworkEntry):
        raise UserError(
            f"feature network {quoted(point.name)}: {point.value} is a {type(loaded).__name__}, valid: a "
            "styleloom.features.registry.NetworkEntry"
        )
    return loaded


def load_network(
    name: str, device: torch.device | str = "cpu", weights: Mapping[str, Path] | None = None
) -> FeatureNetwork:
    """The feature network of that name: evaluation mode, float32, no gradients of parameters.

    Args:
        name: see `names`.
        device: where it runs.
        weights: paths of weight files that lie elsewhere, by `WeightFile.file`.

    Raises UserError for an unknown name, a network without features, and absent or wrong weights.
    """
    found = entry(name)
    if found.features is None:
        valid = ", ".join(n for n in names() if entry(n).features is not None)
        raise UserError(f"network {quoted(name)} has no features, only a distance; choose from {valid}")
    return found.features(_paths(name, found, weights or {}), torch.device(device))


def load_distance(
    name: str, device: torch.device | str = "cpu", weights: Mapping[str, Path] | None = None
) -> PerceptualDistance:
    """The perceptual distance of that name; otherwise as `load_network`."""
    found = entry(name)
    if found.distance is None:
        valid = ", ".join(n for n in names() if entry(n).distance is not None)
        raise UserError(f"network {quoted(name)} has no distance, only features; choose from {valid}")
    return found.distance(_paths(name, found, weights or {}), torch.device(device))


def _paths(name: str, found: NetworkEntry, given: Mapping[str, Path]) -> list[Path]:
    """Verified path of each file. Raises UserError; for a path of a file that no network knows, too."""
    known = {file.file for n in names() for file in entry(n).weights} if given else set()
    for file in given:
        if file not in known:
            hint = nearest(file, known)
            raise UserError(
                f"weights: no network reads {quoted(file)}, {hint}valid: {', '.join(sorted(known))}"
            )
    return [find_weights(file, given.get(file.file), network=name) for file in found.weights]
