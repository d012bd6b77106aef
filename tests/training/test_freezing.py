"""Layers that stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from every import every
from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.presets import get
from styleloom.training.freezing import frozen_layers, layers_from_image
from styleloom.training.trainer import Trainer
from tiny import make_archive, opened, steps, tiny


def layers(*overrides: str) -> list[str]:
    """D's layers at 16 px, from the image on."""
    return list(layers_from_image(build_discriminator(tiny("resolution=16", *overrides).discriminator)))


TAIL = ["tail.conv", "tail.dense", "tail.out"]

RESNET = [
    *("blocks.0.from_rgb", "blocks.0.conv", "blocks.0.conv_down", "blocks.0.skip"),
    *("blocks.1.conv", "blocks.1.conv_down", "blocks.1.skip"),
]
SKIP = [f"blocks.{i}.{name}" for i in (0, 1) for name in ("from_rgb", "conv", "conv_down")]


@every(
    ("override", "expected"),
    [
        ("discriminator.architecture=resnet", [*RESNET, *TAIL]),
        ("discriminator.architecture=orig", [name for name in RESNET if "skip" not in name] + TAIL),
        ("discriminator.architecture=skip", [*SKIP, "tail.from_rgb", *TAIL]),
        ("discriminator.architecture=growing", [name for name in RESNET if "skip" not in name] + TAIL),
    ],
)
def test_layers_count_from_the_image_on(override: str, expected: list[str]) -> None:
    assert layers(override) == expected


def test_growing_and_pyramid_discriminators_count_as_well() -> None:
    for preset, first in (
        ("progan", ["from_rgb.1024", "blocks.7.conv", "blocks.7.conv_down", "blocks.6.conv"]),
        ("stylegan-f", ["from_rgb.1024", "blocks.7.conv", "blocks.7.conv_down.conv", "blocks.6.conv"]),
        ("msg-stylegan", ["from_rgb", "blocks.7.conv", "blocks.7.conv_down.conv"]),
    ):
        with torch.device("meta"):
            d = build_discriminator(get(preset).discriminator)
        assert list(layers_from_image(d))[: len(first)] == first


def test_frozen_layers_stay_and_the_others_learn(tmp_path: Path) -> None:
    freeze = "freeze=d:3,mapping,g.synthesis_network.blocks.0"
    trainer = Trainer(tiny("resolution=8", freeze), opened(make_archive(tmp_path)), "cpu")
    before = {name: t.clone() for name, t in trainer.state()[0].items()}
    steps(trainer, 2)
    after = trainer.state()[0]
    still = ("g.mapping_network.", "g.synthesis_network.blocks.0.", "ema.mapping_network.")
    still += tuple(f"d.blocks.0.{name}." for name in ("from_rgb", "conv", "conv_down"))
    for name, tensor in before.items():
        if name.startswith(still):
            assert torch.equal(after[name], tensor), name
    for name in ("d.blocks.0.skip.weight", "d.tail.out.weight", "g.synthesis_network.blocks.1.conv.weight"):
        assert not torch.equal(after[name], before[name]), name
    assert not any(".blocks.0.from_rgb" in name for name in after if name.startswith("adam_d"))
    trainer.close()


@every(
    ("freeze", "message"),
    [
        (["d:0"], "has 7 layers, from the image on: blocks.0.from_rgb"),
        (["d:7"], "has 7 layers"),
        (["maping"], "no such layer"),
        (["d.blocks.0.convv"], "did you mean 'd.blocks.0.conv'"),
        (["d.blocks", "d.tail"], "the discriminator would learn nothing"),
    ],
)
def test_what_cannot_be_frozen_is_refused(freeze: list[str], message: str) -> None:
    g, d = build_generator(tiny().generator), build_discriminator(tiny().discriminator)
    with pytest.raises(UserError) as raised:
        frozen_layers(g, d, freeze)
    assert message in str(raised.value)
