"""Processes that train together take the steps that one process takes, up to rounding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from styleloom.training import phases, signals
from styleloom.training.regularizers import scales
from styleloom.types import Images
from tiny import make_archive
from training.together import CASES, torchrun, trained

QUICK = ("stylegan-f", "augmented")
SHARED = (
    (2, QUICK),
    pytest.param(2, tuple(set(CASES) - set(QUICK)), marks=pytest.mark.slow),
    pytest.param(4, tuple(CASES), marks=pytest.mark.slow),
)
"""Number of processes, and what they train."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("together"), number=40, side=16, labels="folders")


def difference(
    ours: dict[str, Tensor], theirs: dict[str, Tensor], start: dict[str, Tensor], prefix: str
) -> float:
    """Distance of the parameters after the training over the way that one process went."""
    names = [name for name in theirs if name.startswith(prefix) and "noise.fixed" not in name]
    mine, other, first = (torch.cat([t[n].double().flatten() for n in names]) for t in (ours, theirs, start))
    return float((mine - other).norm() / (other - first).norm())


def distances_within_shares(size: int) -> Callable[[Images, str], dict[str, Tensor]]:
    """What `size` processes tell of how different the images of a batch are: each looks at its own."""

    def distances(images: Images, kind: str) -> dict[str, Tensor]:
        top = scales(images)[-1]
        found = [signals.distances(top[k::size], kind) for k in range(size)]
        return {name: torch.stack([each[name] for each in found]).mean() for name in found[0]}

    return distances


@pytest.mark.parametrize(("size", "cases"), SHARED)
def test_every_family_takes_the_steps_of_one_process(
    size: int, cases: tuple[str, ...], archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In full and growing phases; noise, latents, labels and images are those of one process."""
    monkeypatch.setattr(phases, "signals", SimpleNamespace(distances=distances_within_shares(size)))
    run = torchrun(size, "training.together", str(archive), str(tmp_path), *cases)
    assert run.returncode == 0, run.stderr
    wrong = {}
    for case in cases:
        ours = load_file(tmp_path / f"{case}.safetensors")
        theirs, start = trained(case, archive), trained(case, archive, steps=0)
        assert ours.keys() == theirs.keys()
        for name in ("rng.torch", "rng.draws"):
            assert torch.equal(ours[name], theirs[name]), (case, name)
        for name, value in theirs.items():
            if name.startswith("stats.") or name == "path_mean":
                close = torch.allclose(ours[name], value, rtol=1e-3, atol=1e-5)
                assert close, (case, name, ours[name], value)
        for prefix in ("g.", "d.", "ema."):
            wrong[case, prefix] = difference(ours, theirs, start, prefix)
    assert max(wrong.values()) < 1e-3, wrong
