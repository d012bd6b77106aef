"""`styleloom demo`: everything once, on a small scale: data set, training, pictures, measurement."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from styleloom import presets
from styleloom.cli import INTERRUPTED
from styleloom.cli.demo_measures import Quality, quality
from styleloom.cli.progress import TrainingProgress
from styleloom.cli.report import print_json, say, tell
from styleloom.config.checks import one_of
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.data.sources import EMBEDDED_SETS
from styleloom.errors import UserError, shell_word, shown

if TYPE_CHECKING:
    from styleloom.cli.demo_pictures import Strip
    from styleloom.runs.directory import RunDirectory
    from styleloom.sampling import Sampler
    from styleloom.training.trainer import Trainer

logger = logging.getLogger(__name__)

PRESET = "demo"
Measured: TypeAlias = tuple[Quality, Quality] | None


@dataclass
class Demo:
    """Train a small StyleGAN2 on images that come with the package, for a few minutes."""

    data: str = "portraits"
    """Embedded set: portraits, or emoji, which are harder to learn."""
    out: Path = Path("runs/demo")
    """Folder to create; a number is added when it exists."""
    minutes: float = 7.5
    """Length of the training, minutes; longer gives better pictures."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    seed: int = 0
    """Seed of the training."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Build, train, generate, measure; 0, or 130 when a signal ended the training."""
        from styleloom import sampling  # late, here and below: torch takes seconds
        from styleloom.cli.demo_pictures import Strip, make_pictures
        from styleloom.runs.fit import run_swd, start

        one_of("--data", self.data, tuple(EMBEDDED_SETS))
        out = free_folder(self.out)
        experiment = replace(presets.get(PRESET), seed=self.seed)
        tell(f"1/4  data set: the embedded {self.data} at {experiment.resolution} px -> {shown(out)}")
        dataset = open_dataset(self.data, experiment.resolution)
        trainer, run = start(out / "run", experiment, dataset, self.device)
        reals = trainer.inputs.evaluation_set
        untrained = run_swd(trainer, len(reals)).average
        tell(
            f"2/4  training {experiment.name} for {self.minutes:g} minutes on {trainer.device.type} "
            f"({trainer.experiment.precision}), {len(trainer.inputs.train_set)} images; "
            f"Ctrl-C stops and keeps everything"
        )
        strip = Strip(out / "strip.png", trainer, self.minutes)
        status = self._train(trainer, run, strip)
        trained = run_swd(trainer, len(reals)).average

        tell("3/4  pictures")
        snapshot = run.snapshots()[-1]
        sampler = sampling.load(snapshot, self.device)
        pictures = make_pictures(out, sampler, reals, self.seed)
        outcome = Outcome(
            preset=experiment.name,
            data=self.data,
            images_seen=trainer.images_seen,
            swd_untrained=untrained,
            swd_trained=trained,
            held_out_images=len(reals),
            pictures={"from noise to finish": strip.path} | pictures,
            strip_images_seen=strip.images_seen,
            quality=self._quality(sampler, trainer.inputs.train_set, reals),
            run=run.path,
            snapshot=snapshot,
        )
        if self.json:
            print_json(outcome.document())
        else:
            for line in outcome.lines():
                say(line)
        return status

    def _train(self, trainer: Trainer, run: RunDirectory, strip: Strip) -> int:
        """Train for `minutes`, and save everything; the exit status."""
        from styleloom.runs.fit import StopRequest, fit

        total, stop = trainer.experiment.total_kimg * 1000, StopRequest()
        with TrainingProgress(total, self.minutes) as progress:

            def report(line: dict[str, Any]) -> None:
                strip(line)  # first: a closed terminal ends what comes after the progress
                progress(line)

            done = fit(trainer, run, report, self.minutes, stop)
        strip.add()
        trainer.close()
        return INTERRUPTED if stop.requested and not done else 0

    def _quality(self, sampler: Sampler, train_set: ImageDataset, reals: ImageDataset) -> Measured:
        """How near generated and training images are to the held-out ones; None, with a warning, where that
        cannot be measured, such as without the feature network."""
        try:
            return quality(sampler, train_set, reals, self.device)
        except UserError as error:
            logger.warning(f"kernel distance and recall not measured: {error}")
            return None


@dataclass(frozen=True)
class Outcome:
    """What the demo made and measured.

    Args:
        preset, data: their names.
        images_seen: real images that the training showed.
        swd_untrained, swd_trained: sliced Wasserstein distance to the held-out images, x 1000.
        held_out_images: their number.
        quality: of generated and of training images beside them; None where it was not measured.
        run, snapshot: where they are.
        pictures: by what they show.
        strip_images_seen: real images shown at each column of the strip.
    """

    preset: str
    data: str
    images_seen: int
    swd_untrained: float
    swd_trained: float
    held_out_images: int
    quality: Measured
    run: Path
    snapshot: Path
    pictures: dict[str, Path]
    strip_images_seen: list[int]

    @property
    def swd_drop_percent(self) -> float:
        """How much the training lowered the sliced Wasserstein distance."""
        return 100 * (1 - self.swd_trained / self.swd_untrained)

    def document(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "preset": self.preset,
            "data": self.data,
            "images_seen": self.images_seen,
            "swd_untrained": self.swd_untrained,
            "swd_trained": self.swd_trained,
            "swd_drop_percent": self.swd_drop_percent,
            "held_out_images": self.held_out_images,
            **self._quality_document(),
            "snapshot": str(self.snapshot),
            "pictures": {name: str(path) for name, path in self.pictures.items()},
            "strip_images_seen": self.strip_images_seen,
        }

    def _quality_document(self) -> dict[str, float]:
        if self.quality is None:
            return {}
        generated, real = (asdict(q) for q in self.quality)
        numbers = {f"{name}_lite0": value for name, value in generated.items()}
        return numbers | {f"{name}_lite0_of_reals": value for name, value in real.items()}

    def lines(self) -> Iterator[str]:
        """The report, with commands to go on with."""
        yield (
            f"4/4  sliced Wasserstein distance to {self.held_out_images} held-out real images: "
            f"{self.swd_untrained:.1f} untrained, {self.swd_trained:.1f} after "
            f"{self.images_seen / 1000:.0f} kimg: {self.swd_drop_percent:.0f} % lower"
        )
        if self.quality is not None:
            generated, real = self.quality
            yield (
                f"     kernel distance to them (KID in EfficientNet-Lite0, x 1000): {generated.kid:.1f}; "
                f"that of training images: {real.kid:.1f}"
            )
            yield (
                f"     precision {generated.precision:.2f}, recall {generated.recall:.2f}; those of training "
                f"images: {real.precision:.2f}, {real.recall:.2f}"
            )
        for name, path in self.pictures.items():
            yield f"     {name}: {shown(path)}"
        moments = ", ".join(f"{seen / 1000:.1f}".removesuffix(".0") for seen in self.strip_images_seen)
        yield f"     columns of the strip: {moments} kimg"
        yield (
            f"     more pictures: styleloom generate {shell_word(self.snapshot)} --seeds 0-63 "
            "--truncation 0.7 --grid 8x8"
        )
        yield f"     train on:      styleloom train --resume {shell_word(self.run)}"
        yield f"     steer it:      styleloom app {shell_word(self.snapshot)} (needs: pip install '.[app]')"


def free_folder(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that does not exist."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
