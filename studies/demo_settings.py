"""Which settings make the demo's pictures best in its minutes? Writes results/demo.md.

    python studies/demo_settings.py
    python studies/demo_settings.py --only before r3gan --seeds 0 --minutes 3.75

Every setting of `demo_candidates` trains on the portraits for as many images as it gets through in the demo's
minutes on two quiet cores, so that a setting that learns more from an image and one that sees more images are
compared fairly, whatever else the machine does meanwhile:

1. `demo_speed` measures images/s of all settings, taking turns on two threads, and what the demo's pictures
   and states take of its time;
2. each setting and seed trains for that many images on one thread, two trainings at once;
3. the average of the generator is measured as the demo measures it, on the same held-out images for all;
4. a line for each run is appended to results/demo.jsonl, and `demo_page` writes the page from these lines.

The same command again goes on where it was stopped: every training is a run with states, in a folder that
its settings name. A setting whose changes were changed since is trained anew; its old lines stay, and do not
count.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from demo_candidates import BEFORE, changes, experiment, names
from demo_page import write_page
from demo_speed import Speeds, as_json
from family_pictures import sheet
from pages import run_study
from styleloom import sampling
from styleloom.cli.demo_measures import quality
from styleloom.config import ByResolution, Experiment, RunOptions
from styleloom.config.checks import one_of
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.environment import describe_machine
from styleloom.images import save_png
from styleloom.runs.directory import RunDirectory
from styleloom.runs.fit import fit, resume, run_swd, samples, start

RUN = RunOptions(
    tick_kimg=ByResolution(2), sample_every=10**6, snapshot_every=10**6, state_every=2, keep_states=1
)
"""A state every 4,000 images, so that an interruption costs seconds; nothing else."""

OPTIONS = ("data", "threads", "rounds", "images_per_sec")
"""Of the study, those that its page names."""


@dataclass
class DemoStudy:
    """Train the demo with many settings for the same time, and compare."""

    only: tuple[str, ...] = ()
    """Settings to train; by default all."""
    minutes: float = 7.5
    """The demo's."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One training of each setting for each."""
    at_once: int = 2
    """Trainings at the same time, each on one thread; 1 trains in this process."""
    threads: int = 2
    """The demo's, for measuring images/s."""
    rounds: int = 5
    """Turns of each setting when images/s are measured."""
    images_per_sec: float | None = None
    """Of the settings of before on a quiet machine, where that is known; the ratios of others to it are
    measured."""
    data: str = "portraits"
    """Embedded set, or an archive of 32 px."""
    out: Path = Path("results/demo.md")
    """The page; its numbers go to a .jsonl file and its pictures to a folder of its name beside it."""
    work: Path = Path("runs/demo-settings")
    """Where runs and speeds are kept."""

    @property
    def records(self) -> Path:
        """A line of JSON for each run."""
        return self.out.with_suffix(".jsonl")

    @cached_property
    def fingerprint(self) -> str:
        """Of the images that every setting trains on."""
        made = experiment(BEFORE)
        return open_dataset(self.data, made.resolution).split(made.data.held_out)[0].fingerprint


@dataclass(frozen=True)
class Job:
    """One training.

    Args:
        name, seed: its setting.
        images: that it sees.
        images_per_sec: of its setting.
        data: name of its data set.
    """

    name: str
    seed: int
    images: int
    images_per_sec: float
    data: str

    @property
    def experiment(self) -> Experiment:
        """What it trains."""
        return replace(experiment(self.name, self.seed, self.images / 1000), run=RUN)

    def dataset(self) -> ImageDataset:
        """What it trains on."""
        return open_dataset(self.data, self.experiment.resolution)

    def folder(self, study: DemoStudy) -> Path:
        """Of its run: another one for other settings, another number of images, or other images."""
        what = json.dumps([as_json(changes(self.name)), self.images, study.fingerprint])
        return study.work / f"{self.name}-{self.seed}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"


# ---- one training


def train(study: DemoStudy, job: Job) -> dict[str, Any] | None:
    """Train to the end and measure; the record, or None where a signal ended the training."""
    if study.at_once > 1:  # in a process of its own
        torch.set_num_threads(1)
    folder, dataset = job.folder(study), job.dataset()
    begun = (folder / "experiment.json").exists()
    trainer, run = resume(folder, dataset) if begun else start(folder, job.experiment, dataset)
    with contextlib.closing(trainer):
        if not fit(trainer, run):
            return None
        train_set, reals = trainer.inputs.train_set, trainer.inputs.evaluation_set
        swd = run_swd(trainer, len(reals)).average
    return record(study, job, run, swd, (train_set, reals))


def record(
    study: DemoStudy, job: Job, run: RunDirectory, swd: float, sets: tuple[ImageDataset, ImageDataset]
) -> dict[str, Any]:
    """What the study keeps of a finished run; its sheet is saved beside the runs."""
    sampler = sampling.load(run.snapshots()[-1], "cpu")
    generated, floor = quality(sampler, *sets, "cpu")
    lines = run.stats.read()
    line = {
        "setting": job.name,
        "changes": as_json(changes(job.name)),
        "seed": job.seed,
        "minutes": study.minutes,
        "images": lines[-1]["images_seen"],
        "images_per_sec": round(job.images_per_sec, 2),
        **{name: round(value, 4) for name, value in asdict(generated).items()},
        "swd": round(swd, 2),
        "reals": {name: round(value, 4) for name, value in asdict(floor).items()},
        "held_out": len(sets[1]),
        "options": {name: getattr(study, name) for name in OPTIONS},
        "data": sets[0].fingerprint,
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(torch.device("cpu")),
    }
    save_png(sheet_of(study, line), sheet(samples(sampler.generator, job.experiment, 64)))
    return line


def sheet_of(study: DemoStudy, line: dict[str, Any]) -> Path:
    """The picture of a finished run."""
    name = f"{line['setting']}-{line['seed']}-{line['minutes']:g}-{line['data'][:8]}.png"
    return study.work / "sheets" / name


# ---- the study


def read_records(study: DemoStudy) -> list[dict[str, Any]]:
    """The latest line of each setting, seed and length, of settings and images as they are now."""
    if not study.records.exists():
        return []
    current = {name: as_json(changes(name)) for name in names()}
    found = {}
    for line in map(json.loads, study.records.read_text().splitlines()):
        if line["changes"] == current.get(line["setting"]) and line["data"] == study.fingerprint:
            found[line["setting"], line["seed"], line["minutes"]] = line
    return list(found.values())


def append(study: DemoStudy, line: dict[str, Any]) -> None:
    """Add a run to the records."""
    study.records.parent.mkdir(parents=True, exist_ok=True)
    with study.records.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps({key: line[key] for key in ("setting", "seed", "kid", "recall", "swd")}), flush=True)


def jobs(study: DemoStudy) -> list[Job]:
    """The trainings that are missing: first one seed of all settings, then the next."""
    chosen = study.only or names()
    done = {(line["setting"], line["seed"], line["minutes"]) for line in read_records(study)}
    wanted = [(n, s) for s in study.seeds for n in chosen if (n, s, study.minutes) not in done]
    if not wanted:
        return []
    speeds = Speeds(study.work / "speeds.json", study.threads, study.rounds, study.images_per_sec)
    dataset = open_dataset(study.data, experiment(BEFORE).resolution)
    speeds.measure(tuple(dict.fromkeys(n for n, _ in wanted)), dataset, study.minutes)
    return [Job(n, s, speeds.images(n, study.minutes), speeds.rate(n), study.data) for n, s in wanted]


def run_all(study: DemoStudy, missing: list[Job]) -> int:
    """Run the trainings, and append each as it finishes; 1 when one failed, 130 when one was stopped."""
    if study.at_once == 1:
        for job in missing:
            line = train(study, job)
            if line is None:
                return 130
            append(study, line)
        return 0
    status = 0
    with ProcessPoolExecutor(study.at_once, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(train, study, job): job for job in missing}
        try:
            for future in as_completed(futures):
                if error := future.exception():
                    status = 1
                    print(f"{futures[future].name}: {error}", file=sys.stderr)
                elif line := future.result():
                    append(study, line)
                else:  # a signal to one training ends the study
                    status = 130
                    break
        except KeyboardInterrupt:
            status = 130
        pool.shutdown(cancel_futures=True)
    return status


def main(study: DemoStudy) -> int:
    """Train what is missing, write the page."""
    for name in study.only:
        one_of("only", name, names())
    status = run_all(study, jobs(study))
    lines = read_records(study)
    if lines:
        write_page(study.out, lines, lambda line: sheet_of(study, line))
    return status


if __name__ == "__main__":
    run_study(main, DemoStudy)
