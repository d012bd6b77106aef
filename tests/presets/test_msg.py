"""MSG-GAN's presets: what each row changes, and the numbers that the paper and its authors' code give."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from every import every
from presets.shrink import RESOLUTION, shrink
from styleloom import presets
from styleloom.config import Adam, GradientPenalty
from styleloom.networks.build import build_discriminator
from styleloom.presets import msg

from .rows import changed, values

# Tables 1 and 2, and section 6.2: px, batch of the row's GPUs (1: 4, 2: 32, 4: 16, 8: 32), kimg, mirror.
DATA = {
    "msg-progan": (1024, 16, 6000, "horizontal"),
    "msg-progan-celebahq": (1024, 32, 3200, "horizontal"),
    "msg-progan-flowers": (256, 4, 1700, "horizontal"),
    "msg-progan-indian-celebs": (256, 32, 2000, "horizontal"),
    "msg-progan-celeba": (128, 32, 28000, "horizontal"),
    "msg-progan-bedroom": (128, 32, 150000, "none"),
    "msg-stylegan": (1024, 16, 9600, "horizontal"),
    "msg-stylegan-celebahq": (1024, 32, 11000, "horizontal"),
    "msg-stylegan-flowers": (256, 32, 1600, "horizontal"),
    "msg-stylegan-indian-celebs": (256, 16, 1000, "horizontal"),
    "msg-stylegan-churches": (256, 32, 24000, "none"),
}
CIFAR = {f"msg-progan-cifar10-lr-{rate}": float(rate) for rate in ("0.001", "0.003", "0.005", "0.01")}
CONNECTIONS = ("none", "coarse", "middle", "fine", "all")

WGAN_GP = GradientPenalty("two-sided", gamma=10, every=1, target=1)
R1 = GradientPenalty("zero-centred", gamma=10, every=1)

ROWS: dict[tuple[str, str], dict[str, Any]] = {
    **{
        ("msg-progan", f"msg-progan-{name}"): {
            "generator.connections": name,
            "discriminator.connections": name,
        }
        for name in CONNECTIONS[:-1]
    },
    ("msg-progan", "msg-progan-all"): {},
    ("msg-progan", "msg-progan-lin-cat"): {"discriminator.combine": "lin_cat"},
    ("msg-progan", "msg-progan-cat-lin"): {"discriminator.combine": "cat_lin"},
    ("msg-stylegan", "msg-stylegan-lin-cat"): {"discriminator.combine": "lin_cat"},
    ("msg-stylegan", "msg-stylegan-simple"): {"discriminator.combine": "simple"},
    ("msg-progan", "msg-progan-rmsprop"): {"optimizer": "rmsprop"},
    ("msg-stylegan", "msg-stylegan-rmsprop"): {"optimizer": "rmsprop"},
}


def test_every_row_is_here() -> None:
    others = {"msg-progan-bmsg", "msg-stylegan-paper"}
    assert set(msg.PRESETS) == {*DATA, *CIFAR, *(after for _, after in ROWS), *others}


@every(("before", "after"), ROWS)
def test_a_row_changes_what_the_paper_says_alone(before: str, after: str) -> None:
    assert changed(before, after) == ROWS[before, after]


@every("name", DATA)
def test_data(name: str) -> None:
    px, batch, kimg, mirror = DATA[name]
    experiment = presets.get(name)
    assert experiment.resolution == px
    assert set(values(experiment.batch)) == {batch}
    assert experiment.total_kimg == kimg
    assert experiment.data.mirror == mirror
    base = "msg-progan" if "progan" in name else "msg-stylegan"
    assert set(changed(base, name)) <= {
        "generator.resolution",
        "discriminator.resolution",
        "batch.base",
        "total_kimg",
        "data.mirror",
    }


@every("name", CIFAR)
def test_learning_rates(name: str) -> None:
    experiment = presets.get(name)
    assert experiment.resolution == 32
    assert experiment.total_kimg == 12000
    assert set(values(experiment.learning_rate)) == {CIFAR[name]}
    fields = set(changed("msg-progan-cifar10-lr-0.003", name))
    assert fields == ({"learning_rate.base"} if CIFAR[name] != 0.003 else set())


@every("name", [name for name in msg.PRESETS if name != "msg-progan-bmsg"])
def test_what_all_share(name: str) -> None:
    experiment = presets.get(name)
    of_progan = "progan" in name
    assert experiment.loss == ("wgan" if of_progan else "nonsaturating")
    if name != "msg-stylegan-paper":
        assert experiment.d_regularizer == (WGAN_GP if of_progan else R1)
    assert experiment.drift == (0.001 if of_progan else 0)
    assert (experiment.g_regularizer.weight, experiment.g_regularizer.every) == (0, 1)
    assert experiment.adam == Adam(beta1=0, beta2=0.99, epsilon=1e-8)
    if name not in CIFAR:
        assert set(values(experiment.learning_rate)) == {0.003}
    assert experiment.step_order == "d-first"
    assert (experiment.ema_half_life_kimg, experiment.ema_beta) == (10, None)
    assert experiment.style_mixing == 0
    assert experiment.growth.mode == "none"
    assert experiment.discriminator.minibatch_std.group_size == 4
    assert experiment.discriminator.minibatch_std_at == "every"
    assert experiment.generator.features.base == experiment.discriminator.features.base == 8192


def test_networks() -> None:
    progan, stylegan = presets.get("msg-progan"), presets.get("msg-stylegan")
    assert (progan.generator.pixel_norm, progan.generator.gain) == ("3x3", "layer")
    d = progan.discriminator
    assert (d.combine, d.from_rgb_activation, d.pooling, d.gain) == ("simple", "linear", "after", "layer")
    g = stylegan.generator  # StyleGAN's configuration E
    assert (g.styles, g.input, g.noise, g.normalization) == (
        "adain",
        "constant",
        "per-channel",
        ("instance",),
    )
    assert (g.mapping.layers, g.w_avg_beta, g.blur) == (8, 0.995, (1, 2, 1))
    assert (stylegan.discriminator.combine, stylegan.discriminator.blur) == ("cat_lin", (1, 2, 1))
    for experiment in (progan, stylegan):
        assert experiment.generator.connections == experiment.discriminator.connections == "all"
        assert experiment.generator.pyramid_sides == (4, 8, 16, 32, 64, 128, 256, 512, 1024)


@every(
    ("name", "sides"),
    [
        ("none", (1024,)),
        ("coarse", (4, 8, 1024)),
        ("middle", (16, 32, 1024)),
        ("fine", (64, 128, 256, 512, 1024)),
    ],
)
def test_connections(name: str, sides: tuple[int, ...]) -> None:
    """Table 4; the full resolution always goes to the discriminator."""
    experiment = presets.get(f"msg-progan-{name}")
    assert experiment.generator.pyramid_sides == experiment.discriminator.pyramid_sides == sides


def test_the_earlier_code() -> None:
    experiment = presets.get("msg-progan-bmsg")
    assert experiment.loss == "relativistic-hinge"
    assert not experiment.d_regularizer.active
    assert experiment.drift == 0
    assert experiment.ema_beta == 0.999
    assert (experiment.step_order, experiment.shared_latents) == ("average-last", True)
    assert not any(presets.get(name).shared_latents for name in presets.names() if name != "msg-progan-bmsg")
    assert set(values(experiment.batch)) == {20}
    g, d = experiment.generator, experiment.discriminator
    assert (g.gain, d.gain) == ("sqrt2", "sqrt2")
    assert (d.combine, d.minibatch_std_at, d.pooling) == ("lin_cat", "lowest", "after")
    assert d.minibatch_std.group_size >= 20
    assert experiment.micro_batch == 0


def test_the_words_of_the_paper() -> None:
    """Sections 3.1 and 4, appendix 6.1: ProGAN's discriminator as Table 7 has it, RGB joined by cat_lin."""
    experiment = presets.get("msg-stylegan-paper")
    assert experiment.d_regularizer == GradientPenalty("one-sided", gamma=10, every=1, target=1)
    assert experiment.optimizer == "rmsprop"
    assert experiment.learning_rate(1024) == 0.003
    assert experiment.generator == presets.get("msg-stylegan").generator
    assert experiment.discriminator == presets.get("msg-progan-cat-lin").discriminator
    fields = changed("msg-stylegan-rmsprop", "msg-stylegan-paper")
    d = {name.removeprefix("discriminator."): new for name, new in fields.items() if "discriminator" in name}
    assert d == {
        "family": "msg-progan",
        "from_rgb_activation": "linear",
        "pooling": "after",
        "gain": "layer",
        "blur": None,  # there is none
        "blur_order": None,
    }
    assert set(fields) - {f"discriminator.{name}" for name in d} == {"d_regularizer.kind"}


def test_layers_of_the_papers_discriminator() -> None:
    """Table 7: FromRGB without activation, convolutions alone between it and AvgPool, nothing filtered."""
    small = shrink(presets.get("msg-stylegan-paper")).discriminator
    torch.manual_seed(0)
    d = build_discriminator(small)
    sides = [RESOLUTION >> i for i in reversed(range(len(small.sides)))]
    images = tuple(torch.randn(4, 3, side, side) for side in sides)
    x = torch.einsum("oi,nihw->nohw", d.from_rgb.weight[:, :, 0, 0] / 3**0.5, images[-1])
    x = d.blocks[-1].start(x, None)
    for conv in (d.blocks[-1].conv, d.blocks[-1].conv_down):
        x = F.conv2d(x, conv.weight * (2 / conv.weight[0].numel()) ** 0.5, conv.bias, padding=1)
        x = F.leaky_relu(x, 0.2)
    expected = F.avg_pool2d(x, 2)
    found: list[torch.Tensor] = []
    d.blocks[-1].register_forward_hook(lambda _m, _args, out: found.append(out))
    d(images)
    torch.testing.assert_close(found[0], expected)
