"""Trainings of several processes: which experiments, and a program that torchrun starts on each process.

    PYTHONPATH=src:tests torchrun --nproc-per-node 2 -m training.together ARCHIVE FOLDER CASE ...

trains each case and writes its states, from process 0, to FOLDER/CASE.safetensors.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from presets.shrink import shrink
from styleloom import presets
from styleloom.config import ByResolution, Experiment, apply_overrides
from styleloom.data.dataset import open_dataset
from styleloom.distributed import ALONE, Processes
from styleloom.training.trainer import Trainer

TESTS = Path(__file__).parents[1]

BATCH, STEPS = 16, 7
"""Of a growing case, steps 1 and 2 are at 8 px, 3 and 4 fade, 5 and 6 are at 16 px."""

PLAIN = ("adam.epsilon=0.001", "learning_rate_factor=1")
"""With the papers' epsilon, Adam moves a parameter whose gradient is 0 but for rounding by a whole step, with
the sign of a rounding error."""

LAZY = ("g_regularizer.every=2", "d_regularizer.every=2")

CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "progan": ("progan", ()),
    "stylegan-f": ("stylegan-f", ("label_dim=2",)),
    "msg-progan": ("msg-progan", ("loss=wgan", "d_regularizer.kind=two-sided", "d_regularizer.gamma=10")),
    "msg-stylegan": ("msg-stylegan", ()),
    "stylegan2-d": ("stylegan2-d", LAZY),
    "stylegan2-f": ("stylegan2-f", LAZY),
    "path-length-in-every-step": ("stylegan2-f", ("g_regularizer.every=1", "d_regularizer.every=1")),
    "pairs": ("stylegan2-f", ("loss=relativistic-pairing", "d_regularizer.r2_gamma=1", "label_dim=2", *LAZY)),
    "shared-latents": ("stylegan2-f", ("shared_latents=true", *LAZY)),
    "augmented": ("stylegan2-f", ("augment.mode=ada", "augment.p=0.6", "augment.every=2", *LAZY)),
    "rmsprop": ("stylegan2-f", ("optimizer=rmsprop", *LAZY)),
}
"""A preset and overrides, by name."""


def experiment_of(case: str) -> Experiment:
    """The case in miniature."""
    preset, overrides = CASES[case]
    small = shrink(presets.get(preset))
    kimg = 2 * BATCH / 1000
    group = small.discriminator.minibatch_std
    small = replace(
        small,
        batch=ByResolution(BATCH),
        growth=replace(small.growth, stabilize_kimg=kimg, fade_kimg=kimg),
        discriminator=replace(small.discriminator, minibatch_std=replace(group, group_size=4)),
    )
    return apply_overrides(small, (*PLAIN, *overrides))


@torch.no_grad()
def leave_the_beginning(g: nn.Module) -> None:
    """Noise that counts, and a constant that varies: StyleGAN's is 1 at first, and its first instance
    normalization divides rounding errors by a deviation of 1e-4."""
    for name, parameter in g.named_parameters():
        if name.endswith((".strength", ".const")):
            values = torch.arange(parameter.numel()).reshape(parameter.shape)
            parameter.copy_(0.3 + values.remainder(7) / 10)


def trained(case: str, archive: Path, processes: Processes = ALONE, steps: int = STEPS) -> dict[str, Tensor]:
    """The tensors of the state after `steps` steps, and the statistics of the last one as `stats.NAME`."""
    trainer = Trainer(experiment_of(case), open_dataset(archive), "cpu", 0, processes=processes)
    leave_the_beginning(trainer.g)
    stats: dict[str, Tensor] = {}
    for _ in range(steps):
        stats |= trainer.step()
    tensors = {name: t.clone(memory_format=torch.contiguous_format) for name, t in trainer.state()[0].items()}
    assert processes.same({name: t.numpy().tobytes() for name, t in tensors.items()}), case
    trainer.close()
    return tensors | {f"stats.{name}": value for name, value in stats.items()}


def torchrun(size: int, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run `-m words` on `size` processes of this machine, one thread each.

    Args:
        options: of torchrun, such as max_restarts.
    """
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"}
    return subprocess.run(
        [*launcher, *flags, "-m", *words], env=environment, capture_output=True, text=True, timeout=600
    )


def main(archive: str, folder: str, *cases: str) -> None:
    """Train the cases on the processes that torchrun has started."""
    torch.set_num_threads(1)
    processes = Processes.join()
    for case in cases:
        tensors = trained(case, Path(archive), processes)
        if processes.collects:
            save_file(tensors, Path(folder) / f"{case}.safetensors")
    processes.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
