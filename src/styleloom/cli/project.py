"""`styleloom project`: the latents with which a generator makes given images."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

import styleloom
from styleloom.cli.report import print_json, say
from styleloom.cli.wanted_images import parse_labels, parse_numbered, parse_whole
from styleloom.config.experiment import Precision
from styleloom.config.parts import Rng
from styleloom.errors import UserError, shown
from styleloom.file_hash import sha256_of
from styleloom.snapshot_names import find_snapshot

if TYPE_CHECKING:
    from torch import Tensor

    from styleloom.cli.project_output import TargetFolder
    from styleloom.cli.project_targets import Target
    from styleloom.latents import Latents
    from styleloom.projection import Projection, Projector, Tuner
    from styleloom.sampling import Sampler
    from styleloom.snapshot import Snapshot
    from styleloom.types import PerceptualDistance

logger = logging.getLogger(__name__)

PICTURES = 5
"""Pictures of the way, as the authors write them: after 200, 400, ... of 1000 steps."""


@dataclass
class Project:
    """Find the latents with which a generator makes given images."""

    snapshot: tyro.conf.Positional[str]
    """A snapshot-*.safetensors, a run directory (its best snapshot, else the newest), a file of another code
    (*.pkl, *.pt, *.pth), hf://owner/name, or an embedded model: portraits-64."""
    targets: tyro.conf.Positional[tuple[str, ...]] = ()
    """Images, folders, zips or data sets."""
    seeds: str | None = None
    """Project the images of these seeds, too: 0-3, or 1,5,9; np:85 is the authors' seed 85."""
    rng: Rng = "torch"
    """Where the z of --seeds come from; numpy: as the authors' seeds, with the noise of ours."""
    count: int | None = None
    """Images of each folder and archive; all by default."""
    out: Path = Path("projected")
    """Folder for the results; each target has a folder in it."""
    overwrite: bool = False
    """Replace files that are there already."""
    space: Literal["w", "w+"] = "w"
    """w: one for all layers (StyleGAN2). w+: one for each."""
    noise: Literal["optimize", "fixed"] = "optimize"
    """optimize: find noise maps, too (StyleGAN2). fixed: the maps of --from, or else the stored ones."""
    steps: int = 1000
    """Steps of the projection."""
    tune: int = 0
    """Steps of pivotal tuning of the weights afterwards, for each target by itself; 0: none."""
    locality: bool = True
    """With --tune, keep images near the latent as they were."""
    distance: str | None = None
    """Perceptual distance: lpips-vgg where its weights are, else efficientnet-lite0."""
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Go on from this latent file, which has a latent for each target."""
    seed: int = 0
    """Of noise maps and of the noise on w."""
    classes: str | None = None
    """Class of each target, of a generator trained with labels: one number, or one each: 0,1."""
    label: str | None = None
    """Instead of a class: the label's numbers, separated by commas, or a text file with a line per target."""
    paste_back: str | None = None
    """The photographs that a data set of faces was built from (dataset build --align): a folder, zip, ...;
    each result is put into its photograph, too."""
    exact: bool = False
    """Refuse images of another size or other channels, which are resized and converted otherwise."""
    batch: int = 8
    """Targets at once."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    precision: Precision = "fp32"
    """Arithmetic of the generator's convolutions. bf16 is faster, and comes less near to the images."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Project all targets; 0."""
        if not self.targets and self.seeds is None:
            raise UserError("targets: none given; valid: images, folders, archives, or --seeds 0-3")
        for name, value, low in (("batch", self.batch, 1), ("tune", self.tune, 0), ("count", self.count, 1)):
            if value is not None and value < low:
                raise UserError(f"--{name}: {value} is not valid, at least {low}")
        path = find_snapshot(self.snapshot)
        from styleloom.cli import project_output, project_targets  # late: torch takes seconds to import
        from styleloom.sampling import Sampler
        from styleloom.snapshot import read_snapshot

        snapshot = read_snapshot(path)
        sampler = Sampler.of(snapshot, self.device, self.precision)
        given, labels = self._given(sampler)
        targets = project_targets.with_own_names(given)
        paste = None
        if self.paste_back is not None:
            from styleloom.cli.paste_back import PasteBack

            paste = PasteBack(self.paste_back)
            paste.check([target.record for target in targets])
        project_output.check_results_free(self.out, [target.name for target in targets], self.overwrite)
        projection = _Projection(self, snapshot, sampler, targets, labels)
        for folder in projection.folders:
            folder.paste = paste
        results = projection.run()
        if self.json:
            print_json(projection.settings | {"out": str(self.out), "results": results})
        else:
            for target, found in zip(targets, results, strict=True):
                last = found.get("tuned", found)
                noted = "equal" if last["psnr"] is None else f"{last['psnr']:.2f} dB"
                say(f"{target.name}: distance {last['distance']:.4f}, PSNR {noted}, SSIM {last['ssim']:.4f}")
            say(f"{len(targets)} projections in {shown(self.out)}")
        return 0

    def _given(self, sampler: Sampler) -> tuple[list[Target], Tensor | None]:
        """All targets, in the order of the command line, those of seeds last, and their labels."""
        from styleloom.cli.project_targets import image_targets, seed_targets

        targets = list(image_targets(self.targets, sampler, self.count, self.exact))
        seeds, rngs = ([], []) if self.seeds is None else parse_numbered(self.seeds, self.rng)
        labels = self.labels(sampler, len(targets) + len(seeds))
        own = None if labels is None else labels[len(targets) :]
        images = sampler.render(sampler.latents(seeds, label=own, rng=rngs))
        return targets + seed_targets(seeds, rngs, images), labels

    def labels(self, sampler: Sampler, count: int) -> Tensor | None:
        """Labels [N, K] of all targets; None for a generator without labels."""
        classes = label = None
        if self.classes is not None:
            classes = [parse_whole("classes", word) for word in self.classes.split(",")]
            classes = classes[0] if len(classes) == 1 else classes
        if self.label is not None:
            rows = parse_labels(self.label)
            label = rows[0] if len(rows) == 1 else rows
        return sampler.labels(count, classes, label)

    def options(self) -> Projection:
        """What the projector is told."""
        from styleloom.projection import Projection

        return Projection(space=self.space, noise=self.noise, steps=self.steps, seed=self.seed)


def pictured_steps(steps: int) -> set[int]:
    """The numbers of steps after which a picture is written, as the authors' code has them."""
    import numpy as np

    return {int(steps - done) for done in np.linspace(0, steps, PICTURES, endpoint=False, dtype=int)}


class _Projection:
    """All targets of a command on their way."""

    def __init__(
        self,
        command: Project,
        snapshot: Snapshot,
        sampler: Sampler,
        targets: Sequence[Target],
        labels: Tensor | None,
    ) -> None:
        from styleloom.cli.project_output import TargetFolder, sheet_fits
        from styleloom.features.registry import load_distance
        from styleloom.latents import load_fitting
        from styleloom.precision import resolve_precision
        from styleloom.projection import distance_name

        self.command, self.snapshot, self.sampler = command, snapshot, sampler
        self.options = command.options()
        self.labels = labels
        name = command.distance or distance_name()
        device = sampler.generator.w_avg.device
        self.distance: PerceptualDistance = load_distance(name, device)
        self.start: Latents | None = None
        if command.start is not None:
            self.start = load_fitting([command.start], sampler)
            if len(self.start) != len(targets):
                raise UserError(
                    f"--from: {shown(command.start)} has {len(self.start)} latents for {len(targets)} "
                    "targets; valid: one for each"
                )
        self.settings: dict[str, Any] = {
            "snapshot": command.snapshot,
            "snapshot_sha256": sampler.snapshot_sha256,
            "distance_name": name,
            "distance_identity": self.distance.identity,
            "projection": dataclasses.asdict(self.options),
            "from": None if command.start is None else str(command.start),
            "precision": resolve_precision(command.precision, device),
            "device": str(device),
            "styleloom": styleloom.__version__,
        }
        columns = 1 + len(pictured_steps(self.options.steps)) + bool(command.tune)
        self.has_sheet = sheet_fits(columns, targets)
        self.folders = [TargetFolder(command.out / t.name, t, self.settings, self.has_sheet) for t in targets]
        self.results: list[dict[str, Any]] = []

    def run(self) -> list[dict[str, Any]]:
        """Batch after batch; what result.json says of each target. Ctrl-C leaves what there is by then."""
        from styleloom.cli.progress import EvaluationProgress
        from styleloom.cli.project_output import SHEET, save_sheet

        if not self.has_sheet:
            logger.info(f"{SHEET} is left out: it would be too large, with a row for each target")
            (self.command.out / SHEET).unlink(missing_ok=True)
        steps, count = self.options.steps, len(self.folders)
        batches = [range(i, min(i + self.command.batch, count)) for i in range(0, count, self.command.batch)]
        try:
            with EvaluationProgress() as progress:
                for number, at in enumerate(batches):
                    first = number * steps
                    self._batch(at, lambda n, first=first: progress("steps", first + n, len(batches) * steps))
                for i in range(count if self.command.tune else 0):
                    self._tune(
                        i,
                        lambda n, i=i: progress(
                            "tuning", i * self.command.tune + n, count * self.command.tune
                        ),
                    )
        finally:
            begun = [folder for folder in self.folders if "projected" in folder.shown]
            if begun:
                save_sheet(self.command.out / SHEET, begun, self.settings)
        return self.results

    def _batch(self, at: range, report: Callable[[int], None]) -> None:
        """Project the targets at positions `at`."""
        import torch

        from styleloom.projection import Projector

        folders, steps = [self.folders[i] for i in at], self.options.steps
        targets = torch.stack([folder.target.image for folder in folders])
        labels = None if self.labels is None else self.labels[at.start : at.stop]
        start = None if self.start is None else self.start[at.start : at.stop]
        began = time.monotonic()
        projector = Projector(self.sampler, targets, self.options, self.distance, labels, start)
        for folder, image in zip(folders, targets, strict=True):
            folder.clear([self.snapshot.path, self.command.start])
            folder.picture("target", image)
        pictured = pictured_steps(steps) - {steps}  # that one is the result
        report(0)
        try:
            while projector.steps_done < steps:
                projector.step()
                done = projector.steps_done
                if done in pictured:
                    images = self.sampler.render(projector.latents)
                    for folder, image in zip(folders, images, strict=True):
                        folder.picture(f"step{done:04d}", image)
                report(done)
        finally:
            self._keep(projector, folders, time.monotonic() - began)

    def _keep(self, projector: Projector, folders: Sequence[TargetFolder], seconds: float) -> None:
        """Write what was found so far for the targets of a batch."""
        from styleloom.cli.project_output import LATENT
        from styleloom.projection.projector import projected

        results, steps = projected(projector), self.options.steps
        for i, folder in enumerate(folders):
            pixels = folder.picture("projected", results.images[i])
            if projector.steps_done == steps:
                folder.picture(f"step{steps:04d}", results.images[i], in_sheet=False)
            folder.latent(LATENT, results.latents[i])
            found = {
                "distance": results.distance[i].item(),
                **folder.quality(pixels),
                "steps_done": projector.steps_done,
                "seconds": seconds,
                "targets_at_once": len(folders),
                "distance_per_step": results.history[:, i].tolist(),
            }
            self.results.append(folder.result(found))

    def _tune(self, i: int, report: Callable[[int], None]) -> None:
        """Tune a generator for target `i`, and keep it."""
        from styleloom.cli.project_output import LATENT
        from styleloom.latents import load_latents
        from styleloom.projection import Tuner, Tuning

        folder, command = self.folders[i], self.command
        every = 1 if command.locality else 0
        tuning = Tuning(steps=command.tune, locality_every=every, seed=command.seed)
        pivot = load_latents(folder.path / LATENT)
        labels = None if self.labels is None else self.labels[i : i + 1]
        began = time.monotonic()
        tuner = Tuner(self.sampler, folder.target.image[None], pivot, self.distance, tuning, labels)
        try:
            while len(tuner.history) < tuning.steps and tuner.step():
                report(len(tuner.history))
        finally:
            self._keep_tuned(i, tuner, pivot, time.monotonic() - began)

    def _keep_tuned(self, i: int, tuner: Tuner, pivot: Latents, seconds: float) -> None:
        """Write the tuned snapshot, its latent, its picture and its numbers."""
        from styleloom.sampling import Sampler
        from styleloom.snapshot import write_snapshot

        folder, path = self.folders[i], self.folders[i].path / "tuned.safetensors"
        generator = tuner.tuned()
        tuned = {"of": self.sampler.snapshot_sha256, "tuning": dataclasses.asdict(tuner.tuning)}
        write_snapshot(path, generator, self.snapshot.experiment, **(self.snapshot.info | {"tuned": tuned}))
        sampler = Sampler(generator, self.snapshot.experiment, self.sampler.growth, sha256_of(path))
        document = {**pivot.document, "snapshot_sha256": sampler.snapshot_sha256}
        latents = dataclasses.replace(pivot, document=document)
        image = sampler.render(latents)
        pixels = folder.picture("tuned", image[0])
        folder.latent("tuned.latent.safetensors", latents)
        found = {
            "distance": tuner.distance_now(image),
            **folder.quality(pixels),
            "steps_done": len(tuner.history),
            "seconds": seconds,
            "tuning": dataclasses.asdict(tuner.tuning),
            "per_step": [dataclasses.asdict(step) for step in tuner.history],
        }
        self.results[i] = folder.result(self.results[i] | {"tuned": found})
