"""What a run will do, without doing it: schedule, parameters, cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from styleloom.config import Experiment
from styleloom.config.growth import growth_at
from styleloom.config.schedules import at, by_images, constant, values
from styleloom.networks.build import build_discriminator, build_generator, count_parameters
from styleloom.training.freezing import frozen_layers
from styleloom.training.losses import compares_with_reals
from styleloom.training.regularizers import like, needs_fakes, scales
from styleloom.types import GrowthState, Images

# ---- schedule


class Interval(NamedTuple):
    """Part of a run that trains one level, either while it fades in or when it is fully there.

    Args:
        start_kimg: thousands of images seen at its start.
        end_kimg: at its end.
        level: 0 at 4 x 4 px.
        fades: whether the level fades in.
    """

    start_kimg: float
    end_kimg: float
    level: int
    fades: bool


def intervals(experiment: Experiment) -> list[Interval]:
    """The run from its first image to its last; without growth, one interval."""
    growth, total, sides = experiment.growth, experiment.total_kimg, experiment.generator.sides
    starts = {0.0}
    if growth.mode == "progressive":
        phase = growth.stabilize_kimg + growth.fade_kimg
        for index in range(len(sides) - sides.index(growth.initial_resolution) - 1):
            starts |= {phase * index + growth.stabilize_kimg, phase * (index + 1)}
    found = []
    for start, end in pairwise([*sorted(start for start in starts if start < total), total]):
        state = growth_at((start + end) / 2 * 1000, growth, experiment.resolution)
        found.append(
            Interval(start, end, len(sides) - 1, False)
            if state is None
            else Interval(start, end, state.level, state.alpha < 1)
        )
    return found


def timeline(experiment: Experiment) -> list[dict[str, float]]:
    """The schedule at every point where it changes, and at the end.

    Each row has kimg, level (0 at 4 x 4 px), resolution, alpha, batch, learning_rate, and the value of every
    number by images seen under its dotted name (the factor of the learning rate is in that). A level that
    fades in starts at alpha 0 and has its batch and learning rate from there on.
    """
    parts, total, changing = intervals(experiment), experiment.total_kimg, by_images(experiment)
    knots = {float(knot.kimg) for number in changing.values() for knot in number.knots}
    starts = {part.start_kimg: part for part in parts}
    rows: list[dict[str, float]] = []
    for kimg in [*sorted({*starts, *(knot for knot in knots if knot < total)}), total]:
        part = [part for part in parts if part.start_kimg <= kimg][-1]
        state = growth_at(kimg * 1000, experiment.growth, experiment.resolution)
        alpha = 1.0 if state is None else state.alpha
        if kimg in starts:  # at the start of a fade the row is that of the new level, at alpha 0
            alpha = 0.0 if part.fades else 1.0
        resolution = experiment.generator.sides[part.level]
        now = at(experiment, kimg * 1000)
        row: dict[str, float] = {
            "kimg": kimg,
            "level": part.level,
            "resolution": resolution,
            "alpha": alpha,
            "batch": experiment.batch(resolution),
            "learning_rate": experiment.learning_rate(resolution) * constant(now.learning_rate_factor),
        }
        others = [name for name in changing if name != "learning_rate_factor"]
        rows.append(row | {name: changing[name](kimg * 1000) for name in others})
    return rows


# ---- networks without storage


class MetaNetworks:
    """Generator and discriminator on torch's meta device: shapes, no numbers."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.top = len(experiment.generator.sides) - 1
        self.grow = experiment.generator.grows and experiment.discriminator.grows
        with torch.device("meta"):
            self.g = build_generator(experiment.generator)
            self.d = build_discriminator(experiment.discriminator)

    @property
    def levels(self) -> Sequence[int]:
        """Levels at which the networks can work: all of them if they grow, else the highest."""
        return range(self.top + 1) if self.grow else (self.top,)

    def generate(self, level: int) -> Images:
        """One image, or pyramid, of `level`."""
        cfg = self.experiment.generator
        with torch.device("meta"):
            z, label = torch.zeros(1, cfg.z_dim), torch.zeros(1, cfg.label_dim)
            images = self.g(z, label, noise="none", growth=self._growth(level))
        return like(images, [image.detach() for image in scales(images)])

    def discriminate(self, images: Images, level: int) -> Tensor:
        """Outputs for images of `level`."""
        with torch.device("meta"):
            return self.d(images, torch.zeros(1, self.experiment.generator.label_dim), self._growth(level))

    def _growth(self, level: int) -> GrowthState | None:
        return GrowthState(level, 1.0) if self.grow else None

    def forward_flops(self, level: int) -> tuple[int, int]:
        """Floating-point operations of one image's way through each network at `level`."""
        with FlopCounterMode(display=False) as way_through_g:
            images = self.generate(level)
        with FlopCounterMode(display=False) as way_through_d:
            self.discriminate(images, level)
        return way_through_g.get_total_flops(), way_through_d.get_total_flops()


# ---- parameters


class Part(NamedTuple):
    """A row of the table of parameters.

    Args:
        network: "generator" or "discriminator".
        part: nominal side of its level, px, where it belongs to one, and dotted name of the module: "64 px
            blocks.4"; "total" for the sum.
        parameters: trainable ones.
    """

    network: str
    part: str
    parameters: int


def parameter_table(experiment: Experiment) -> list[Part]:
    """Trainable parameters, from the lowest level up, layers to and from RGB apart, and the totals.

    Parameters that the experiment freezes have a row of their own, and are not in the totals.
    """
    networks = MetaNetworks(experiment)
    for layer in frozen_layers(networks.g, networks.d, experiment.freeze):
        layer.requires_grad_(False)
    modules = {"generator": networks.g, "discriminator": networks.d}
    sides = {name: _watch_sides(module, experiment.generator.grid[0]) for name, module in modules.items()}
    for level in networks.levels:
        networks.discriminate(networks.generate(level), level)
    rows: list[Part] = []
    for network, module in modules.items():
        counts: dict[str, int] = {}
        for name, parameter in module.named_parameters():
            part = part_of(name) if parameter.requires_grad else "frozen"
            counts[part] = counts.get(part, 0) + parameter.numel()
        for part in sorted(counts, key=lambda part: sides[network].get(part, 0)):
            level = f"{sides[network][part]} px " if part in sides[network] else ""
            rows.append(Part(network, level + part.removeprefix(SYNTHESIS), counts[part]))
        rows.append(Part(network, "total", count_parameters(module)))
    return rows


SYNTHESIS = "synthesis_network."


def part_of(name: str) -> str:
    """The part that a parameter is counted with: `blocks.3.conv.weight` -> `blocks.3`.

    Every block is a part, and so is every layer to or from RGB; else the topmost module.
    """
    prefix, words = SYNTHESIS * name.startswith(SYNTHESIS), name.removeprefix(SYNTHESIS).split(".")
    rgb = next((i for i, word in enumerate(words) if word in ("to_rgb", "from_rgb")), 0)
    length = rgb + 1
    if words[rgb] in ("to_rgb", "from_rgb", "blocks") and words[length].isdigit():
        length += 1
    return prefix + ".".join(words[:length])


def _watch_sides(network: nn.Module, rows: int) -> dict[str, int]:
    """Nominal side, px, of the largest map that goes into or out of each part; filled in by forward passes.

    Args:
        network: with parameters on any device.
        rows: of the lowest level's grid.
    """
    sides: dict[str, int] = {}

    def see(part: str, tensors: Sequence[Any]) -> None:
        heights = [x.shape[2] for x in tensors if isinstance(x, Tensor) and x.ndim == 4]
        if heights:
            sides[part] = max(sides.get(part, 0), max(heights) * 4 // rows)

    parts = {part_of(name) for name, _ in network.named_parameters()}
    for name, module in network.named_modules():
        if name in parts:
            module.register_forward_hook(lambda _, given, made, name=name: see(name, (*given, made)))
    for name, parameter in network.named_parameters():
        if name in parts:  # the learned constant
            see(name, (parameter,))
    return sides


# ---- cost


def phase_flops(experiment: Experiment) -> dict[str, float]:
    """Floating-point operations per image of each phase at full resolution.

    An estimate from the convolutions and matrix products of the networks' forward passes. The backward pass
    costs one forward pass for the gradients of the inputs and one for those of the weights; a penalty's
    second derivatives double its cost. Path length counts per image of the whole batch.
    """
    networks = MetaNetworks(experiment)
    return _phase_flops(experiment, *networks.forward_flops(networks.top))


def _phase_flops(experiment: Experiment, forward_g: float, forward_d: float) -> dict[str, float]:
    penalty = experiment.d_regularizer
    passes = (max(values(penalty.gamma)) > 0) + penalty.punishes_fakes
    # A lazy penalty generates fakes of its own.
    again = forward_g if penalty.every > 1 and needs_fakes(penalty) else 0
    return {
        "g_main": 3 * forward_g + (2 + compares_with_reals(experiment.loss)) * forward_d,
        "g_path_length": 6 * forward_g / experiment.g_regularizer.batch_shrink,
        "d_main": forward_g + 6 * forward_d,
        "d_penalty": passes * 6 * forward_d + again,
    }


def flops_per_image(experiment: Experiment) -> dict[int, tuple[float, list[Interval]]]:
    """By level that the run trains: floating-point operations per image, and when it is trained.

    A fading level counts as if fully there.
    """
    networks = MetaNetworks(experiment)
    path, penalty = experiment.g_regularizer, experiment.d_regularizer
    found: dict[int, tuple[float, list[Interval]]] = {}
    for part in intervals(experiment):
        if part.level not in found:
            flops = _phase_flops(experiment, *networks.forward_flops(part.level))
            per_image = flops["g_main"] + flops["d_main"]
            per_image += flops["g_path_length"] / path.every if path.weight > 0 else 0
            per_image += flops["d_penalty"] / penalty.every if penalty.active else 0
            found[part.level] = per_image, []
        found[part.level][1].append(part)
    return found


def training_flops(experiment: Experiment) -> float:
    """Floating-point operations of the whole run, estimated; a fading level counts as if fully there."""
    return sum(
        flops * 1000 * (part.end_kimg - part.start_kimg)
        for flops, parts in flops_per_image(experiment).values()
        for part in parts
    )
