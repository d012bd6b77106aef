"""Styles of two sources in one image, where StyleGAN's Figure 3 has them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from styleloom.config import apply_overrides
from styleloom.errors import UserError
from styleloom.mixing import Block, Layers, cells, figure, layers_named, mixed
from styleloom.networks.build import build_generator
from styleloom.presets import get
from styleloom.sampling import Sampler
from styleloom.types import GrowthState

NARROW = ("generator.features.max=8", "generator.features.min=1")


def made(preset: str, side: int = 64, *overrides: str, growth: GrowthState | None = None) -> Sampler:
    """A narrow generator whose noise matters."""
    experiment = apply_overrides(get(preset), [f"resolution={side}", *NARROW, *overrides])
    generator = build_generator(experiment.generator).eval().requires_grad_(False)
    for name, t in generator.state_dict().items():
        if name.endswith("strength"):
            t.fill_(0.3)
    return Sampler(generator, experiment, growth)


@pytest.fixture(scope="module")
def g() -> Sampler:
    return made("demo")


def test_layers_at_1024_px() -> None:
    """Those of the authors' figures: StyleGAN2's begin one earlier, since 4 x 4 px have one layer."""
    for preset, expected in (
        ("stylegan-f", {"coarse": range(4), "middle": range(4, 8), "fine": range(8, 18)}),
        ("stylegan2-f", {"coarse": range(3), "middle": range(3, 7), "fine": range(7, 18)}),
    ):
        config = get(preset).generator
        with torch.device("meta"):
            g = Sampler(build_generator(config), get(preset))
        for name, indices in expected.items():
            assert layers_named(g, name).indices == tuple(indices), (preset, name)


def test_layers_of_smaller_networks(g: Sampler) -> None:
    assert layers_named(g, "fine").indices == (7, 8, 9)
    assert layers_named(g, " 3, 0-1,1").indices == (0, 1, 3)
    small = made("demo", 16)
    assert layers_named(small, "middle").indices == (3, 4, 5)
    with pytest.raises(UserError, match="this generator of 16 px has no fine layers, which begin at 64 px"):
        layers_named(small, "fine")
    growing = made("stylegan-f", 64, growth=GrowthState(2, 0.5))
    assert layers_named(growing, "middle").indices == (4, 5)
    for wrong in ("", "corase", "10", "5-3", "-1", "0-10", "0-3-5", "²", "9" * 400):
        with pytest.raises(UserError, match=r"styles: .* is not valid"):
            layers_named(g, wrong)
    with pytest.raises(UserError, match="did you mean 'coarse'"):
        layers_named(g, "corase")


def test_generators_that_cannot_mix() -> None:
    for preset in ("progan", "stylegan-b", "stylegan-c-paper", "msg-progan"):
        with pytest.raises(UserError, match=r"styles: .* has no styles that could be mixed"):
            layers_named(made(preset, 16), "coarse")


def test_rows_keep_all_but_the_columns_styles(g: Sampler) -> None:
    rows, columns = g.latents(range(2), 0.7), g.latents([5, 6, 7], 0.7)
    found = mixed(rows, columns, Layers("1-2", (1, 2)))
    assert len(found) == 6
    cell = found[1 * 3 + 2]
    assert torch.equal(cell.values[0, [1, 2]], columns.values[2, [1, 2]])
    others = [0, *range(3, 10)]
    assert torch.equal(cell.values[0, others], rows.values[1, others])
    record = cell.images[0]
    assert (record["row"]["seed"], record["column"]["seed"], record["layers"]) == (1, 7, [1, 2])
    assert cell.noise is not None
    assert rows.noise is not None
    assert torch.equal(cell.noise[-1], rows.noise[-1][1:2])
    every = Layers("0-9", tuple(range(10)))
    assert torch.equal(mixed(rows, columns, every).values[:3], columns.values)
    with pytest.raises(UserError, match=r"columns: of shape \[3, 9, "):
        mixed(rows, replace(columns, values=columns.values[:, 1:]), every)


def test_the_figure_has_its_sources_at_the_top_and_left(g: Sampler) -> None:
    rows, columns = g.latents(range(2), noise="fixed"), g.latents([5, 6, 7], noise="fixed")
    blocks = [Block(rows, layers_named(g, "coarse")), Block(rows[0], layers_named(g, "fine"))]
    images = torch.cat(list(figure(g, columns, blocks))).unflatten(0, (4, 4))
    assert (images[0, 0] == 1).all()
    assert torch.equal(images[0, 1:], g.generate([5, 6, 7], noise="fixed"))
    assert torch.equal(images[1:, 0], g.generate([0, 1, 0], noise="fixed"))
    kept = cells(columns, blocks)
    assert torch.equal(images[1:, 1:].flatten(0, 1), g.render(kept))
    assert [record["styles"] for record in kept.images] == ["coarse"] * 6 + ["fine"] * 3
    coarse = g.render(mixed(rows[1], columns[2], blocks[0].layers))[0]
    assert torch.equal(images[2, 3], coarse)
    assert not torch.equal(images[1, 1], images[3, 1])


def test_sources_of_other_generators(g: Sampler) -> None:
    rows, coarse = g.latents([0]), layers_named(g, "coarse")
    elsewhere = made("demo", 32).latents([0])
    for columns, blocks, message in (
        (elsewhere, [Block(rows, coarse)], "columns: values: of shape"),
        (rows, [Block(elsewhere, coarse)], "rows: values: of shape"),
        (rows, [], "rows, columns or styles are missing"),
        (g.latents([]), [Block(rows, coarse)], "rows, columns or styles are missing"),
    ):
        with pytest.raises(UserError, match=message):
            figure(g, columns, blocks)
