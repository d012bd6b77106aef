"""What a run will do, without doing it: schedule, parameters, cost."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from styleloom.config import Experiment
from styleloom.networks.assembly import finest
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


def phase_flops(experiment: Experiment) -> dict[str, float]:
    """Floating-point operations per image of each phase: convolutions and matrix products, about.

    Counted on the networks' forward passes. Back to the inputs costs one forward more, to the weights
    another; the second derivatives double a penalty's cost. Path length counts per image of the whole batch.
    """
    with torch.device("meta"):
        g, d = build_generator(experiment.generator), build_discriminator(experiment.discriminator)
        z = torch.zeros(1, experiment.generator.z_dim)
        label = torch.zeros(1, experiment.generator.label_dim)
        with FlopCounterMode(display=False) as counter:
            images = finest(g(z, label, noise="none"))
        forward_g = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            d(images.detach(), label)
        forward_d = counter.get_total_flops()
    return {
        "g_main": 3 * forward_g + 2 * forward_d,
        "g_path_length": 6 * forward_g / experiment.g_regularizer.batch_shrink,
        "d_main": forward_g + 6 * forward_d,
        "d_r1": 6 * forward_d,
    }


def training_flops(experiment: Experiment) -> float:
    """Floating-point operations of the whole run, about; a growing run costs less than this."""
    flops = phase_flops(experiment)
    path, r1 = experiment.g_regularizer, experiment.d_regularizer
    per_image = flops["g_main"] + flops["d_main"]
    per_image += flops["g_path_length"] / path.every if path.weight > 0 else 0
    per_image += flops["d_r1"] / r1.every if r1.gamma > 0 else 0
    return experiment.total_kimg * 1000 * per_image
