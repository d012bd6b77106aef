"""Generators pass through torch.export, torch.compile and the transforms of torch.func."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from styleloom.config import apply_overrides
from styleloom.networks.assembly import StyleGenerator, finest
from styleloom.networks.build import build_generator
from styleloom.presets import get

PRESETS = (
    "progan",
    "stylegan-f",
    "msg-progan",
    "msg-stylegan",
    "stylegan2-d",
    "stylegan2-e-g-orig-d-orig",
    "stylegan2-e-g-resnet-d-resnet",
    "stylegan2-f",
)
"""Every family, block and topology."""


pytestmark = pytest.mark.filterwarnings("ignore:.*get_attr")
"""What torch 2.6 says of constants in the graphs that it exports itself."""


@pytest.fixture(autouse=True)
def _nothing_compiled() -> None:
    """torch compiles one function so many times and then no more."""
    torch.compiler.reset()


def tiny(preset: str) -> StyleGenerator:
    experiment = apply_overrides(get(preset), ["resolution=8", "generator.features.max=8"])
    generator = build_generator(experiment.generator).eval()
    for name, t in generator.state_dict().items():
        if name.endswith("strength"):
            t.fill_(0.3)
    return generator


class Images(torch.nn.Module):
    """z to the finest image, with the stored noise."""

    def __init__(self, generator: StyleGenerator, psi: float) -> None:
        super().__init__()
        self.generator, self.psi = generator, psi

    def forward(self, z: Tensor) -> Tensor:
        return finest(self.generator(z, None, self.psi, None, "fixed"))


def close(a: Any, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def prepared(preset: str) -> tuple[Images, Tensor]:
    generator = tiny(preset)
    z = torch.randn(3, generator.z_dim, generator=torch.Generator().manual_seed(0))
    return Images(generator, 1.0 if "progan" in preset else 0.7), z


@pytest.mark.parametrize("preset", PRESETS)
def test_export_with_a_dynamic_batch(preset: str) -> None:
    images, z = prepared(preset)
    shapes = {"z": {0: torch.export.Dim("batch", min=1, max=64)}}
    program = torch.export.export(images, (z,), dynamic_shapes=shapes)
    for number in (1, 2, 3, 5):
        own = torch.randn(number, z.shape[1])
        close(program.module()(own), images(own))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own rules use it
@pytest.mark.parametrize("preset", PRESETS)
def test_vmap_and_jvp(preset: str) -> None:
    images, z = prepared(preset)
    close(torch.func.vmap(lambda row: images(row[None])[0])(z), images(z))
    tangent = torch.ones_like(z)
    value, slope = torch.func.jvp(images, (z,), (tangent,))
    close(value, images(z))
    _, expected = torch.autograd.functional.jvp(images, z, tangent)  # by our own rules, twice in reverse
    close(slope, expected)


@pytest.mark.parametrize("preset", PRESETS)
def test_compile_in_one_graph(preset: str) -> None:
    """The graph alone, which is what is ours; making code of it is marked slow."""
    images, z = prepared(preset)
    close(torch.compile(images, fullgraph=True, backend="eager", dynamic=True)(z), images(z))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within torch
@pytest.mark.parametrize("preset", PRESETS)
def test_compile_to_code(preset: str) -> None:
    images, z = prepared(preset)
    with torch.no_grad():
        close(torch.compile(images, fullgraph=True)(z), images(z))
