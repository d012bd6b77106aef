"""Tables of batch and learning rate by number of devices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from styleloom import presets
from styleloom.config import ByResolution
from styleloom.errors import UserError
from styleloom.presets import for_devices
from styleloom.presets.schedules import DEVICES

from .rows import values

# Total batch at 4, 8, 16, 32, 64, 128, 256, 512 and 1024 px.
BATCH = {
    1: [128, 128, 128, 64, 32, 16, 8, 4, 4],
    2: [256, 256, 128, 64, 32, 16, 8, 8, 8],
    4: [512, 256, 128, 64, 32, 16, 16, 16, 16],
    8: [512, 256, 128, 64, 32, 32, 32, 32, 32],
}
RATE = {
    1: [0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.0015],
    2: [0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.0015, 0.002],
    4: [0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.0015, 0.002, 0.003],
    8: [0.001, 0.001, 0.001, 0.001, 0.001, 0.0015, 0.002, 0.003, 0.003],
}
MSG = {1: 4, 2: 32, 4: 16, 8: 32}


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("name", ["progan-8gpu", "progan-1gpu", "stylegan-a", "stylegan-f", "stylegan-f-car"])
def test_growing_runs(name: str, devices: int) -> None:
    experiment = for_devices(presets.get(name), devices)
    assert values(experiment.batch) == BATCH[devices]
    assert values(experiment.learning_rate) == RATE[devices]
    per_device = [batch / devices for batch in BATCH[devices]]
    assert values(experiment.style_mixing_unit) == per_device
    unchanged = {
        field: getattr(presets.get(name), field) for field in ("batch", "learning_rate", "style_mixing_unit")
    }
    assert replace(experiment, **unchanged) == presets.get(name)


def test_units_of_the_paper() -> None:
    """8 devices: 32, 16 and 8 samples each at 8, 16 and 32 px, else 4."""
    unit = presets.get("stylegan-f").style_mixing_unit
    assert values(unit, first=8) == [32, 16, 8, 4, 4, 4, 4, 4]


def test_eight_devices_are_the_presets_own() -> None:
    for name in ("progan-8gpu", "stylegan-a", "stylegan-f"):
        assert for_devices(presets.get(name), 8) == presets.get(name)


def test_learning_rates_for_celebahq_stay_bounded() -> None:
    capped = presets.get("stylegan-f-celebahq")
    assert for_devices(capped, 8) == capped
    assert values(for_devices(capped, 4).learning_rate) == [min(rate, 0.002) for rate in RATE[4]]
    assert values(for_devices(capped, 1).learning_rate) == RATE[1]


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("name", ["msg-progan", "msg-progan-none", "msg-stylegan"])
def test_msg(name: str, devices: int) -> None:
    experiment = presets.get(name)
    assert for_devices(experiment, devices) == replace(experiment, batch=ByResolution(MSG[devices]))


@pytest.mark.parametrize("name", ["progan", "msg-progan-bmsg", "stylegan2-a", "stylegan2-e", "demo"])
def test_runs_whose_batch_does_not_depend_on_devices(name: str) -> None:
    with pytest.raises(UserError, match=f"device table: not valid for {name}, its batch is in none"):
        for_devices(presets.get(name), 4)


def test_a_number_of_devices_without_a_table() -> None:
    with pytest.raises(UserError, match=r"device table: 3 is not valid, .*choose from 1, 2, 4, 8"):
        for_devices(presets.get("stylegan-f"), 3)
