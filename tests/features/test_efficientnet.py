"""EfficientNet-Lite0 with its weights, held against the package efficientnet-lite-pytorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from styleloom.errors import UserError
from styleloom.features.efficientnet import (
    DISTANCE_STAGES,
    STAGES,
    Lite0,
    Lite0Distance,
    Lite0Features,
    SameConv,
)
from styleloom.features.resize import antialiased_bilinear
from styleloom.features.weights import EFFICIENTNET_LITE0, find_weights, load_state


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return load_state(find_weights(EFFICIENTNET_LITE0))


@pytest.fixture(scope="module")
def network(state: dict[str, Tensor]) -> Lite0Features:
    return Lite0Features(state, "4" * 64)


@pytest.fixture(scope="module")
def distance(state: dict[str, Tensor]) -> Lite0Distance:
    return Lite0Distance(state, "4" * 64)


@pytest.fixture(scope="module")
def other(state: dict[str, Tensor]) -> nn.Module:
    """The same weights in the other implementation: batch normalisation apart, padding of its own."""
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(state)
    return model.eval()


def images(num: int, height: int = 224, width: int = 224, seed: int = 0) -> Tensor:
    """uint8, smooth with some grain: features of pure noise are all alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(num, 3, 5, 5, generator=generator)
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    grain = torch.rand(num, 3, height, width, generator=generator)
    return (255 * (0.8 * smooth + 0.2 * grain)).clamp(0, 255).to(torch.uint8)


def others_taps(other: nn.Module, x: Tensor) -> list[Tensor]:
    """Outputs of its blocks at the ends of the stages."""
    ends = np.cumsum([stage.blocks for stage in STAGES]) - 1
    taps: list[Tensor] = []
    hooks = [other._blocks[i].register_forward_hook(lambda *a: taps.append(a[2])) for i in ends]  # type: ignore
    with torch.no_grad():
        other.extract_features(x)  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    return taps


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_every_layer_is_the_other_implementations(network: Lite0Features, other: nn.Module) -> None:
    images_u8 = images(2)
    found = network.features(images_u8, list(network.layers))
    assert list(found) == [*(f"stage{i}" for i in range(1, 8)), "pool", "logits"]
    x = (images_u8.float() - 127) / 128
    with torch.no_grad():
        close(found["logits"], other(x))
        close(found["pool"], other.extract_features(x).mean((2, 3)))  # type: ignore[operator]
    for i, tap in enumerate(others_taps(other, x), 1):
        close(found[f"stage{i}"], tap.mean((2, 3)))
    assert {name: f.shape[1] for name, f in found.items()} == network.layers
    assert all(f.dtype == torch.float32 for f in found.values())


def test_images_are_resized_with_a_filter(network: Lite0Features, other: nn.Module) -> None:
    images_u8 = images(1, 300, 260)
    x = (antialiased_bilinear(images_u8, 224) - 127) / 128
    with torch.no_grad():
        close(network.features(images_u8, ["logits"])["logits"], other(x))


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(7, 3, 2), (8, 3, 2), (7, 5, 2), (8, 5, 2), (1, 5, 2), (9, 5, 1)]
)
def test_padding_is_tensorflows(size: int, kernel: int, stride: int) -> None:
    """Output o covers inputs o * stride - before ..., before = floor(total / 2)."""
    conv = SameConv(1, 1, kernel, stride, bias=False)
    x = torch.arange(1.0, size + 1).expand(1, 1, size, size)
    with torch.no_grad():
        nn.init.zeros_(conv.weight)[..., 0] = 1 / kernel  # reads the column on the left of the window
    outputs = -(-size // stride)
    before = max((outputs - 1) * stride + kernel - size, 0) // 2
    expected = [o * stride - before + 1 if o * stride - before >= 0 else 0 for o in range(outputs)]
    middle = conv(x)[0, 0, outputs // 2]
    rows = [r for r in range(kernel) if 0 <= outputs // 2 * stride - before + r < size]
    torch.testing.assert_close(middle, torch.tensor(expected) * len(rows) / kernel)


def test_an_image_is_the_same_in_any_batch_and_in_grey(network: Lite0Features) -> None:
    batch = images(3, 64, 64)
    batch[1] = batch[1, :1]
    names = list(network.layers)
    together, alone = network.features(batch, names), network.features(batch[1:2, :1], names)
    for name in names:
        torch.testing.assert_close(together[name][1:2], alone[name], rtol=1e-5, atol=1e-5)


def test_names_are_read_strictly(state: dict[str, Tensor]) -> None:
    with pytest.raises(RuntimeError, match="extra"):
        Lite0({**state, "extra": torch.zeros(1)})
    with pytest.raises(KeyError, match=r"_blocks\.3\._bn1\.running_var"):
        Lite0({n: t for n, t in state.items() if n != "_blocks.3._bn1.running_var"})


def test_identity_and_unknown_layer(network: Lite0Features) -> None:
    assert network.identity["weights"] == "4" * 64
    assert network.identity["resize"] == "antialiased-bilinear 224"
    with pytest.raises(UserError, match="efficientnet-lite0: no layer 'stage8', did you mean 'stage"):
        network.features(images(1, 32, 32), ["stage8"])


# --- Distance -----------------------------------------------------------------------------------------------


def signed(images_u8: Tensor) -> Tensor:
    return images_u8.float() / 127.5 - 1


def test_distance_is_the_formula_on_the_other_implementations_features(
    distance: Lite0Distance, other: nn.Module
) -> None:
    a, b = images(2), images(2, seed=1)
    b[1] = a[1]
    expected = np.zeros(2)
    taps = [others_taps(other, (x.float() - 127) / 128) for x in (a, b)]
    for stage in DISTANCE_STAGES:
        unit_a, unit_b = (
            t / (np.sqrt((t**2).sum(1, keepdims=True)) + 1e-10)
            for t in (tap[stage - 1].double().numpy() for tap in taps)
        )
        expected += ((unit_a - unit_b) ** 2).sum(1).mean((1, 2))
    found = distance.distance(signed(a), signed(b))
    assert found.shape == (2,)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-9)
    assert 0 < found[0] < 4 * len(DISTANCE_STAGES)
    torch.testing.assert_close(distance.distance(signed(b[:1]), signed(a[:1])), found[:1])


def test_distance_stages_end_a_resolution() -> None:
    """A stage ends a resolution when the next one reduces, or when it is the last."""
    strides = [stage.stride for stage in STAGES[1:]]
    assert tuple(i for i, stride in enumerate([*strides, 2], 1) if stride == 2) == DISTANCE_STAGES


def test_distance_takes_images_of_any_size_and_grey(distance: Lite0Distance) -> None:
    for height, width in ((8, 8), (33, 70)):
        a, b = signed(images(2, height, width)), signed(images(2, height, width, seed=1))
        found = distance.distance(a, b)
        assert found.shape == (2,)
        assert found.min() > 0
    grey = [x[:, :1] for x in (a, b)]
    assert torch.equal(distance.distance(*grey), distance.distance(*(x.repeat(1, 3, 1, 1) for x in grey)))


def test_distance_is_differentiable_in_both(state: dict[str, Tensor]) -> None:
    exact = Lite0Distance(state, "").double()
    a, b, direction = (signed(images(1, 32, 32, seed=s)).double() for s in range(3))
    a.requires_grad_()
    b.requires_grad_()
    gradients = torch.autograd.grad(exact.distance(a, b).sum(), [a, b])
    step = 1e-6 * direction
    with torch.no_grad():
        numeric = [
            (exact.distance(a + step, b) - exact.distance(a - step, b)) / 2e-6,
            (exact.distance(a, b + step) - exact.distance(a, b - step)) / 2e-6,
        ]
    for gradient, expected in zip(gradients, numeric, strict=True):
        torch.testing.assert_close((gradient * direction).sum(), expected[0], rtol=1e-4, atol=1e-8)
