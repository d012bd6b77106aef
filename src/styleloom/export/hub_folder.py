"""A folder for a hub: the snapshot, its description, and a card that says what it is and how to load it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import styleloom
from styleloom.config import to_json
from styleloom.errors import UserError, quoted, shown
from styleloom.export.targets import Options
from styleloom.file_hash import sha256_of
from styleloom.hub import CARD, CONFIG, MODEL
from styleloom.snapshot import FORMAT, Snapshot, write_snapshot

MAX_EVALUATION_BYTES = 2**24
"""Largest record of an evaluation that is read."""

UNKNOWN = "unknown"
"""The licence of a card where none is given."""


def export(snapshot: Snapshot, folder: Path, options: Options) -> dict[str, Any]:
    """Write the folder; its description. It holds the average generator alone.

    Raises UserError for an evaluation of another snapshot.
    """
    measured = [_evaluation(path, snapshot) for path in options.evaluation]
    write_snapshot(folder / MODEL, snapshot.generator, snapshot.experiment, **snapshot.info)
    config = description(snapshot, options.license, sha256_of(folder / MODEL))
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(card(snapshot, config, measured), encoding="utf-8")
    return {"config": config}


def description(snapshot: Snapshot, licence: str | None, sha256: str) -> dict[str, Any]:
    """What config.json says."""
    cfg, generator = snapshot.experiment.generator, snapshot.generator
    return {
        "library_name": "styleloom",
        "styleloom": styleloom.__version__,
        "format": FORMAT,
        "model_type": cfg.family,
        "file": MODEL,
        "sha256": sha256,
        "exported_from_sha256": snapshot.sha256,
        "license": licence or _origin(snapshot).get("licence") or UNKNOWN,
        "image": {"channels": cfg.channels, "height": cfg.size[0], "width": cfg.size[1]},
        "latents": {"z": generator.z_dim, "w": len(generator.w_avg), "num_ws": generator.num_ws},
        "classes": generator.label_dim,
        "parameters": sum(p.numel() for p in generator.parameters()),
        "info": snapshot.info,
        "experiment": to_json(snapshot.experiment),
    }


def _origin(snapshot: Snapshot) -> Mapping[str, Any]:
    """Where the weights came from, if they were converted."""
    origin = snapshot.info.get("origin")
    return origin if isinstance(origin, dict) else {}


def _evaluation(path: Path, snapshot: Snapshot) -> dict[str, Any]:
    """What `styleloom evaluate --json` printed of this snapshot."""
    try:
        if path.stat().st_size > MAX_EVALUATION_BYTES:
            raise UserError(f"--evaluation: {shown(path)} has more than {MAX_EVALUATION_BYTES:,} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
        measured = document["subject"]["sha256"]
        rows = {str(name): dict(entry) for name, entry in document["metrics"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"--evaluation: {shown(path)} is no record of an evaluation ({quoted(str(error))}); what "
            "`styleloom evaluate SNAPSHOT --json` prints"
        ) from error
    if measured != snapshot.sha256:
        raise UserError(f"--evaluation: {shown(path)} measured another snapshot, {quoted(measured)}")
    return {**document, "metrics": rows}


# ---- the card


def card(snapshot: Snapshot, config: Mapping[str, Any], measured: Sequence[Mapping[str, Any]]) -> str:
    """The text of README.md."""
    return "\n".join(
        [
            *_head(config),
            *_what(snapshot, config),
            *_numbers(snapshot, measured),
            *_use(snapshot),
            *_rights(config),
        ]
    )


def _head(config: Mapping[str, Any]) -> Iterator[str]:
    """What the hub itself reads."""
    yield "---"
    yield "library_name: styleloom"
    yield "pipeline_tag: unconditional-image-generation"
    yield f"license: {json.dumps(config['license'])}"
    yield f"tags: [gan, {config['model_type']}]"
    yield "---\n"


def _what(snapshot: Snapshot, config: Mapping[str, Any]) -> Iterator[str]:
    experiment, image = snapshot.experiment, config["image"]
    data = snapshot.info.get("data")
    seen = snapshot.info.get("images_seen")
    yield f"# {_plain(experiment.name)}\n"
    yield (
        f"A generator of images of {image['width']} x {image['height']} px, {image['channels']} channels: "
        f"family {config['model_type']}, {config['parameters']:,} parameters, trained with styleloom.\n"
    )
    yield "| | |\n|---|---|"
    yield f"| experiment | {_plain(experiment.name)}: {_plain(experiment.source)} |"
    yield f"| data | {_plain(json.dumps(data)) if data is not None else 'not recorded'} |"
    yield f"| images shown | {f'{seen:,.0f}' if seen is not None else 'not recorded'} |"
    for name, value in _origin(snapshot).items():
        yield f"| origin: {_plain(name)} | {_plain(json.dumps(value))} |"
    yield f"| SHA-256 of {MODEL} | {config['sha256']} |\n"


def _numbers(snapshot: Snapshot, measured: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Measured\n"
    if not measured and "swd" not in snapshot.info:
        yield "Nothing was measured.\n"
        return
    yield "| metric | value | spread | compared with | when and with what |\n|---|---|---|---|---|"
    if "swd" in snapshot.info:
        yield f"| swd | {_plain(snapshot.info['swd'])} | | the run's own images | by the run, in training |"
    for document in measured:
        data = document.get("data")
        what = _plain(json.dumps(data)) if data is not None else "nothing"
        when = f"{_plain(document.get('date'))}, seed {_plain(document.get('seed'))}"
        for name, entry in document["metrics"].items():
            for key, value in (entry.get("values") or {}).items():
                label = name if key == name else f"{name}: {key}"
                numbers = value if isinstance(value, dict) else {"mean": value}
                spread = _plain(numbers.get("std", ""))
                yield f"| {_plain(label)} | {_plain(numbers.get('mean'))} | {spread} | {what} | {when} |"
    yield ""


def _use(snapshot: Snapshot) -> Iterator[str]:
    truncates = snapshot.experiment.generator.truncates
    classes = ", classes=0" if snapshot.generator.label_dim else ""
    psi = ", truncation=0.7" if truncates else ""
    yield "## Use\n"
    yield "```python\nimport styleloom\n"
    yield f'sampler = styleloom.load("{MODEL}")  # or "hf://OWNER/NAME", where this folder was pushed'
    yield f"images = sampler.generate(seeds=range(8){psi}{classes})  # [8, C, H, W], about [-1, 1]\n```\n"
    yield f"```bash\nstyleloom generate {MODEL} --seeds 0-7 --out images\n```\n"
    yield "Loading executes nothing: the file holds tensors and a description.\n"


def _rights(config: Mapping[str, Any]) -> Iterator[str]:
    yield "## Licence\n"
    if config["license"] == UNKNOWN:
        yield "Not stated. Ask whoever published this before you use it.\n"
    else:
        yield f"{_plain(config['license'])}\n"


def _plain(value: object) -> str:
    """Text of any origin in one cell of a table."""
    text = " ".join(str(value).split())
    return "".join(f"\\{c}" if c in "|<>`[]*_" else c for c in text if c.isprintable())
