"""Every golden file against ours: `STYLELOOM_GOLDEN=FOLDER` names another folder of the same format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from every import every

from . import msg_cases, progan_cases, stylegan_cases, stylegan_layer_cases
from .golden_file import FOLDER, Case, GoldenFile, compare
from .growing_cases import stylegan2_growing_discriminator_cases, stylegan2_revised_generator_cases
from .network_cases import (
    ada_discriminator_cases,
    ada_generator_cases,
    tf_discriminator_cases,
    tf_generator_cases,
    tf_generator_training_cases,
)
from .ops_cases import (
    bias_act_cases,
    layer_cases,
    minibatch_std_cases,
    modulated_conv_cases,
    resample_cases,
    resample_conv_cases,
    upfirdn_cases,
)
from .projector_cases import projector_cases
from .training_cases import adam_cases, loss_cases, moving_average_cases, schedule_cases

HANDLERS: dict[str, Callable[[GoldenFile], list[Case]]] = {
    "stylegan2 fused_bias_act": bias_act_cases,
    "stylegan2 dense_layer, conv2d_layer, apply_bias_act, naive_upsample_2d/naive_downsample_2d": layer_cases,
    "stylegan2 minibatch_stddev_layer": minibatch_std_cases,
    "stylegan2 modulated_conv2d_layer": modulated_conv_cases,
    "stylegan2 upsample_2d, downsample_2d, filter_2d": resample_cases,
    "stylegan2 upsample_conv_2d, conv_downsample_2d": resample_conv_cases,
    "stylegan2 upfirdn_2d": upfirdn_cases,
    "stylegan2 G_main with G_mapping and G_synthesis_stylegan2": tf_generator_cases,
    "stylegan2 G_main with G_synthesis_stylegan_revised": stylegan2_revised_generator_cases,
    "stylegan2 G_main, is_training=True": tf_generator_training_cases,
    "stylegan2 D_stylegan2": tf_discriminator_cases,
    "stylegan2 D_stylegan": stylegan2_growing_discriminator_cases,
    "stylegan2 loss functions on a small G_main / D_stylegan2 pair": loss_cases,
    "stylegan2 training_schedule": schedule_cases,
    "stylegan2 Network.setup_as_moving_average_of": moving_average_cases,
    "stylegan2-ada-pytorch Generator": ada_generator_cases,
    "stylegan2-ada-pytorch Discriminator": ada_discriminator_cases,
    "progressive_growing_of_gans G_paper": progan_cases.generator_cases,
    "progressive_growing_of_gans D_paper": progan_cases.discriminator_cases,
    "progressive_growing_of_gans losses on a small G_paper / D_paper pair": progan_cases.loss_cases,
    "progressive_growing_of_gans TrainingSchedule": progan_cases.schedule_cases,
    "msg-stylegan-tf G_style": msg_cases.tf_generator_cases,
    "msg-stylegan-tf D_basic": msg_cases.tf_discriminator_cases,
    "msg-stylegan-tf losses on a small pair": msg_cases.tf_loss_cases,
    "BMSG-GAN Generator / Discriminator and losses": msg_cases.bmsg_cases,
    "stylegan G_style with G_mapping and G_synthesis": stylegan_cases.generator_cases,
    "stylegan G_style, is_training=True": stylegan_cases.generator_training_cases,
    "stylegan D_basic": stylegan_cases.discriminator_cases,
    "stylegan loss functions on a small G_style / D_basic pair": stylegan_cases.loss_cases,
    "stylegan primitive operations and layers": stylegan_layer_cases.layer_cases,
    "stylegan process_reals": stylegan_layer_cases.process_reals_cases,
    "stylegan training_schedule": stylegan_layer_cases.schedule_cases,
    "TensorFlow 1 Adam": adam_cases,
    "stylegan2 projector": projector_cases,
}
"""The official functions that ours are compared with."""

NOT_YET_SUPPORTED: tuple[str, ...] = ()
"""The official functions of networks and tools that we do not have yet."""

FILES = [GoldenFile(path) for path in sorted(FOLDER.glob("*.npz"))]

RUN = [file for file in FILES if file.function in HANDLERS]


def _cases() -> list[object]:
    return [
        pytest.param(file, case, id=f"{file.path.stem}-{case.name}")
        for file in RUN
        for case in HANDLERS[file.function](file)
    ]


def test_there_are_files() -> None:
    assert FILES, f"no golden files in {FOLDER}"


def test_every_file_is_run_or_listed() -> None:
    assert not set(HANDLERS) & set(NOT_YET_SUPPORTED)
    unknown = {f.path.name: f.function for f in FILES if f.function not in (*HANDLERS, *NOT_YET_SUPPORTED)}
    assert not unknown


@every("file", RUN)
def test_cases_account_for_every_output(file: GoldenFile) -> None:
    """Each recorded output belongs to one case, and each case that the file lists is run."""
    cases = HANDLERS[file.function](file)
    counts = Counter(output for case in cases for output in case.outputs)
    assert counts == Counter(list(file.outputs))
    assert all(case.outputs for case in cases)
    listed = file.meta.get("subcases", file.meta.get("cases", ()))
    names = [item["out"] if isinstance(item, dict) else item for item in listed]
    assert set(names) <= {case.name for case in cases}


@pytest.mark.parametrize(("file", "case"), _cases())
def test_case(file: GoldenFile, case: Case) -> None:
    results = case.run()
    assert set(results) == set(case.outputs)
    for output, ours in results.items():
        assert ours, f"{output}: nothing to compare"
        for value in ours:
            compare(file, output, value)
