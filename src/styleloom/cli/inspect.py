"""`styleloom inspect`: what a file of weights is, and whether styleloom reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tyro

from styleloom.cli.report import print_json, say
from styleloom.errors import UserError, shown
from styleloom.snapshot_names import find_snapshot


@dataclass
class Inspect:
    """Tell what a file of weights is: whose format, which networks, and whether it is read. Runs nothing."""

    file: tyro.conf.Positional[str]
    """A file of another code (*.pkl, *.pt, *.pth), a snapshot, a run, hf://owner/name, or an embedded
    model."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Print what the file is; 0. Raises UserError where a file of a known kind does not fit its kind."""
        path = find_snapshot(self.file)
        from styleloom.foreign import description  # late: torch takes seconds to import
        from styleloom.foreign.container import looks_foreign
        from styleloom.foreign.reading import read_foreign
        from styleloom.snapshot import read_snapshot

        if looks_foreign(path):
            document = description.describe(read_foreign(path))
        else:
            snapshot = read_snapshot(path)
            there = {"G": snapshot.raw, "D": snapshot.discriminator, "G_ema": snapshot.generator}
            networks = {role: network for role, network in there.items() if network is not None}
            document = description.describe_own(path, snapshot.experiment, snapshot.info, networks)
        if self.json:
            print_json(document)
        else:
            for line in _lines(document):
                say(shown(line))  # texts of the file may hold line breaks
        if not document["read"] and not document["known"]:
            raise UserError(f"{shown(path)}: {document['reason']}")
        return 0


def _lines(document: dict[str, Any]) -> list[str]:
    """The document as lines for a reader."""
    version = f", version {document['version']}" if document.get("version") else ""
    lines = [
        f"{document['file']}: {document['format']}{version} ({document['container']})",
        f"written by     {document['code']}",
        f"licence        {document.get('licence') or 'not known'}",
    ]
    for role, network in document.get("networks", {}).items():
        size = f"{network['variables']} variables, {network['numbers']:,} numbers"
        if network["read"]:
            size += f", {network['parameters']:,} of them parameters"
        elif document["read"]:
            size += f"; is not read: {network['reason']}"
        lines.append(f"{role:<14} {network['function']}: {size}")
    if document["read"]:
        lines += [
            f"generator      {document['family']}, {document['height']} x {document['width']} px, "
            f"{document['channels']} channels, {document['labels']} labels, "
            f"{document['mapping_layers'] or 0} mapping layers",
        ]
    if "w_average" in document:
        lines.append(f"average of w   {document['w_average']}")
    unpickling = document["unpickling"]
    if unpickling:
        lines.append(f"would import   {', '.join(unpickling['imports']) or 'nothing'}")
        texts = unpickling["source_texts"]
        executed = f"{texts}, which its own code executes; nothing is run here" if texts else "none"
        lines.append(f"source inside  {executed}")
    exact = f"yes, {document['exactness']}" if "exactness" in document else "yes"
    lines.append(f"is read        {exact if document['read'] else 'no: ' + document['reason']}")
    return lines
