"""Which images a command is to make: its flags for seeds, truncation, labels and noise, read and checked."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from styleloom.config.parts import NoiseMode, Rng
from styleloom.config.seeds import MAX_IMAGE_SEED
from styleloom.errors import UserError, quoted, shown
from styleloom.file_hash import sha256_of

if TYPE_CHECKING:
    from torch import Tensor

    from styleloom.image_request import Request
    from styleloom.latents import Latents
    from styleloom.networks.assembly import Truncation
    from styleloom.sampling import Sampler

MAX_IMAGES = 1_000_000

MAX_LABEL_BYTES = 2**26
"""Longest file of labels."""

RNGS: dict[str, Rng] = {"np": "numpy", "numpy": "numpy", "torch": "torch"}
"""What may stand before a colon and seeds."""


@dataclass(frozen=True)
class WantedImages:
    """Images of seeds: lists with a value for each image, or None for what is not given.

    Args:
        truncation: as it was typed.
        others: as `Generate` has them.
    """

    kind: ClassVar[str] = "seeds"

    seeds: list[int]
    rngs: list[Rng]
    classes: list[int] | None
    labels: list[list[float]] | None
    noise_seeds: list[int] | None
    noise: NoiseMode
    truncation: str
    truncation_layers: int | None

    def __post_init__(self) -> None:
        parse_truncation(self.truncation)  # wrong words are refused before torch is imported

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def settings(self) -> dict[str, Any]:
        """What all images have in common, as JSON."""
        return {
            "truncation": parse_truncation(self.truncation),
            "truncation_layers": self.truncation_layers,
            "noise": self.noise,
        }

    def record(self, at: int) -> dict[str, Any]:
        """What the image at position `at` is made from, as JSON; seeds are torch's unless told otherwise."""
        named = (("class", self.classes), ("label", self.labels), ("noise_seed", self.noise_seeds))
        given = {name: values[at] for name, values in named if values is not None}
        rng = {} if self.rngs[at] == "torch" else {"rng": self.rngs[at]}
        return {"seed": self.seeds[at], **rng, **given}

    def name(self, at: int) -> str:
        """A file name that says what its image is made from."""
        name = f"seed{self.seeds[at]:04d}" + ("" if self.rngs[at] == "torch" else "-np")
        name += "" if self.classes is None else f"-class{self.classes[at]}"
        if self.labels is not None:
            name += f"-label{hashlib.sha256(repr(self.labels[at]).encode()).hexdigest()[:8]}"
        name += "" if self.noise_seeds is None else f"-noise{self.noise_seeds[at]}"
        name += "" if self.noise == "random" else f"-noise-{self.noise}"
        if self.truncation != "1":
            digest = hashlib.sha256(self.truncation.encode()).hexdigest()[:8]
            name += f"-psi{digest if ',' in self.truncation else f'{float(self.truncation):g}'}"
        return name + ("" if self.truncation_layers is None else f"-first{self.truncation_layers}")

    def request(self, sampler: Sampler) -> Request:
        """The same for `sampler`, checked."""
        return sampler.request(
            self.seeds,
            parse_truncation(self.truncation),
            self.truncation_layers,
            self.classes,
            self.labels,
            self.noise if self.noise_seeds is None else self.noise_seeds,
            self.rngs,
        )

    def images(self, sampler: Sampler, batch: int | None) -> Iterator[Tensor]:
        """The images, so many at a time. Everything is checked before the iterator is returned."""
        return sampler.images(self.request(sampler), batch)

    def latents(self, sampler: Sampler) -> Latents:
        """What they are made from."""
        return sampler.kept(self.request(sampler))


class KeptImages:
    """Images of latent files.

    Args:
        files: of latents.
        noise: instead of the noise that was kept: "fixed" or "none"; "random" keeps it.
        noise_seeds: instead of it, too: one seed, or one for each image. A single latent takes them all.
    """

    kind = "latents"

    def __init__(self, files: Sequence[Path], noise: NoiseMode, noise_seeds: list[int] | None) -> None:
        from styleloom.latents import load_latents

        self.files = files
        self.noise: NoiseMode = noise
        self._loaded = [load_latents(file) for file in files]
        places = [(i, row) for i, latents in enumerate(self._loaded) for row in range(len(latents))]
        each = {"latents": places} | ({} if noise_seeds is None else {"noise-seed": noise_seeds})
        each = one_or_each(each)
        self._places: list[tuple[int, int]] = each["latents"]
        self.noise_seeds: list[int] | None = each.get("noise-seed")

    def __len__(self) -> int:
        return len(self._places)

    @property
    def settings(self) -> dict[str, Any]:
        """What all images have in common, as JSON: the records say the rest."""
        return {}

    def record(self, at: int) -> dict[str, Any]:
        """What was kept about the image at position `at`, and where, as JSON."""
        i, row = self._places[at]
        other: Any = None if self.noise == "random" else self.noise
        other = other if self.noise_seeds is None else self.noise_seeds[at]
        noise = {} if other is None else {"noise": other}
        where = {"latents": self.files[i].name, "latents_sha256": sha256_of(self.files[i]), "index": row}
        return {**self._loaded[i].images[row], **noise, **where}

    def name(self, at: int) -> str:
        """The file's name, with the image's place where it holds several."""
        i, row = self._places[at]
        name = self.files[i].name.removesuffix(".safetensors").removesuffix(".latent")
        name += f"-{row:04d}" if len(self._loaded[i]) > 1 else ""
        name += "" if self.noise_seeds is None else f"-noise{self.noise_seeds[at]}"
        return name + ("" if self.noise == "random" else f"-noise-{self.noise}")

    def parts(self, sampler: Sampler) -> list[Latents]:
        """Those of each file, with their noise. Raises UserError for a file that is not `sampler`'s."""
        from styleloom.latents import check_fits

        for file, latents in zip(self.files, self._loaded, strict=True):
            check_fits(latents, sampler, file)
        found = []
        for i, places in itertools.groupby(range(len(self)), lambda at: self._places[at][0]):
            own = list(places)
            latents = self._loaded[i][[self._places[at][1] for at in own]]
            if self.noise_seeds is not None:
                latents = sampler.with_noise(latents, [self.noise_seeds[at] for at in own])
            found.append(latents if self.noise == "random" else sampler.with_noise(latents, self.noise))
        return found

    def images(self, sampler: Sampler, batch: int | None) -> Iterator[Tensor]:
        """The images, pass by pass: at least so many at a time."""
        parts, size = self.parts(sampler), sampler.images_per_pass
        size *= max(1, (batch or 1) // size)
        return (sampler.render(part[i : i + size]) for part in parts for i in range(0, len(part), size))

    def latents(self, sampler: Sampler) -> Latents:
        """What they are made from, in one."""
        from styleloom.latents import join

        return join(self.parts(sampler))


def one_or_each(given: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Values of flags, as many of each; one stands for all images. Raises UserError for other numbers."""
    count = max(map(len, given.values()))
    for name, values in given.items():
        if len(values) not in (1, count):
            raise UserError(f"--{name}: {len(values)} values; one, or one for each of {count} images")
    return {name: values * count if len(values) == 1 else values for name, values in given.items()}


def refuse_given(command: Any, names: Sequence[str], reason: str) -> None:
    """Raise UserError where one of these flags of a command was given; `reason` ends the message."""
    defaults = {field.name: field.default for field in dataclasses.fields(command)}
    for name in names:
        value = getattr(command, name)
        if value != defaults[name]:
            raise UserError(f"--{name.replace('_', '-')}: {quoted(value)} is not valid {reason}")


def parse_labels(text: str) -> list[list[float]]:
    """ "0.1,0.9" to one label; the path of a text file to one for each line."""
    path = Path(text)
    lines = [text]
    try:
        if path.is_file():
            if path.stat().st_size > MAX_LABEL_BYTES:
                raise UserError(f"--label: {shown(path)} has more than {MAX_LABEL_BYTES:,} bytes")
            lines = path.read_text(encoding="utf-8").splitlines()
        labels = [[float(number) for number in line.split(",")] for line in lines if line.strip()]
    except (OSError, ValueError) as error:  # ValueError: also what is no UTF-8
        raise UserError(
            f"--label: {quoted(text)} is not valid; numbers separated by commas, or a file with a line of "
            f"them for each image ({quoted(str(error))})"
        ) from error
    if not labels or len({len(label) for label in labels}) != 1 or not _all_finite(labels):
        raise UserError(f"--label: {quoted(text)} is not valid; as many finite numbers in each line")
    return labels


def _all_finite(labels: list[list[float]]) -> bool:
    return all(map(math.isfinite, itertools.chain.from_iterable(labels)))


def parse_seeds(text: str, flag: str = "seeds") -> list[int]:
    """ "0-3,7" to [0, 1, 2, 3, 7]."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise UserError(f"--{flag}: {quoted(part)} is not valid; examples: 0-63, or 1,5,9")
        span = range(int(first), int(last if dash else first) + 1)
        if span[-1] > MAX_IMAGE_SEED:
            raise UserError(f"--{flag}: {quoted(part)} is not valid; the largest seed is {MAX_IMAGE_SEED}")
        if span[-1] - span[0] >= MAX_IMAGES - len(seeds):
            raise UserError(f"--{flag}: {quoted(text)} is not valid; at most {MAX_IMAGES} images at a time")
        seeds += span
    return seeds


def parse_numbered(text: str, rng: Rng = "torch", flag: str = "seeds") -> tuple[list[int], list[Rng]]:
    """ "0-1,np:85" to the seeds [0, 1, 85] and where z of each is from: `rng` where a part does not say."""
    seeds: list[int] = []
    rngs: list[Rng] = []
    for part in text.split(","):
        prefix, colon, rest = part.strip().partition(":")
        if colon and prefix not in RNGS:
            raise UserError(f"--{flag}: {quoted(part)} is not valid; examples: 0-63, np:85, torch:3")
        seeds += parse_seeds(rest if colon else part, flag)
        if len(seeds) > MAX_IMAGES:
            raise UserError(f"--{flag}: {quoted(text)} is not valid; at most {MAX_IMAGES} images at a time")
        rngs.extend(itertools.repeat(RNGS[prefix] if colon else rng, len(seeds) - len(rngs)))
    return seeds, rngs


def parse_truncation(text: str) -> Truncation:
    """ "0.7" to a number, "1,1,0.5" to a list."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise UserError(f"--truncation: {quoted(text)} is not valid; a number, or one per layer: 1,1,0.7,...")
    return values[0] if len(values) == 1 else values


def parse_whole(field: str, text: str) -> int:
    """ "3" to a number; `field` is the flag, for the message."""
    if not text.strip().isdecimal():
        raise UserError(f"--{field}: {quoted(text)} is not valid; a whole number, or one per image: 0,1,...")
    return int(text)
