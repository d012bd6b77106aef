"""`styleloom mix`: a sheet of images that take some styles of others (StyleGAN, Figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import tyro

import styleloom
from styleloom.cli.report import print_json, say
from styleloom.cli.sheets import check_free, check_sheet, chunks
from styleloom.cli.wanted_images import parse_labels, parse_numbered, parse_truncation
from styleloom.config.experiment import Precision
from styleloom.config.parts import NoiseMode, Rng
from styleloom.errors import UserError, quoted, shown
from styleloom.file_hash import sha256_of
from styleloom.snapshot_names import find_snapshot

if TYPE_CHECKING:
    from styleloom.latents import Latents
    from styleloom.mixing import Block
    from styleloom.sampling import Sampler

Numbered: TypeAlias = tuple[list[int], list[Rng]]
"""Seeds, and where the z of each comes from."""


@dataclass
class Mix:
    """Mix the styles of images: rows keep all but the named layers, which take the columns' styles."""

    snapshot: tyro.conf.Positional[str]
    """A snapshot-*.safetensors, a run directory (its best snapshot, else the newest), a file of another code
    (*.pkl, *.pt, *.pth), hf://owner/name, or an embedded model: portraits-64."""
    rows: tuple[str, ...] = ("0-3",)
    """Source A, at the left: seeds such as 0-3 or np:85, or latent files."""
    columns: tuple[str, ...] = ("4-8",)
    """Source B, at the top: seeds or latent files."""
    styles: tuple[str, ...] = ("coarse", "middle", "fine")
    """Layers that take the styles of B: coarse (4 to 8 px), middle (16 to 32 px), fine (from 64 px), or
    layers such as 0-6. Several make a block of rows each. By default those that the generator has."""
    out: Path = Path("mix.png")
    """The picture."""
    overwrite: bool = False
    """Replace files that are there already."""
    save_latents: Path | None = None
    """Keep the latents of all mixed images, row by row, in this file (*.latent.safetensors)."""
    rng: Rng = "torch"
    """What seeds without a prefix draw z from."""
    truncation: str = "1"
    """psi of seeds, or one value per layer, separated by commas."""
    truncation_layers: int | None = None
    """Truncate the first so many layers only."""
    classes: int | None = None
    """Class of all seeds, for a generator trained with labels."""
    label: str | None = None
    """Instead of a class: the label's numbers, separated by commas."""
    noise: NoiseMode | None = None
    """fixed: the maps stored with the network, as in the paper's figure; the default for seeds. random: of
    the row's seed. none. Latent files keep their own unless this is fixed or none."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    precision: Precision = "auto"
    """Arithmetic of the convolutions."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Write the sheet; 0."""
        parse_truncation(self.truncation)
        if self.out.suffix.lower() != ".png":
            raise UserError(f"--out: {shown(self.out)} is not valid; valid: a name that ends with .png")
        for flag, file in (("out", self.out), ("save-latents", self.save_latents)):
            check_free(flag, [] if file is None else [file], self.overwrite)
        path = find_snapshot(self.snapshot)
        from styleloom import latents, mixing, sampling  # late: torch takes seconds to import

        if self.save_latents is not None:
            latents.check_latent_name(self.save_latents)
        sources = [[self._parsed(word, flag) for word in getattr(self, flag)] for flag in ("rows", "columns")]
        sampler = sampling.load(path, self.device, self.precision)
        names = self._styles(sampler)
        files = [part for source in sources for part in source if isinstance(part, Path)]
        rows, columns = self._read(sampler, sources, len(names))
        blocks = [mixing.Block(rows, layers) for layers in names]
        mixing.check_sources(sampler, columns, blocks)
        settings = {
            "snapshot": self.snapshot if path.name == "snapshot.safetensors" else path.name,
            "snapshot_sha256": sampler.snapshot_sha256,
            "rows": rows.labelled_images(),
            "columns": columns.labelled_images(),
            "latents_sha256": {str(file): sha256_of(file) for file in files},
            "styles": {layers.name: list(layers.indices) for layers in names},
            "styleloom": styleloom.__version__,
        }
        if self.save_latents is not None:
            latents.save_latents(self.save_latents, mixing.cells(columns, blocks))
        self._write(sampler, columns, blocks, settings)
        if self.json:
            print_json(settings | {"snapshot": self.snapshot, "file": str(self.out)})
        else:
            told = ", ".join(f"{b.name} (layers {_spans(b.indices)})" for b in names)
            say(f"{len(rows)} rows and {len(columns)} columns in {shown(self.out)}: {told}")
        return 0

    def _styles(self, sampler: Sampler) -> list[Any]:
        """The layers of each block; of the three by default, those that are there."""
        from styleloom.mixing import layers_named

        found, wrong = [], None
        for text in self.styles:
            try:
                found.append(layers_named(sampler, text))
            except UserError as error:
                wrong = wrong or error
        if wrong is not None and (not found or self.styles != Mix.styles):
            raise wrong
        return found

    def _parsed(self, word: str, flag: str) -> Path | Numbered:
        """A word of --rows or --columns: a latent file, or seeds."""
        from styleloom.latents import SUFFIX

        return Path(word) if word.endswith(SUFFIX) else parse_numbered(word, self.rng, flag)

    def _read(
        self, sampler: Sampler, sources: Sequence[Sequence[Path | Numbered]], blocks: int
    ) -> list[Latents]:
        """The latents of rows and of columns; none is drawn before files and the sheet's size are checked."""
        from styleloom.latents import join, load_fitting

        read = [[load_fitting([s], sampler) if isinstance(s, Path) else s for s in each] for each in sources]
        down, across = (sum(map(_count, each)) for each in read)
        check_sheet("rows", (1 + across) * (1 + down * blocks), sampler.size)
        return [join([self._drawn(source, sampler) for source in each]) for each in read]

    def _drawn(self, source: Latents | Numbered, sampler: Sampler) -> Latents:
        """The latents of seeds, and those of files with the noise that is wanted."""
        if not isinstance(source, tuple):
            return source if self.noise in (None, "random") else sampler.with_noise(source, self.noise)
        label = None if self.label is None else parse_labels(self.label)
        if label is not None and len(label) != 1:
            raise UserError(f"--label: {quoted(self.label)} is not valid; one label, for all images")
        return sampler.latents(
            source[0],
            parse_truncation(self.truncation),
            self.truncation_layers,
            self.classes,
            None if label is None else label[0],
            self.noise or "fixed",
            source[1],
        )

    def _write(
        self, sampler: Sampler, columns: Latents, blocks: list[Block], settings: dict[str, Any]
    ) -> None:
        """Render the figure row by row, and save it."""
        from styleloom.cli.progress import EvaluationProgress
        from styleloom.images import Sheet, save_png
        from styleloom.mixing import figure

        down = 1 + sum(len(block.rows) for block in blocks)
        sheet = Sheet(1 + len(columns), down)
        with EvaluationProgress() as progress:
            progress("rows", 0, down)
            for row, images in enumerate(figure(sampler, columns, blocks), 1):
                sheet.add(images)
                progress("rows", row, down)
        save_png(self.out, sheet.pixels, chunks(settings))


def _count(source: Latents | Numbered) -> int:
    """How many images a source has."""
    return len(source[0]) if isinstance(source, tuple) else len(source)


def _spans(indices: tuple[int, ...]) -> str:
    """(0, 1, 2, 5) as "0-2, 5"."""
    spans: list[list[int]] = []
    for index in indices:
        if spans and index == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], index]
        else:
            spans.append([index])
    return ", ".join("-".join(map(str, span)) for span in spans)
