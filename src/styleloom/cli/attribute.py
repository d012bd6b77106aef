"""`styleloom attribute`: did this generator make that image?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from styleloom.config.experiment import Precision
from styleloom.errors import UserError
from styleloom.snapshot_names import find_snapshot

if TYPE_CHECKING:
    from styleloom.sampling import Sampler
    from styleloom.snapshot import Snapshot

OF_CALIBRATIONS = (
    *("count", "seeds", "out", "overwrite", "steps", "noise", "distance", "seed", "classes", "precision"),
)
OF_VERDICTS = ("exact",)

WHY = {
    "calibration": "images are projected as the calibration's were, and no file is written",
    "data": "it is for images that are judged",
}


@dataclass
class Attribute:
    """Tell whether a generator made given images, by how near their projections come.

    First with --data, which projects generated and real images and writes a calibration; then with images and
    --calibration, which gives each a verdict with its error rates.
    """

    snapshot: tyro.conf.Positional[str]
    """A snapshot-*.safetensors, a run directory (its best snapshot, else the newest), a file of another code
    (*.pkl, *.pt, *.pth), hf://owner/name, or an embedded model: portraits-64."""
    images: tyro.conf.Positional[tuple[str, ...]] = ()
    """Images, folders, zips or data sets to be judged."""
    calibration: Path | None = None
    """The calibration that they are judged by."""
    data: str | None = None
    """Real images for a calibration: an archive or an embedded set; of the generator's own set, those that
    training held out."""
    count: int | None = None
    """Images of each set; 100 by default."""
    seeds: str | None = None
    """Of the generated images; 0 to COUNT - 1 by default."""
    out: Path | None = None
    """The calibration to write, NAME.attribution.json, with its histogram beside it; NAME is calibration by
    default."""
    overwrite: bool = False
    """Replace files that are there already, and begin anew where a calibration was interrupted."""
    false_alarm: float | None = None
    """Wanted rate of real images that are called generated; 0.05, or that of the calibration."""
    miss: float | None = None
    """Wanted rate of generated images that are called not generated; 0.05, or that of the calibration."""
    steps: int | None = None
    """Steps of each projection; 1000 by default."""
    noise: Literal["optimize", "fixed"] | None = None
    """optimize: find noise maps, too (StyleGAN2; the default). fixed: the maps stored with the network."""
    distance: str | None = None
    """Perceptual distance: lpips-vgg where its weights are, else efficientnet-lite0."""
    seed: int | None = None
    """Of noise maps and of the noise on w in projections; 0 by default."""
    classes: int | None = None
    """Class of all images, for a generator trained with labels."""
    exact: bool = False
    """Refuse images of another size or other channels, which are resized and converted otherwise."""
    batch: int = 8
    """Images at once."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    precision: Precision | None = None
    """Arithmetic of the generator's convolutions; fp32 by default."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Write a calibration, or judge images; 0."""
        for name in ("batch", "count"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name}: {value} is not valid, at least 1")
        judging = self.calibration is not None
        if judging == (self.data is not None) or judging != bool(self.images):
            raise UserError(
                "attribute: needs --data DATA, which makes a calibration, or images and --calibration FILE, "
                "which judges them; one of the two"
            )
        for name in OF_CALIBRATIONS if judging else OF_VERDICTS:
            value = getattr(self, name)
            if value is not None and value is not False:
                flag, other = name.replace("_", "-"), "calibration" if judging else "data"
                raise UserError(f"--{flag}: not valid with --{other}; {WHY[other]}")
        if judging:
            from styleloom.cli.attribute_judging import judge

            return judge(self)
        from styleloom.cli.attribute_calibrating import calibrate

        return calibrate(self)

    def sampler(self, precision: Precision) -> tuple[Snapshot, Sampler]:
        """The snapshot, and its generator in that arithmetic."""
        path = find_snapshot(self.snapshot)
        from styleloom.sampling import Sampler  # late: torch takes seconds to import
        from styleloom.snapshot import read_snapshot

        snapshot = read_snapshot(path)
        return snapshot, Sampler.of(snapshot, self.device, precision)
