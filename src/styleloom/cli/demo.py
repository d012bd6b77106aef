"""`styleloom demo`: the whole way once, small: data set, training, pictures, distance to real images."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from styleloom import presets
from styleloom.cli import INTERRUPTED
from styleloom.cli.progress import TrainingProgress
from styleloom.cli.report import print_json, say, tell
from styleloom.data.build import BuildOptions, build_dataset
from styleloom.data.conversion import ConversionOptions
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.data.sources import open_source
from styleloom.errors import UserError, shell_word, shown

if TYPE_CHECKING:
    import torch

    from styleloom.sampling import Sampler

logger = logging.getLogger(__name__)

PRESET = "demo"
FEATURES = "lite0"
"""Feature network of the kernel distance: one that comes as a package."""

COLUMNS, ROWS = 12, 8
ENLARGED_PX = 64
"""Small images are shown larger, pixel by pixel, so that they can be seen."""


@dataclass
class Demo:
    """Train a small StyleGAN2 on the emoji that come with the package, for a few minutes."""

    out: Path = Path("runs/demo")
    """Folder to create; a number is added when it exists."""
    minutes: float = 7.5
    """Training time; more gives better pictures."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    seed: int = 0
    """Of the training."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Build, train, generate, measure; 0, or 130 when a signal ended the training."""
        import torch  # late, here and below: it takes seconds

        from styleloom import sampling
        from styleloom.data.reals import to_uint8
        from styleloom.runs.fit import StopRequest, fit, run_swd, start

        out = free_folder(self.out)
        experiment = presets.get(PRESET)
        archive = out / "emoji.zip"
        tell(f"1/4  data set: the embedded emoji at {experiment.resolution} px -> {shown(archive)}")
        conversion = ConversionOptions(experiment.resolution, filter="box")
        build_dataset(open_source("embedded:emoji"), archive, BuildOptions(conversion))
        dataset = open_dataset(archive)

        trainer, run = start(out / "run", experiment, dataset, self.device)
        reals = trainer.evaluation_set
        before = run_swd(trainer, len(reals)).average
        tell(
            f"2/4  training {experiment.name} for {self.minutes:g} minutes on {trainer.device.type} "
            f"({trainer.experiment.precision}), {len(trainer.train_set)} images; "
            f"Ctrl-C stops and keeps everything"
        )
        total, stop = trainer.experiment.total_kimg * 1000, StopRequest()
        with TrainingProgress(total, self.minutes) as progress:
            done = fit(trainer, run, progress, self.minutes, stop)
        status = INTERRUPTED if stop.requested and not done else 0
        trainer.close()
        after = run_swd(trainer, len(reals)).average

        tell("3/4  pictures")
        snapshot = run.snapshots()[-1]
        sampler = sampling.load(snapshot, self.device)
        real_images = torch.from_numpy(reals.images(torch.arange(COLUMNS * ROWS).numpy()))
        files = {"real images, held out": save_sheet(out / "reals.png", real_images)}
        for psi in (1.0, 0.7):
            fakes = to_uint8(sampler.generate(range(COLUMNS * ROWS), psi))
            files[f"generated, truncation {psi:g}"] = save_sheet(out / f"generated-psi-{psi:g}.png", fakes)

        kid = self._kernel_distances(sampler, trainer.train_set, reals)
        drop = 100 * (1 - after / before)
        document = {
            "preset": experiment.name,
            "images_seen": trainer.images_seen,
            "swd_untrained": before,
            "swd_trained": after,
            "swd_drop_percent": drop,
            "held_out_images": len(reals),
            **kid,
            "snapshot": str(snapshot),
            "pictures": {name: str(path) for name, path in files.items()},
        }
        if self.json:
            print_json(document)
            return status
        lines = [
            f"4/4  sliced Wasserstein distance to {len(reals)} held-out real images: "
            f"{before:.1f} untrained, {after:.1f} after {trainer.images_seen / 1000:.0f} kimg: "
            f"{drop:.0f} % lower",
            *(f"     {name}: {shown(path)}" for name, path in files.items()),
            f"     more pictures: styleloom generate {shell_word(snapshot)} --seeds 0-63 --truncation 0.7 "
            "--grid 8x8",
            f"     train on:      styleloom train --resume {shell_word(run.path)}",
        ]
        if kid:
            generated, real = kid.values()
            lines.insert(
                1,
                f"     kernel distance to them (KID in EfficientNet-Lite0, x 1000): {generated:.1f}; "
                f"that of training images: {real:.1f}",
            )
        for line in lines:
            say(line)
        return status

    def _kernel_distances(
        self, sampler: Sampler, train_set: ImageDataset, reals: ImageDataset
    ) -> dict[str, float]:
        """Of generated and of training images to the held-out ones, times 1000; nothing, with a note, where
        the feature network is not installed."""
        from styleloom.metrics.evaluation.collect import FeatureNetworks
        from styleloom.metrics.evaluation.definitions import parse
        from styleloom.metrics.evaluation.image_sets import DatasetImages
        from styleloom.metrics.evaluation.subject import RealImages, Subject
        from styleloom.metrics.evaluation.suite import Evaluation, primary_value
        from styleloom.precision import resolve_device

        definition = parse(f"kid{len(reals)}_{FEATURES}")
        evaluation = Evaluation([definition], FeatureNetworks(resolve_device(self.device)))
        sets = {"kid_lite0": sampler, "kid_lite0_of_reals": DatasetImages(train_set)}
        found: dict[str, float] = {}
        try:
            for name, source in sets.items():
                document = evaluation.run(Subject(name, {}, source, RealImages(reals)))
                found[name] = 1000 * primary_value(document, definition.name)
        except UserError as error:
            logger.warning(f"kernel distance not measured: {error}")
            return {}
        return found


def save_sheet(path: Path, images: torch.Tensor) -> Path:
    """A grid of uint8 images [N, C, H, W], each enlarged to about `ENLARGED_PX`."""
    from styleloom.images import grid, save_png

    factor = max(ENLARGED_PX // images.shape[-1], 1)
    large = images.cpu().repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    save_png(path, grid(large, COLUMNS))
    return path


def free_folder(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that does not exist."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
