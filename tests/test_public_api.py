"""What `import styleloom` offers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import styleloom
from every import every
from styleloom.runs.fit import fit, start
from tiny import make_archive, tiny


@every("name", styleloom.__all__)
def test_every_name_exists_and_is_documented(name: str) -> None:
    assert (getattr(styleloom, name).__doc__ or "").strip()


def test_all_and_the_table_agree() -> None:
    assert sorted(styleloom.__all__) == sorted(styleloom._HOMES) == styleloom.__all__


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="'styleloom' has no attribute 'laod'"):
        _ = styleloom.laod  # type: ignore[attr-defined]


def test_import_is_light() -> None:
    code = "import sys, styleloom; styleloom.__version__; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(styleloom.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_from_data_to_images(tmp_path: Path) -> None:
    """The whole way in Python."""
    dataset = styleloom.open_dataset(make_archive(tmp_path))
    experiment = tiny("total_kimg=0.016")
    assert isinstance(experiment, styleloom.Experiment)
    assert styleloom.preset("demo").name == "demo"
    trainer, run = start(tmp_path / "run", experiment, dataset, device="cpu")
    assert isinstance(trainer, styleloom.Trainer)
    assert fit(trainer, run)
    trainer.close()
    g = styleloom.load(run.snapshots()[-1], device="cpu")
    assert isinstance(g, styleloom.Sampler)
    images = g.generate(seeds=range(2), truncation=0.7)
    styleloom.save_png(tmp_path / "x.png", styleloom.to_uint8(images[0]))
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_user_errors_are_exceptions_of_their_own() -> None:
    assert issubclass(styleloom.UserError, Exception)
    with pytest.raises(styleloom.UserError, match="did you mean 'demo'"):
        styleloom.preset("dmo")


def test_loading_imports_no_compiler() -> None:
    """It takes a second: networks without weights are built for every snapshot, of every family."""
    code = """
import sys
from styleloom.networks.build import build_discriminator, build_generator, weightless
from styleloom.presets import PRESETS, get
experiments = {type(get(name).generator): get(name) for name in PRESETS}.values()
with weightless():
    networks = [build(x) for e in experiments for build, x in (
        (build_generator, e.generator), (build_discriminator, e.discriminator))]
assert len(networks) == 10 and all(p.is_meta for network in networks for p in network.parameters())
import styleloom
styleloom.load("portraits-64", device="cpu")
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
