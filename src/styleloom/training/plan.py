"""What a run will do, without doing it: schedule, parameters, cost."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from styleloom.config import Experiment
from styleloom.networks.build import build_discriminator, build_generator, count_parameters
from styleloom.training.growth import growth_at, lod_at, resolution_at


def timeline(experiment: Experiment) -> list[dict[str, float]]:
    """The schedule at every point where it changes: kimg, resolution, alpha, batch, learning_rate."""
    growth = experiment.growth
    points = [0.0]
    if growth.mode != "none":
        period = growth.stabilize_kimg + growth.fade_kimg
        starts = [period * i for i in range(int(experiment.total_kimg // max(period, 1e-9)) + 1)]
        points = sorted({p for s in starts for p in (s, s + growth.stabilize_kimg)})
    rows = []
    for kimg in [p for p in points if p < experiment.total_kimg] + [experiment.total_kimg]:
        resolution = resolution_at(lod_at(kimg * 1000, growth, experiment.resolution), experiment.resolution)
        state = growth_at(kimg * 1000, growth, experiment.resolution)
        row = {
            "kimg": kimg,
            "resolution": resolution,
            "alpha": 1.0 if state is None else state.alpha,
            "batch": experiment.batch(resolution),
            "learning_rate": experiment.learning_rate(resolution),
        }
        if not rows or kimg == experiment.total_kimg or row != rows[-1] | {"kimg": kimg}:
            rows.append(row)
    return rows


def parameter_table(experiment: Experiment) -> list[tuple[str, str, int]]:
    """(network, part, trainable parameters), block by block, then the totals."""
    with torch.device("meta"):
        g, d = build_generator(experiment.generator), build_discriminator(experiment.discriminator)
    rows: list[tuple[str, str, int]] = []
    for network, module in (("generator", g), ("discriminator", d)):
        counts: dict[str, int] = {}
        for name, parameter in module.named_parameters():
            words = [w for w in name.split(".") if w not in ("synthesis_network",)]
            part = ".".join(words[:2]) if words[0] == "blocks" else words[0]
            counts[part] = counts.get(part, 0) + parameter.numel()
        rows += [(network, part, count) for part, count in counts.items()]
        rows.append((network, "total", count_parameters(module)))
    return rows


def training_flops(experiment: Experiment) -> float:
    """Floating-point operations of the convolutions and matrix products of the whole run, about.

    Counted on the networks' forward passes; a backward pass counts twice its forward, the derivative of a
    gradient penalty three times. Growing runs cost less than this.
    """
    with torch.device("meta"):
        g, d = build_generator(experiment.generator), build_discriminator(experiment.discriminator)
        z = torch.zeros(1, experiment.generator.z_dim)
        label = torch.zeros(1, experiment.generator.label_dim)
        with FlopCounterMode(display=False) as counter:
            images = g(z, label, noise="none")
        forward_g = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            d(images.detach(), label)
        forward_d = counter.get_total_flops()
    main = 3 * forward_g + 2 * forward_d + forward_g + 6 * forward_d  # G step, then D step
    path, r1 = experiment.g_regularizer, experiment.d_regularizer
    lazy = 0.0
    if path.weight > 0:
        lazy += 6 * forward_g / path.batch_shrink / path.every
    if r1.gamma > 0:
        lazy += 6 * forward_d / r1.every
    return experiment.total_kimg * 1000 * (main + lazy)
