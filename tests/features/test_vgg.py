"""VGG-16 with random weights, held against Keras's; LPIPS against its formula on Keras's features."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from styleloom.errors import UserError
from styleloom.features.resize import tf1_bilinear
from styleloom.features.vgg import LPIPSVGG, WIDTHS, VGG16Features

BLOCKS = [f"block{i}_conv{len(stage)}" for i, stage in enumerate(WIDTHS, 1)]
"""Keras's layers that end in relu1_2, relu2_2, relu3_3, relu4_3, relu5_3."""

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        import keras
    return keras


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Convolutions in torchvision's names, scaled to keep activations of one size, with biases."""
    generator = torch.Generator().manual_seed(1)
    result, number, channels = {}, 0, 3
    for stage in WIDTHS:
        for width in stage:
            weight = torch.randn(width, channels, 3, 3, generator=generator) * (2 / (9 * channels)) ** 0.5
            result[f"features.{number}.weight"] = weight
            result[f"features.{number}.bias"] = torch.randn(width, generator=generator) * 0.1
            number, channels = number + 2, width
        number += 1  # the pool
    return result


@pytest.fixture(scope="module")
def heads() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {
        f"lin{i}.model.1.weight": torch.rand(1, stage[-1], 1, 1, generator=generator)
        for i, stage in enumerate(WIDTHS)
    }


@pytest.fixture(scope="module")
def lpips(state: dict[str, Tensor], heads: dict[str, Tensor]) -> LPIPSVGG:
    return LPIPSVGG(state, heads, "1" * 64, "2" * 64)


def assign_convolutions(model: object, state: dict[str, Tensor]) -> None:
    names = [name.removesuffix(".weight") for name in state if name.endswith("weight")]
    layers = [layer for layer in model.layers if "conv" in layer.name]  # type: ignore[attr-defined]
    for name, layer in zip(names, layers, strict=True):
        layer.kernel.assign(state[f"{name}.weight"].permute(2, 3, 1, 0))
        layer.bias.assign(state[f"{name}.bias"])


@pytest.fixture(scope="module")
def keras_taps(keras: ModuleType, state: dict[str, Tensor]) -> Callable[[Tensor], list[NDArray[np.float64]]]:
    """[N, 3, H, W] as VGG reads it to the five taps."""
    base = keras.applications.VGG16(weights=None, include_top=False)
    assign_convolutions(base, state)
    model = keras.Model(base.input, [base.get_layer(name).output for name in BLOCKS])

    def taps(x: Tensor) -> list[NDArray[np.float64]]:
        with torch.no_grad():
            return [y.permute(0, 3, 1, 2).double().numpy() for y in model(x.permute(0, 2, 3, 1).contiguous())]

    return taps


def images(num: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(num, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def lpips_input(x: Tensor) -> Tensor:
    """The constants of LPIPS v0.1, as printed in its definition."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    return (x - shift[:, None, None]) / scale[:, None, None]


# --- Features -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dense() -> dict[str, Tensor]:
    """The dense layers' weights, in torchvision's order of inputs: channels, rows, columns."""
    generator = torch.Generator().manual_seed(3)
    return {
        "classifier.0.weight": torch.empty(4096, 25088).uniform_(-0.015, 0.015, generator=generator),
        "classifier.0.bias": torch.randn(4096, generator=generator) * 0.1,
        "classifier.3.weight": torch.empty(4096, 4096).uniform_(-0.038, 0.038, generator=generator),
        "classifier.3.bias": torch.randn(4096, generator=generator) * 0.1,
        "classifier.6.weight": torch.zeros(1000, 4096),
        "classifier.6.bias": torch.zeros(1000),
    }


def test_fc2_is_keras(
    keras_taps: Callable[[Tensor], list[NDArray[np.float64]]],
    state: dict[str, Tensor],
    dense: dict[str, Tensor],
) -> None:
    """Convolutions by Keras; the two dense layers, 119 million weights, by NumPy."""
    network = VGG16Features({**state, **dense}, "3" * 64)
    images_u8 = (127.5 * images(3, 50, 30) + 127.5).to(torch.uint8)
    images_u8[1] = images_u8[1, :1]
    found = network.features(images_u8, ["fc2"])["fc2"]
    assert found.shape == (3, network.layers["fc2"]) == (3, 4096)
    assert found.dtype == torch.float32

    x = tf1_bilinear(images_u8, 224).permute(0, 2, 3, 1).double().numpy() / 255
    last = keras_taps(torch.from_numpy((x - MEAN) / STD).permute(0, 3, 1, 2).float())[-1]
    pooled = last.reshape(3, 512, 7, 2, 7, 2).max((3, 5)).reshape(3, -1).astype(np.float32)
    fc1 = np.maximum(pooled @ dense["classifier.0.weight"].numpy().T + dense["classifier.0.bias"].numpy(), 0)
    fc2 = np.maximum(fc1 @ dense["classifier.3.weight"].numpy().T + dense["classifier.3.bias"].numpy(), 0)
    assert np.linalg.norm(found.numpy() - fc2) < 1e-5 * np.linalg.norm(fc2)
    assert 0.2 < (found == 0).float().mean() < 0.8  # after the ReLU

    alone = network.features(images_u8[1:2, :1], ["fc2"])["fc2"]  # grey, and in another batch
    torch.testing.assert_close(alone, found[1:2], rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match="vgg16: no layer 'fc1', did you mean 'fc2'"):
        network.features(images_u8, ["fc1"])
    assert network.identity["weights"] == "3" * 64
    assert network.identity["resize"] == "tf1-bilinear 224"


def test_names_are_read_strictly(state: dict[str, Tensor], heads: dict[str, Tensor]) -> None:
    with pytest.raises(RuntimeError, match=r"features\.28\.bias"):
        LPIPSVGG({n: t for n, t in state.items() if n != "features.28.bias"}, heads, "", "")
    with pytest.raises(RuntimeError, match="extra"):
        LPIPSVGG({**state, "extra.weight": torch.zeros(1)}, heads, "", "")
    with pytest.raises(RuntimeError, match=r"heads\.4\.weight"):
        LPIPSVGG(state, {n: t for n, t in heads.items() if "lin4" not in n}, "", "")
    with pytest.raises(RuntimeError, match="fc1"):
        VGG16Features(state, "")


# --- LPIPS --------------------------------------------------------------------------------------------------


def test_taps_are_keras(lpips: LPIPSVGG, keras_taps: Callable[[Tensor], list[NDArray[np.float64]]]) -> None:
    x = images(2, 64, 48)
    for found, expected in zip(lpips.taps(x), keras_taps(lpips_input(x)), strict=True):
        assert found.shape == expected.shape
        assert np.linalg.norm(found.numpy() - expected) < 1e-5 * np.linalg.norm(expected)


def test_distance_is_the_formula_on_keras_taps(
    lpips: LPIPSVGG, heads: dict[str, Tensor], keras_taps: Callable[[Tensor], list[NDArray[np.float64]]]
) -> None:
    a, b = images(3, 64, 48), images(3, 64, 48, seed=1)
    b[2] = a[2]
    expected = np.zeros(3)
    for tap_a, tap_b, head in zip(
        keras_taps(lpips_input(a)), keras_taps(lpips_input(b)), heads.values(), strict=True
    ):
        unit_a, unit_b = (t / (np.sqrt((t**2).sum(1, keepdims=True)) + 1e-10) for t in (tap_a, tap_b))
        weighted = ((unit_a - unit_b) ** 2 * head.numpy()).sum(1)
        expected += weighted.mean((1, 2))
    found = lpips.distance(a, b)
    assert found.shape == (3,)
    assert found.dtype == torch.float32
    assert found[2] == 0
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)
    torch.testing.assert_close(lpips.distance(b, a), found)
    torch.testing.assert_close(lpips.distance(a[1:2], b[1:2]), found[1:2], rtol=1e-5, atol=1e-5)


def test_distance_is_differentiable_in_both(state: dict[str, Tensor], heads: dict[str, Tensor]) -> None:
    lpips = LPIPSVGG(state, heads, "", "").double()
    a, b, direction = (images(1, 16, 16, seed=s).double() for s in range(3))
    a.requires_grad_()
    b.requires_grad_()
    gradients = torch.autograd.grad(lpips.distance(a, b).sum(), [a, b])
    step = 1e-6 * direction
    with torch.no_grad():
        numeric = [
            (lpips.distance(a + step, b) - lpips.distance(a - step, b)) / 2e-6,
            (lpips.distance(a, b + step) - lpips.distance(a, b - step)) / 2e-6,
        ]
    for gradient, expected in zip(gradients, numeric, strict=True):
        torch.testing.assert_close((gradient * direction).sum(), expected[0], rtol=1e-4, atol=1e-8)


def test_gradient_is_finite_where_features_are_zero(
    state: dict[str, Tensor], heads: dict[str, Tensor]
) -> None:
    """A bias far below zero silences the last layer of every stage."""
    biases = {f"features.{n}.bias" for n in (2, 7, 14, 21, 28)}
    silent = {n: torch.full_like(t, -1e4) if n in biases else t for n, t in state.items()}
    lpips = LPIPSVGG(silent, heads, "", "")
    a = images(1, 16, 16).requires_grad_()
    distance = lpips.distance(a, images(1, 16, 16, seed=1))
    assert torch.equal(torch.autograd.grad(distance.sum(), a)[0], torch.zeros_like(a))


def test_distance_takes_grey_and_names_its_files(lpips: LPIPSVGG) -> None:
    a, b = images(1, 32, 32)[:, :1], images(1, 32, 32, seed=1)[:, :1]
    assert torch.equal(lpips.distance(a, b), lpips.distance(a.repeat(1, 3, 1, 1), b.repeat(1, 3, 1, 1)))
    assert (lpips.identity["weights"], lpips.identity["heads"]) == ("1" * 64, "2" * 64)
    with pytest.raises(UserError, match="C = 1"):
        lpips.distance(torch.zeros(1, 4, 32, 32), torch.zeros(1, 4, 32, 32))
