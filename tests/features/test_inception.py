"""Inception-v3 with random weights held against Keras's, and against a formula where the graph differs."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from styleloom.errors import UserError
from styleloom.features.inception import ConvUnit, Inception2015, InceptionV3
from styleloom.features.resize import tf1_bilinear

POOL_CHANNELS = 192
"""The pool branch is the end of the last block's channels."""


@dataclass
class Pair:
    """The same weights in both networks, and the outputs of Keras's two last blocks for normalised images."""

    state: dict[str, Tensor]
    network: Inception2015
    keras_blocks: Any


def number(layer: Any) -> int:
    """Keras numbers layers of a kind in the order of their making."""
    ending = layer.name.rsplit("_", 1)[-1]
    return int(ending) if ending.isdigit() else 0


def random_unit(kernel: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights as large as keep activations of one scale, and statistics that are not those of a new layer."""
    height, width, c_in, c_out = kernel.shape
    deviation = (2 / (height * width * c_in)) ** 0.5
    return {
        "conv.weight": torch.randn(c_out, c_in, height, width, generator=generator) * deviation,
        "bn.weight": torch.ones(c_out),  # Keras's has no scale
        "bn.bias": torch.randn(c_out, generator=generator) * 0.2,
        "bn.running_mean": torch.randn(c_out, generator=generator) * 0.2,
        "bn.running_var": torch.rand(c_out, generator=generator) + 0.5,
        "bn.num_batches_tracked": torch.tensor(7),
    }


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        keras: Any = importlib.import_module("keras")
    model = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(299, 299, 3))
    convs = sorted((x for x in model.layers if isinstance(x, keras.layers.Conv2D)), key=number)
    norms = sorted((x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)), key=number)
    with torch.device("meta"):
        names = [name for name, unit in InceptionV3().named_modules() if isinstance(unit, ConvUnit)]
    generator = torch.Generator().manual_seed(1)
    state: dict[str, Tensor] = {}
    for name, conv, norm in zip(names, convs, norms, strict=True):
        unit = random_unit(conv.kernel.value, generator)
        conv.kernel.assign(unit["conv.weight"].permute(2, 3, 1, 0))
        norm.beta.assign(unit["bn.bias"])
        norm.moving_mean.assign(unit["bn.running_mean"])
        norm.moving_variance.assign(unit["bn.running_var"])
        state |= {f"{name}.{part}": tensor for part, tensor in unit.items()}
    state["fc.weight"] = torch.randn(1008, 2048, generator=generator) / 45
    state["fc.bias"] = torch.randn(1008, generator=generator)
    blocks = keras.Model(model.input, [model.get_layer("mixed9").output, model.output])

    def keras_blocks(x: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return [y.permute(0, 3, 1, 2) for y in blocks(x.permute(0, 2, 3, 1).contiguous(), training=False)]

    return Pair(state, Inception2015(state, "0" * 64), keras_blocks)


def images(num: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num, 3, 40, 60), generator=generator, dtype=torch.uint8)


def pool_branch(x: Tensor, state: dict[str, Tensor]) -> np.ndarray:
    """The last block's pool branch as the graph has it: 3x3 maximum, 1x1 convolution, normalisation, ReLU."""
    pooled = ndimage.maximum_filter(x.numpy(), size=(1, 1, 3, 3), mode="nearest")
    part = {name: state[f"Mixed_7c.branch_pool.{name}"].numpy() for name in ("conv.weight", "bn.bias")}
    mean, variance = (state[f"Mixed_7c.branch_pool.bn.running_{s}"].numpy() for s in ("mean", "var"))
    y = np.einsum("nchw,oc->nohw", pooled, part["conv.weight"][:, :, 0, 0])
    column = np.s_[:, None, None]
    y = (y - mean[column]) / np.sqrt(variance + 1e-3)[column] + part["bn.bias"][column]
    return np.maximum(y, 0)


def close(found: Tensor, expected: Tensor | np.ndarray) -> None:
    expected = torch.as_tensor(expected)
    assert found.shape == expected.shape
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_layers_are_keras_but_for_the_maximum_of_the_last_block(pair: Pair) -> None:
    images_u8 = images()
    found = pair.network.features(images_u8, ["logits_unbiased", "pool3", "logits"])
    before, last = pair.keras_blocks((tf1_bilinear(images_u8, 299) - 128) / 128)
    expected = torch.cat([last[:, :-POOL_CHANNELS], torch.as_tensor(pool_branch(before, pair.state))], 1)
    # The difference is real: Keras takes the mean there.
    assert (expected - last)[:, -POOL_CHANNELS:].norm() > 0.1 * last[:, -POOL_CHANNELS:].norm()
    pool3 = expected.double().mean((2, 3))
    assert list(found) == ["logits_unbiased", "pool3", "logits"]
    close(found["pool3"], pool3.float())
    logits = pool3 @ pair.state["fc.weight"].double().T
    close(found["logits_unbiased"], logits.float())
    close(found["logits"], (logits + pair.state["fc.bias"]).float())
    assert {name: f.shape[1] for name, f in found.items()} == {
        name: pair.network.layers[name] for name in found
    }
    assert all(f.dtype == torch.float32 for f in found.values())


def test_the_scale_of_batch_normalisation_counts(pair: Pair) -> None:
    """Keras has none; twice the scale of the last pool branch and twice its shift double its outputs."""
    branch = "Mixed_7c.branch_pool.bn"
    state = dict(pair.state)
    state[f"{branch}.weight"], state[f"{branch}.bias"] = (
        2 * state[f"{branch}.{p}"] for p in ("weight", "bias")
    )
    base, scaled = (
        n.features(images(1), ["pool3"])["pool3"] for n in (pair.network, Inception2015(state, ""))
    )
    torch.testing.assert_close(scaled[:, :-POOL_CHANNELS], base[:, :-POOL_CHANNELS])
    torch.testing.assert_close(scaled[:, -POOL_CHANNELS:], 2 * base[:, -POOL_CHANNELS:])


def test_an_image_is_the_same_in_any_batch_and_in_grey(pair: Pair) -> None:
    batch = images(3)
    batch[1] = batch[1, :1]
    together = pair.network.features(batch, ["pool3"])["pool3"]
    alone = pair.network.features(batch[1:2, :1], ["pool3"])["pool3"]
    torch.testing.assert_close(together[1:2], alone, rtol=1e-5, atol=1e-5)


def test_names_are_read_strictly(pair: Pair) -> None:
    assert len(pair.state) == 566  # as the published file has
    without_counts = {n: t for n, t in pair.state.items() if not n.endswith("num_batches_tracked")}
    Inception2015(without_counts, "")
    with pytest.raises(RuntimeError, match="AuxLogits"):
        Inception2015({**pair.state, "AuxLogits.fc.weight": torch.zeros(1)}, "")
    for absent, error in (("fc.bias", RuntimeError), ("Mixed_6b.branch7x7_2.bn.running_var", KeyError)):
        with pytest.raises(error, match=absent):
            Inception2015({n: t for n, t in pair.state.items() if n != absent}, "")
    with pytest.raises(RuntimeError, match="size mismatch"):
        Inception2015({**pair.state, "fc.bias": torch.zeros(1000)}, "")


def test_identity_says_weights_and_resize(pair: Pair) -> None:
    assert pair.network.identity["weights"] == "0" * 64
    assert pair.network.identity["resize"] == "tf1-bilinear 299"


def test_unknown_layer(pair: Pair) -> None:
    with pytest.raises(UserError, match="inception-2015: no layer 'pool', did you mean 'pool3'"):
        pair.network.features(images(1), ["pool"])
