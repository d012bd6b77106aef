"""What a report says of a run in a few words: durations, shares, costs."""

from __future__ import annotations

from typing import Any

from styleloom.config.overrides import value_text
from styleloom.data.dataset import ImageDataset
from styleloom.report.charts import short
from styleloom.report.html import Html, tag
from styleloom.report.record import RunRecord
from styleloom.runs.metrics import ERROR_PREFIX, PREFIX


def duration(seconds: float | None) -> str | None:
    """ "40 s", "12 min", "5.9 hours", "12 days"."""
    if seconds is None:
        return None
    for size, unit in ((86400 * 2, 86400), (5400, 3600), (90, 60)):
        if seconds >= size:
            return f"{seconds / unit:,.3g} {({86400: 'days', 3600: 'hours', 60: 'minutes'})[unit]}"
    return f"{seconds:.0f} seconds"


def size(run: RunRecord) -> str:
    """Width and height of its images."""
    height, width = run.experiment.generator.size
    return f"{width} x {height}"


def share(run: RunRecord) -> float:
    """Of the images that it is to show."""
    return min(run.kimg / run.experiment.total_kimg, 1.0)


def best(run: RunRecord) -> str | None:
    """The best value of the metric that picks snapshots."""
    best = run.best()
    return (
        None
        if best is None
        else f"{run.judge.field.removeprefix(PREFIX)} {best[1]:.4g} at {best[0]:,.4g} kimg"
    )


def to_come(run: RunRecord) -> str | None:
    """The time that is left."""
    left = run.seconds_to_come()
    if left is None:
        return None
    return f"about {duration(left)} at the present speed" if left else "nothing, it is complete"


def state_of_health(run: RunRecord) -> Html:
    """What is wrong at the end."""
    lasting = [episode.finding.title for episode in run.health if episode.lasts]
    if len(lasting) > 2:
        lasting = [lasting[0], f"and {len(lasting) - 1} more"]
    return tag("span", "; ".join(lasting) or "nothing found", class_="bad" if lasting else "good")


def nothing_wrong(run: RunRecord) -> str:
    """What to say of a run without findings."""
    if not run.lines:
        return "There are no statistics yet."
    return "No rule found anything wrong in any tick. That proves little: look at the pictures."


def not_judged(run: RunRecord) -> list[str]:
    """Sicknesses that nothing was recorded of."""
    found = []
    if run.lines and not any(line.get("distance_fake") for line in run.lines):
        found.append("differences between images (the run is older than this signal)")
    if run.lines and not any(line.get("logits_held_out") is not None for line in run.lines):
        why = "the run is older than this signal" if run.experiment.data.held_out else "none are held out"
        found.append(f"overfitting by held-out images ({why})")
    if run.lines and run.best() is None:
        found.append("progress (no metric was measured)")
    return found


def latest(run: RunRecord, field: str) -> str | None:
    """The last value of a metric, with its 95 % interval where that is known."""
    lines = [line for line in run.lines if line.get(field) is not None]
    if not lines:
        return None
    line = lines[-1]
    error = line.get(ERROR_PREFIX + field.removeprefix(PREFIX))
    interval = "" if error is None else f" ± {1.96 * error:.2g}"
    return f"{line[field]:.4g}{interval} at {line['images_seen'] / 1000:,.4g} kimg"


def memory(run: RunRecord) -> str | None:
    """The peak."""
    found = [line["memory_gib"] for line in run.lines if line.get("memory_gib")]
    return f"{max(found):.2f} GiB" if found else None


def cost(run: RunRecord) -> str | None:
    """Time so far, and per thousand images."""
    seconds = run.last.get("sec_total")
    if not seconds or not run.kimg:
        return None
    return f"{duration(seconds)}, {duration(seconds / run.kimg)} per thousand images"


def per_session(run: RunRecord, read: Any) -> str | None:
    """What the run's machines were, each once, in their order."""
    found = [read(session["machine"]) for session in run.sessions]
    return "; then ".join(dict.fromkeys(str(value) for value in found if value)) or None


def count(run: RunRecord) -> str:
    """How many images it has."""
    count = run.data.get("count")
    return f"{count:,}" if isinstance(count, int) else str(count)


def recipe(dataset: ImageDataset) -> str | None:
    """How the archive was made."""
    return ", ".join(
        f"{name} {value}" for name, value in dataset.recipe.items() if value not in (None, "", 0)
    )


def text(value: Any) -> str:
    """A value of the experiment as --set takes it."""
    return "" if value is None else value_text(value)


def speed(run: RunRecord) -> str | None:
    """Of the latest tick."""
    rate = run.last.get("images_per_sec")
    return None if rate is None else f"{short(rate)} images/s"


def software(machine: dict[str, Any]) -> str:
    """Versions of a session's machine."""
    versions = machine.get("versions")
    return ", ".join(f"{n} {v}" for n, v in versions.items()) if isinstance(versions, dict) else ""
