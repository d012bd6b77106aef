"""What a run writes and measures, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from styleloom.config.checks import above, at_least, check_choices
from styleloom.config.schedules import ByResolution

MIN_TICK_KIMG = 0.001
"""Shortest tick, in thousands of images: one image."""

MeasureAt: TypeAlias = Literal["full", "level"]
"""At which size a growing run is measured: "full" repeats the pixels of the active level until images have
their full size, as the authors' networks do, and compares with full-size reals; "level" compares images and
reduced reals at the size of the active level."""

Keep: TypeAlias = Literal["average", "full"]
"""What a snapshot holds: the "average" of the generator alone; or, "full", the generator in training and the
discriminator as well, for trainings that begin with it (`train --init`)."""


@dataclass(frozen=True)
class RunOptions:
    """What a run writes, and when.

    Args:
        tick_kimg: thousands of images between lines of stats.jsonl.
        sample_every, snapshot_every, state_every: ticks between sample grids, generator snapshots and
            complete training states.
        keep: what a snapshot holds; see `Keep`.
        keep_snapshots, keep_states: how many of the latest ones stay; 0 keeps all. The best snapshot always
            stays: the best by the first of `metrics`, or by the run's own SWD when `swd_images` > 0.
        swd_images: number of generated and of real images whose sliced Wasserstein distance (SWD, ProGAN
            section 5) is measured at each snapshot; 0 measures none.
        metrics: names of metrics that the run measures, as `styleloom metrics` lists them.
        metrics_kimg: thousands of images between measurements; the end of the run is measured as well.
        measure_at: size at which the metrics and the SWD of a growing run are measured; see `MeasureAt`.
        sample_truncation: psi of the sample grids.
        patience_minutes: how long the processes of a training wait for one of them before they take it for
            lost and end.
        max_skipped: consecutive updates skipped for a non-finite gradient before the run stops.
    """

    tick_kimg: ByResolution = ByResolution(
        4, ((4, 32), (8, 28), (16, 24), (32, 20), (64, 16), (128, 12), (256, 8), (512, 6), (1024, 4))
    )
    sample_every: int = 10
    snapshot_every: int = 50
    state_every: int = 10
    keep: Keep = "average"
    keep_snapshots: int = 5
    keep_states: int = 2
    swd_images: int = 0
    metrics: tuple[str, ...] = ()
    metrics_kimg: float = 200.0
    measure_at: MeasureAt = "full"
    sample_truncation: float = 1.0
    patience_minutes: float = 30.0
    max_skipped: int = 50

    def __post_init__(self) -> None:
        check_choices(self, "run.")
        for name in ("sample_every", "snapshot_every", "state_every", "max_skipped"):
            at_least(f"run.{name}", getattr(self, name), 1)
        for name, kimg in self.tick_kimg.named("run.tick_kimg"):
            above(name, kimg, 0)
            at_least(name, kimg, MIN_TICK_KIMG)
        for name in ("keep_snapshots", "keep_states", "swd_images"):
            at_least(f"run.{name}", getattr(self, name), 0)
        above("run.patience_minutes", self.patience_minutes, 0)
        above("run.metrics_kimg", self.metrics_kimg, 0)
