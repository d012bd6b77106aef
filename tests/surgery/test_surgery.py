"""Networks for other images start with the pictures, and the judgements, that there were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from every import every
from styleloom.config import Experiment, apply_overrides
from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.ops.upfirdn import downsample2d, upsample2d
from styleloom.presets import get
from styleloom.snapshot import Snapshot, read_snapshot, write_snapshot
from styleloom.surgery import Change, operate
from styleloom.surgery.channels import conversion
from styleloom.types import GrowthState, Images

SMALL = ("resolution=16", "generator.features.max=12", "discriminator.features.max=12", "growth.mode=none")
NARROW = ("generator.w_dim=16", "generator.mapping.layers=2", "generator.mapping.width=16")

SKIP = ("generator.architecture=skip", "discriminator.architecture=skip")
ORIG = ("generator.architecture=skip", "discriminator.architecture=orig")


def experiment(name: str, *overrides: str) -> Experiment:
    mapped = NARROW if "progan" not in name else ()
    shared = (*SMALL, *mapped, "generator.z_dim=16", "batch=4", "precision=fp32")
    return apply_overrides(get(name), [*shared, *overrides])


def snapshot(of: Experiment) -> Snapshot:
    """A snapshot with all networks; nothing in them is zero or one."""
    torch.manual_seed(0)
    g, raw = build_generator(of.generator), build_generator(of.generator)
    d = build_discriminator(of.discriminator)
    for network in (g, raw, d):
        for parameter in network.parameters():
            parameter.data += torch.randn_like(parameter) * 0.3
        network.eval().requires_grad_(False)
    g.w_avg.normal_()
    return Snapshot(g, of, {"images_seen": 5}, raw=raw, discriminator=d)


def label(s: Snapshot) -> Tensor | None:
    dim = s.experiment.generator.label_dim
    return torch.eye(dim)[[i % dim for i in range(4)]] if dim else None


def pictures(s: Snapshot, growth: GrowthState | None = None) -> Images:
    z = torch.randn(4, s.generator.z_dim, generator=torch.Generator().manual_seed(1))
    ws = s.generator.mapping(z, label(s))
    return s.generator.synthesis(ws, growth or s.growth, "fixed")


def logits(s: Snapshot, images: Images, growth: GrowthState | None = None) -> Tensor:
    assert s.discriminator is not None
    return s.discriminator(images, label(s), growth)


def check(found: Images, expected: Images) -> None:
    for ours, theirs in zip(*((x,) if isinstance(x, Tensor) else x for x in (found, expected)), strict=True):
        assert ours.shape == theirs.shape
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5


def one(images: Images) -> Tensor:
    assert isinstance(images, Tensor)
    return images


def lowest(s: Snapshot) -> Tensor:
    return s.generator.state_dict()["synthesis_network.const"]


def fresh(s: Snapshot) -> list[str]:
    return [name for record in s.info["surgery"] for name in record["fresh"]]


@every(
    ("name", "labels"),
    [
        (name, labels)
        for name in ("stylegan2-f", "stylegan-f", "msg-stylegan")
        for labels in ("concat", "embed", "join")
    ],
)
def test_every_class_starts_with_the_same_pictures(name: str, labels: str) -> None:
    was = snapshot(experiment(name, f"generator.mapping.labels={labels}"))
    now = operate(was, Change(label_dim=3))
    images = pictures(was)
    check(pictures(now), images)
    check(logits(now, images), logits(was, images))
    assert now.experiment.generator.label_dim == now.experiment.discriminator.label_dim == 3
    mapping = now.generator.mapping_network.requires_grad_()  # classes can become different
    mapping(torch.randn(4, 16), label(now)).sum().backward()
    parameters = dict(mapping.named_parameters())
    moved = [p.grad for name, p in parameters.items() if "label" in name]
    first = parameters["layers.0.weight"].grad
    assert first is not None
    assert any(bool(grad.any()) for grad in (*moved, first[:, 16:]) if grad is not None)


@every(
    ("name", "old", "new"),
    [
        *(
            (name, old, new)
            for name in ("stylegan2-f", "stylegan-f", "progan")
            for old, new in ((3, 4), (3, 1), (1, 3), (4, 3), (1, 4), (4, 1))
        ),
        *(("msg-stylegan", old, new) for old, new in ((3, 4), (3, 1), (1, 3))),
    ],
)
def test_other_channels_are_the_same_pictures(name: str, old: int, new: int) -> None:
    was = snapshot(experiment(name, f"channels={old}"))
    now = operate(was, Change(channels=new))

    def converted(images: Images, a: int, b: int) -> Images:
        to = conversion(a, b)
        if not isinstance(images, Tensor):
            return tuple(converted(x, a, b) for x in images)  # type: ignore[misc]
        return torch.einsum("nc,bchw->bnhw", to.matrix, images) + to.offset[:, None, None]

    images = converted(pictures(was), old, new)
    check(pictures(now), images)
    check(logits(now, images), logits(was, converted(images, new, old)))
    assert fresh(now) == []
    if new == 4:
        top = images if isinstance(images, Tensor) else images[-1]
        assert torch.equal(top[:, 3], torch.ones_like(top[:, 3]))  # opaque


@every(("overrides"), [(), SKIP, ORIG])
def test_new_levels_of_a_sum_add_nothing(overrides: tuple[str, ...]) -> None:
    was = snapshot(experiment("stylegan2-f", *overrides))
    for steps in (1, 2):
        side = 16 << steps
        now = operate(was, Change(resolution=side))
        larger = one(pictures(was))
        images = reduced = torch.randn(4, 3, side, side)
        for _ in range(steps):
            larger, reduced = upsample2d(larger, (1, 3, 3, 1)), downsample2d(reduced, (1, 3, 3, 1))
        check(pictures(now), larger)
        check(logits(now, images), logits(was, reduced))
        assert any("blocks.3.conv_up.weight" in name for name in fresh(now))


@every("name", ["stylegan-f", "stylegan2-d", "progan"])
def test_growing_networks_grow_on_or_stop_earlier(name: str) -> None:
    was = snapshot(experiment(name))
    images = pictures(was)
    now = operate(was, Change(resolution=64))
    assert now.growth == GrowthState(2, 1.0)
    check(pictures(now), images)
    check(logits(now, images, now.growth), logits(was, images))
    lower = GrowthState(1, 1.0)
    small = operate(was, Change(resolution=8))
    check(pictures(small), pictures(was, lower))
    check(logits(small, pictures(small)), logits(was, pictures(small), lower))
    with pytest.raises(UserError, match="still grow"):
        operate(now, Change(resolution=128))


def test_levels_of_a_pyramid_stay() -> None:
    was = snapshot(experiment("msg-stylegan"))
    check(pictures(operate(was, Change(resolution=32)))[:3], pictures(was))
    check(pictures(operate(was, Change(resolution=8))), pictures(was)[:2])


def test_removed_levels_that_added_nothing_leave_no_trace() -> None:
    was = snapshot(experiment("stylegan2-f", *SKIP))
    larger = operate(was, Change(resolution=32))
    again = operate(larger, Change(resolution=16))
    check(pictures(again), pictures(was))
    images = torch.randn(4, 3, 16, 16)
    check(logits(again, images), logits(was, images))
    assert not any(record["fresh"] for record in again.info["surgery"][1:])


def test_the_highest_level_left_makes_up_for_those_removed() -> None:
    was = snapshot(experiment("stylegan2-f", *SKIP))
    target = avg_pool2d(one(pictures(was)), 2)
    now = operate(was, Change(resolution=8))
    found = one(pictures(now))
    weights, old = now.generator.state_dict(), was.generator.state_dict()
    for name in ("weight", "bias"):
        full_name = f"synthesis_network.blocks.1.to_rgb.{name}"
        weights[full_name].copy_(old[full_name])
    cut = one(pictures(now))
    assert float((found - target).square().mean()) < 0.9 * float((cut - target).square().mean())


@every("name", ["stylegan2-f", "stylegan-f", "progan", "msg-stylegan"])
def test_another_aspect_and_back(name: str) -> None:
    was = snapshot(experiment(name))
    images = pictures(was)
    wide = operate(was, Change(grid=(4, 6)))
    shown = pictures(wide)
    top = shown if isinstance(shown, Tensor) else shown[-1]
    assert top.shape[2:] == (16, 24)
    again = operate(wide, Change(grid=(4, 4)))
    check(pictures(again), images)
    check(logits(again, images), logits(was, images))
    narrow = pictures(operate(was, Change(grid=(3, 5))))
    assert (narrow if isinstance(narrow, Tensor) else narrow[-1]).shape[2:] == (12, 20)


def test_the_lowest_level_keeps_its_middle() -> None:
    was = snapshot(experiment("stylegan2-f"))
    const = lowest(was)
    wide = lowest(operate(was, Change(grid=(4, 7))))
    assert torch.equal(wide[..., 1:5], const)
    assert not wide[..., [0, 5, 6]].any()  # what the first convolution saw beyond the border
    narrow = lowest(operate(was, Change(grid=(2, 4))))
    assert torch.equal(narrow, const[:, :, 1:3])


def test_several_changes_are_one_file(tmp_path: Path) -> None:
    was = snapshot(experiment("stylegan2-f"))
    now = operate(was, Change(label_dim=2, channels=4, grid=(4, 6), resolution=32))
    write_snapshot(
        tmp_path / "x.safetensors", now.generator, now.experiment, now.raw, now.discriminator, **now.info
    )
    read = read_snapshot(tmp_path / "x.safetensors")
    assert [record["field"] for record in read.info["surgery"]] == [
        *("label_dim", "channels", "grid", "resolution"),
    ]
    assert one(pictures(read)).shape == (4, 4, 32, 48)
    same = operate(was, Change(channels=3, resolution=16))
    assert same is was


@every(
    ("name", "overrides", "change", "message"),
    [
        ("progan", (), {"label_dim": 2}, "no mapping network"),
        ("stylegan2-f", ("label_dim=2",), {"label_dim": 3}, "have 2 classes already"),
        ("stylegan2-f", (), {"channels": 2}, "between 1, 3 and 4 only"),
        ("stylegan2-f", ("generator.architecture=resnet",), {"resolution": 32}, "full resolution alone"),
        ("stylegan2-f", ("generator.architecture=orig",), {"resolution": 8}, "full resolution alone"),
        ("stylegan2-f", (), {"resolution": 24}, "resolution: 24"),
        ("stylegan2-f", (), {"grid": (4, 40)}, "grid"),
    ],
)
def test_what_cannot_be_done_is_refused(
    name: str, overrides: tuple[str, ...], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as raised:
        operate(snapshot(experiment(name, *overrides)), Change(**change))
    assert message in str(raised.value)
