"""What can be measured, by name: `fid50k`, `kid10k_lite0`, `ppl2_wend`, ...

A name says what a number is. The count is part of it, and so is the feature network wherever it is not the
one that the metric was defined with: only the Fréchet distance in the network of 2015 is called FID.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from styleloom.errors import UserError, nearest, quoted
from styleloom.features.registry import entry, names
from styleloom.metrics.evaluation.image_sets import Choice

Better: TypeAlias = Literal["lower", "higher"]
"""Which values of a metric are better."""

MAX_NUM = 1_000_000
"""Images that an evaluation makes at most: a repeat has 2^20 seeds."""

ALL = "all"
"""In place of a number: every image of both sets."""

_NUM = r"(?P<num>[1-9]\d*k?)?"
_IMAGES = rf"(?P<num>[1-9]\d*k?|{ALL})?"
_CHOICE = r"(?:_(?P<choice>full|random))?"
_NETWORK = r"(?:_(?P<network>[a-z][\w.-]*))?"


@dataclass(frozen=True)
class Kind:
    """A metric with its options open.

    Args:
        pattern: of names, with groups named as the fields of `Definition`.
        num: images, pairs or samples where the name says no number.
        text: what it is, with its source.
        network: feature network that it is defined with; None where there is none.
        better: which values are better; None where that depends.
        needs_reals: whether it compares with real images.
        needs_generator: whether it needs a generator rather than images of any origin.
        needs_classifiers: whether it needs classifiers of attributes.
        pairs: whether the number counts pairs of images.
        choice: rule for the reals where the name says none.
        example: a name that it takes.
    """

    pattern: str
    num: int
    text: str
    network: str | None = None
    better: Better | None = "lower"
    needs_reals: bool = False
    needs_generator: bool = False
    needs_classifiers: bool = False
    pairs: bool = False
    choice: Choice = "first"
    example: str = ""


KINDS: dict[str, Kind] = {
    "fid": Kind(
        rf"fid{_IMAGES}{_CHOICE}(?:_mix(?P<latents>[1-4]))?",
        50_000,
        "Fréchet inception distance (Heusel et al. 2017) of so many generated images to the reals; mixN: "
        "images of N latents at random crossover points (StyleGAN Table 2)",
        network="inception-2015",
        needs_reals=True,
        example="fid50k, fid50k_full, fid50k_mix2, fidall",
    ),
    "fd": Kind(
        rf"fd{_IMAGES}{_CHOICE}(?:_mix(?P<latents>[1-4]))?{_NETWORK[:-1]}",
        50_000,
        "Fréchet distance as in FID, in the features of another network",
        network="efficientnet-lite0",
        needs_reals=True,
        example="fd10k_lite0",
    ),
    "kid": Kind(
        rf"kid{_IMAGES}{_CHOICE}{_NETWORK}",
        50_000,
        "kernel inception distance (Bińkowski et al. 2018), unbiased, mean over 100 subsets of 1000 or all",
        network="inception-2015",
        needs_reals=True,
        example="kid50k, kid10k_lite0",
    ),
    "is": Kind(
        rf"is{_IMAGES}{_NETWORK}",
        50_000,
        "inception score (Salimans et al. 2016), mean and deviation over 10 splits; in inception-2015 the "
        "logits have no bias",
        network="inception-2015",
        better="higher",
        example="is50k",
    ),
    "pr": Kind(
        rf"pr(?P<num>[1-9]\d*k(?=[1-9]?(?:_|$))|[1-9]\d*|{ALL})?(?P<neighbours>(?<=[kl])[1-9])?"
        rf"{_CHOICE}{_NETWORK}",
        50_000,
        "precision and recall (Kynkäänniemi et al. 2019) by the k-th nearest neighbour, 3 unless said; "
        "higher is better, but one is had at the cost of the other",
        network="vgg16",
        better=None,
        needs_reals=True,
        example="pr50k3, pr10k3_lite0",
    ),
    "ppl": Kind(
        rf"ppl_(?P<space>z|w)(?P<sampling>full|end){_NUM}{_NETWORK}",
        100_000,
        "perceptual path length (StyleGAN section 4.1) of the central crop, epsilon 1e-4",
        network="lpips-vgg",
        needs_generator=True,
        example="ppl_zfull, ppl_wend50k",
    ),
    "ppl2": Kind(
        rf"ppl2_(?P<space>z|w)(?P<sampling>full|end){_NUM}{_NETWORK}",
        50_000,
        "perceptual path length of the whole image (StyleGAN2, second version of Tables 1 to 3)",
        network="lpips-vgg",
        needs_generator=True,
        example="ppl2_wend, ppl2_wend10k_lite0",
    ),
    "ppl_images": Kind(
        rf"ppl_images{_NUM}{_NETWORK}",
        1000,
        "perceptual path length of each image, mean of 16 directions (StyleGAN2 Figs. 4 and 5)",
        network="lpips-vgg",
        needs_generator=True,
        example="ppl_images1k",
    ),
    "separability": Kind(
        rf"separability(?:_(?P<space>z|w))?{_NUM}",
        200_000,
        "linear separability (StyleGAN section 4.2) of the attributes of --classifiers, in Z and W, by the "
        "authors' solver, which stops after 1000 iterations: minutes for each attribute",
        needs_generator=True,
        needs_classifiers=True,
        example="separability, separability_w",
    ),
    "separability_primal": Kind(
        rf"separability_primal(?:_(?P<space>z|w))?{_NUM}",
        200_000,
        "the same by the optimum of the primal problem, on samples sorted by the logit: seconds for each "
        "attribute, and lower than published numbers",
        needs_generator=True,
        needs_classifiers=True,
        example="separability_primal, separability_primal_w",
    ),
    "swd": Kind(
        rf"swd{_IMAGES}",
        16_384,
        "sliced Wasserstein distance x 1000 (ProGAN section 5), by level and mean",
        needs_reals=True,
        example="swd, swd2k",
    ),
    "ms_ssim": Kind(
        rf"ms_ssim{_IMAGES}",
        10_000,
        "multi-scale structural similarity of so many pairs (ProGAN section 5), the mean over channels at "
        "each scale: lower is more varied; to be compared with that of reals",
        better=None,
        pairs=True,
        choice="random",  # neighbours in a data set may be alike
        example="ms_ssim",
    ),
    "ms_ssim_per_channel": Kind(
        rf"ms_ssim_per_channel{_IMAGES}",
        10_000,
        "the same, each channel's product over the scales first, then the mean over channels",
        better=None,
        pairs=True,
        choice="random",
        example="ms_ssim_per_channel",
    ),
    "resolution_usage": Kind(
        rf"resolution_usage{_NUM}",
        1024,
        "share of each resolution in the output of a skip generator (StyleGAN2 Fig. 8)",
        better=None,
        needs_generator=True,
        example="resolution_usage",
    ),
    "jacobian": Kind(
        rf"jacobian{_NUM}",
        16,
        "singular values of the generator's Jacobian, relative to the largest (StyleGAN2 Fig. 17)",
        better=None,
        needs_generator=True,
        example="jacobian",
    ),
    "stability": Kind(
        rf"stability{_NUM}",
        36,
        "mean squared change of images of fixed latents from snapshot to snapshot (MSG-GAN Fig. 6)",
        needs_generator=True,
        example="stability",
    ),
}


@dataclass(frozen=True)
class Definition:
    """One metric, as asked for.

    Args:
        name: as given.
        kind: in `KINDS`.
        num: images, pairs or samples; 0 for every image of both sets.
        network: name of the feature network; None where there is none.
        choice: which reals; see `image_sets.Selection`.
        latents: mixed in a generated image.
        neighbours: k of precision and recall.
        space, sampling: of a path length; space None is both.
    """

    name: str
    kind: str
    num: int
    network: str | None = None
    choice: Choice = "first"
    latents: int = 1
    neighbours: int = 3
    space: Literal["z", "w"] | None = None
    sampling: Literal["full", "end"] = "end"

    @property
    def of(self) -> Kind:
        """What it is one of."""
        return KINDS[self.kind]


def parse(name: str) -> Definition:
    """The metric called `name`. Raises UserError with the names that there are."""
    for kind, known in KINDS.items():
        found = re.fullmatch(known.pattern, name)
        if found:
            return _definition(name, kind, found.groupdict())
    examples = [part for known in KINDS.values() for part in known.example.split(", ")]
    raise UserError(
        f"metric: {quoted(name)} does not exist, {nearest(name, examples)}examples: {', '.join(examples)}; a "
        "number counts generated images, all takes every image of two sets, a last word names the feature "
        "network"
    )


def parse_all(names: str) -> tuple[Definition, ...]:
    """Of "fid50k,kid50k", in order. Raises UserError for an unknown, empty or repeated name."""
    parts = [part.strip() for part in names.split(",")]
    if len(set(parts)) != len(parts):
        twice = next(part for part in parts if parts.count(part) > 1)
        raise UserError(f"metrics: {quoted(twice)} is given more than once")
    return tuple(parse(part) for part in parts)


def _definition(name: str, kind: str, groups: Mapping[str, str | None]) -> Definition:
    known = KINDS[kind]
    given = {field: text for field, text in groups.items() if text is not None}
    fields: dict[str, Any] = {"choice": known.choice}
    fields |= {
        field: int(text) if field in ("latents", "neighbours") else text
        for field, text in given.items()
        if field not in ("num", "network")
    }
    network = _network(name, given["network"]) if "network" in given else known.network
    num = _count(given["num"]) if "num" in given else known.num
    if num * (2 if known.pairs else 1) > MAX_NUM:
        raise UserError(f"metric: {name} asks for {num:,}; valid: at most {MAX_NUM:,}")
    return Definition(name, kind, num, network, **fields)


def _count(text: str) -> int:
    """ "10k" to 10000, "all" to 0."""
    if text == ALL:
        return 0
    return int(text[:-1]) * 1000 if text.endswith("k") else int(text)


def _network(metric: str, suffix: str) -> str:
    """The network of that short or whole name."""
    for name in names():
        if suffix in (name, entry(name).suffix):
            return name
    valid = [entry(name).suffix for name in names()]
    raise UserError(
        f"metric: {quoted(metric)} names no feature network, {nearest(suffix, valid)}choose "
        f"from {', '.join(valid)}"
    )
