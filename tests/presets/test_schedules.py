"""Tables of batch and learning rate by number of devices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from every import every
from styleloom import presets
from styleloom.config import ByResolution
from styleloom.errors import UserError
from styleloom.presets import for_devices
from styleloom.presets.schedules import DEVICE_COUNTS

from .rows import values

# Total batch at 4, 8, 16, 32, 64, 128, 256, 512 and 1024 px.
BATCH = {
    1: [128, 128, 128, 64, 32, 16, 8, 4, 4],
    2: [256, 256, 128, 64, 32, 16, 8, 8, 8],
    4: [512, 256, 128, 64, 32, 16, 16, 16, 16],
    8: [512, 256, 128, 64, 32, 32, 32, 32, 32],
}
# ProGAN's networks, and so StyleGAN's configuration A; StyleGAN B to F have the last row on any number.
PROGAN_RATE = {
    1: [0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.0015],
    2: [0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.0015, 0.002],
    4: [0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.0015, 0.002, 0.003],
    8: [0.001, 0.001, 0.001, 0.001, 0.001, 0.0015, 0.002, 0.003, 0.003],
}
STYLEGAN_RATE = PROGAN_RATE[8]
MSG = {1: 4, 2: 32, 4: 16, 8: 32}


PROGAN_LIKE = (
    *(f"progan-{count}gpu" for count in DEVICE_COUNTS),
    *("stylegan-a", "stylegan-a-celebahq"),
)


@every("devices", DEVICE_COUNTS)
def test_every_preset_changes_in_nothing_but_the_tables(devices: int) -> None:
    """Batch for all, rates of ProGAN's networks alone, the unit of mixing where it is a device's share."""
    taken = 0
    for name, preset in presets.PRESETS.items():
        try:
            experiment = for_devices(preset, devices)
        except UserError:
            continue
        taken += 1
        if preset.generator.pyramid_sides is not None:
            assert experiment == replace(preset, batch=ByResolution(MSG[devices])), name
            continue
        assert values(experiment.batch) == BATCH[devices], name
        if name in PROGAN_LIKE:
            assert values(experiment.learning_rate) == PROGAN_RATE[devices], name
        else:
            assert experiment.learning_rate == preset.learning_rate, name
        unit = [batch / devices for batch in BATCH[devices]]
        own = [1] * len(unit) if name == "stylegan-f-paper-mixing" else unit
        assert values(experiment.style_mixing_unit) == own, name
        unchanged = {f: getattr(preset, f) for f in ("batch", "learning_rate", "style_mixing_unit")}
        assert replace(experiment, **unchanged) == preset, name
    assert taken > 40


@every("devices", DEVICE_COUNTS)
def test_rates_of_stylegan_on_any_number_of_devices(devices: int) -> None:
    """StyleGAN's code has one table of rates; that for CelebA-HQ keeps its bound of 0.002."""
    for name in ("stylegan-b", "stylegan-f", "stylegan-f-car", "stylegan-traditional-8"):
        assert values(for_devices(presets.get(name), devices).learning_rate) == STYLEGAN_RATE
    capped = for_devices(presets.get("stylegan-f-celebahq"), devices)
    assert values(capped.learning_rate) == [min(rate, 0.002) for rate in STYLEGAN_RATE]


@every("devices", DEVICE_COUNTS)
def test_a_choice_of_ones_own_stays(devices: int) -> None:
    own = ByResolution(0.0007, ((64, 0.0005),))
    for name in ("progan-8gpu", "stylegan-f"):
        changed = replace(presets.get(name), learning_rate=own, style_mixing_unit=ByResolution(2))
        taken = for_devices(changed, devices)
        assert (taken.learning_rate, taken.style_mixing_unit) == (own, ByResolution(2))


def test_units_of_the_paper() -> None:
    """8 devices: 32, 16 and 8 samples each at 8, 16 and 32 px, else 4."""
    unit = presets.get("stylegan-f").style_mixing_unit
    assert values(unit, first=8) == [32, 16, 8, 4, 4, 4, 4, 4]


def test_eight_devices_are_the_presets_own() -> None:
    for name in ("progan-8gpu", "stylegan-a", "stylegan-f"):
        assert for_devices(presets.get(name), 8) == presets.get(name)


@every("devices", DEVICE_COUNTS)
@every("name", ["msg-progan", "msg-progan-none", "msg-stylegan"])
def test_msg(name: str, devices: int) -> None:
    experiment = presets.get(name)
    assert for_devices(experiment, devices) == replace(experiment, batch=ByResolution(MSG[devices]))


@every("name", ["progan", "msg-progan-bmsg", "stylegan2-a", "stylegan2-e", "demo"])
def test_runs_whose_batch_does_not_depend_on_devices(name: str) -> None:
    with pytest.raises(UserError, match=f"device table: not valid for {name}, its batch is in none"):
        for_devices(presets.get(name), 4)


def test_a_number_of_devices_without_a_table() -> None:
    with pytest.raises(UserError, match=r"device table: 3 is not valid, .*choose from 1, 2, 4, 8"):
        for_devices(presets.get("stylegan-f"), 3)
