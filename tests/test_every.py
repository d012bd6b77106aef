"""The loop over facts that other tests use: nothing wrong is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from every import every


@every("number", range(5))
def odd(number: int, folder: Path) -> None:
    (folder / str(number)).touch()
    assert number % 2, "even"


@every("number", [])
def none_at_all(number: int) -> None:
    pass


def test_all_cases_run_and_all_that_are_wrong_are_shown(tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as caught:
        odd(folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "2", "3", "4"}
    first, *wrong = str(caught.value).splitlines()
    assert first.startswith("3 of 5 cases are wrong")
    assert [line.split(":")[0] for line in wrong if line.startswith("number=")] == [
        "number=0",
        "number=2",
        "number=4",
    ]
    assert "even" in wrong[0]


def test_no_cases_are_no_success() -> None:
    with pytest.raises(AssertionError, match="there are no cases"):
        none_at_all()


@every("expected", [IndexError, KeyError])
def refuses(expected: type[Exception]) -> None:
    with pytest.raises(expected):
        [].pop() if expected is IndexError else None


def test_refusals_that_do_not_come_are_wrong() -> None:
    with pytest.raises(AssertionError) as caught:
        refuses()
    assert (
        "1 of 2 cases are wrong, the first as above\nexpected=<class 'KeyError'>: Failed: DID NOT RAISE"
        in str(caught.value)
    )


@every("base", [2, 3])
@every(("power", "value"), [(0, 1), (1, None)])
def test_tables_can_be_combined_and_take_fixtures(
    base: int, power: int, value: int | None, tmp_path: Path
) -> None:
    assert tmp_path.is_dir()
    assert base**power == (value or base)
