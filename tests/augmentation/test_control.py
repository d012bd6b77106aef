"""What steers p, besides the recorded numbers in tests/parity."""

from __future__ import annotations

import math

import torch

from styleloom.augmentation.control import Control
from styleloom.config.augmentation import Augmentation


def test_a_fixed_probability_stays() -> None:
    control = Control(Augmentation("fixed", 0.25))
    for step in range(1, 9):
        control.report(1.0, 8)
        control.end_step(step, 8)
    assert control.p == 0.25
    assert control.state() == {}


def test_outputs_that_are_no_numbers_change_nothing() -> None:
    control = Control(Augmentation("ada", 0.5, every=1))
    control.report(math.nan, 32)
    control.end_step(1, 32)
    assert control.p == 0.5


def test_signs_are_averaged_between_adjustments_by_their_counts() -> None:
    """Of batches of 8 and 24, the larger counts three times."""
    for large, rises in ((0.7, True), (0.6, False)):
        control = Control(Augmentation("ada", 0.5, every=2, kimg=1, target=0.6))
        control.report(0.5, 8)
        control.end_step(1, 8)
        assert control.p == 0.5
        control.report(large, 24)
        control.end_step(2, 24)
        assert math.isclose(control.p, 0.532 if rises else 0.468, rel_tol=1e-6)


def test_the_state_between_two_adjustments() -> None:
    """A state holds the signs that were seen; one without them, from before, begins with p as it is set."""
    settings = Augmentation("ada", 0.125, every=2, kimg=1)
    whole, resumed = Control(settings), Control(settings)
    whole.report(1.0, 8)
    whole.end_step(1, 8)
    resumed.load(whole.state())
    for control in (whole, resumed):
        control.report(-0.5, 8)
        control.end_step(2, 8)
    assert resumed.p == whole.p < 0.125
    resumed.load({"path_mean": torch.zeros(())})
    assert resumed.p == whole.p
