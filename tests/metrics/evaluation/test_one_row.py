"""A further metric is one object in `METRICS`: nothing else has to know of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from metrics.plugged import Projection, plugged
from styleloom.cli.evaluate import Metrics
from styleloom.data import open_dataset
from styleloom.errors import UserError
from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.definitions import METRICS, parse_all
from styleloom.metrics.evaluation.keep import ROWS
from styleloom.metrics.evaluation.measure import Measure
from styleloom.metrics.evaluation.metric import CHOICE, IMAGES, NETWORK, NUM, Definition
from styleloom.metrics.evaluation.probe_metric import Probe, ProbeMetric
from styleloom.metrics.evaluation.set_metric import SetMetric
from styleloom.metrics.evaluation.subject import RealImages, Subject
from styleloom.metrics.evaluation.suite import Evaluation
from styleloom.metrics.moments import Rows
from styleloom.networks.build import build_generator
from styleloom.runs.metrics import check_metrics
from styleloom.sampling import Sampler
from tiny import make_archive, tiny


class Offset(SetMetric):
    keep, layer = ROWS, "features"
    needs_reals = True

    def number(self, d: Definition, reals: Rows, fakes: Rows, seed: int) -> Measure:
        return Measure({d.name: (reals.tensor.mean(0) - fakes.tensor.mean(0)).norm().item()})


class Spread(ProbeMetric):
    in_training = False

    def measure(self, probe: Probe, d: Definition) -> Measure | None:
        parts = probe.results(d.name, d.num, lambda seeds, labels: probe.images.sampler.draw(seeds)[0])
        return Measure({d.name: torch.cat(parts).std().item()})


OFFSET = Offset(
    kind="offset",
    pattern=rf"offset{IMAGES}{CHOICE}{NETWORK}",
    num=100,
    text="distance of means",
    example="offset1k",
)
SPREAD = Spread(kind="spread", pattern=rf"spread{NUM}", num=10, text="deviation of latents", example="spread")


def test_a_row_is_all_that_a_metric_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for metric in (OFFSET, SPREAD):
        monkeypatch.setitem(METRICS, metric.kind, metric)
    experiment = tiny()
    sampler = Sampler(build_generator(experiment.generator).eval().requires_grad_(False), experiment)
    reals = RealImages(open_dataset(make_archive(tmp_path, 8)))
    subject = Subject("s", {}, sampler, reals)
    with plugged(Projection()) as network:
        evaluation = Evaluation(parse_all("offset8_proj,spread4"), FeatureNetworks(torch.device("cpu")))
        found = evaluation.run(subject)["metrics"]
        real, fake = (
            network.features(images.images(range(8)), ["out"])["out"].mean(0)
            for images in (reals.images("first"), subject.images())
        )
    values = {name: entry["values"][name]["mean"] for name, entry in found.items()}
    assert values["offset8_proj"] == pytest.approx((real - fake).norm().item(), rel=1e-5)
    assert values["spread4"] == pytest.approx(sampler.draw(range(4))[0].std().item())
    assert (found["offset8_proj"]["kind"], found["offset8_proj"]["reals"]["used"]) == ("offset", 8)

    with pytest.raises(UserError, match="spread1: 1 is too few; valid: at least 2"):
        Evaluation(parse_all("spread1"), evaluation.networks).check(subject)
    with pytest.raises(UserError, match="spread4 cannot be measured in training"):
        check_metrics(["spread4"])
    assert Metrics(json=True).run() == 0
    assert json.loads(capsys.readouterr().out)["spread"]["examples"] == ["spread"]
