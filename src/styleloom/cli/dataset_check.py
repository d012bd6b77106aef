"""`styleloom dataset check`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.progress import MofNCompleteColumn

from styleloom.cli.dataset import index_document, summary, text_of
from styleloom.cli.progress import counting
from styleloom.cli.report import print_json, say
from styleloom.data.archive import is_archive
from styleloom.data.check import CheckReport, SourceReport, check_dataset, check_source
from styleloom.data.findings import Findings
from styleloom.data.index import Index
from styleloom.data.label_files import MAX_LISTED
from styleloom.data.sources import open_source
from styleloom.errors import UserError, shown

_COLUMNS = 8
_MOST_CLASSES = 1000  # that are printed one a line


@dataclass
class DatasetCheck:
    """Decode every image of an archive and compare it with the index; or look through any other source."""

    path: tyro.conf.Positional[str]
    """An archive, an embedded set (portraits, emoji), or anything that `dataset build` takes."""
    sheet: Path | None = None
    """Write a contact sheet of some of the images to this PNG file."""
    overwrite: bool = False
    """Replace the sheet if it exists."""
    json: bool = False
    """Print one JSON document instead of a report."""

    def run(self) -> int:
        """Check; report on stdout, progress on stderr. Returns 0, or 2 when anything is wrong."""
        if self.sheet is not None and self.sheet.exists() and not self.overwrite:
            raise UserError(f"--sheet: {shown(self.sheet)} exists; replace it with --overwrite")
        report = self._report()
        document = _document(self.path, report)
        if self.sheet is not None:
            write_sheet(self.sheet, report.findings)
            document["sheet"] = str(self.sheet)
        if self.json:
            print_json(document)
        else:
            _print(self.path, report)
        return 2 if report.problems else 0

    def _report(self) -> CheckReport | SourceReport:
        if is_archive(self.path) or _means_archive(self.path):
            with counting("checking", MofNCompleteColumn()) as progress:
                return check_dataset(self.path, progress)
        source = open_source(self.path)
        try:
            with counting("checking", MofNCompleteColumn()) as progress:
                return check_source(source, progress)
        finally:
            source.close()


def _means_archive(path: str) -> bool:
    """Whether a file has the index of an archive in a state that says so, however damaged."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - 2**22))
            return b"styleloom-dataset" in file.read()
    except (OSError, ValueError):
        return False


def write_sheet(path: Path, findings: Findings) -> None:
    """A contact sheet: `_COLUMNS` images a row. Raises UserError where it cannot be written."""
    import torch  # late: it takes seconds to import

    from styleloom.images import Sheet, save_png

    rows = -(-len(findings.tiles) // _COLUMNS)
    if not rows:
        raise UserError("--sheet: no image that could be shown")
    sheet = Sheet(_COLUMNS, rows)
    sheet.add(torch.from_numpy(findings.tiles))
    save_png(path, sheet.pixels)


def _document(path: str, report: CheckReport | SourceReport) -> dict[str, Any]:
    found = report.findings
    if isinstance(report, CheckReport):
        own: dict[str, Any] = index_document(report.index)
    else:
        own = {
            "kind": report.kind,
            "num_images": report.number,
            "label_dim": report.labels.label_dim if report.labels else 0,
            "classes": list(report.labels.classes) if report.labels and report.labels.classes else None,
            "ignored": dict(sorted(report.ignored.items())),
            "remarks": list(report.remarks),
        }
    return {
        "path": path,
        "ok": not report.problems,
        "problems": list(report.problems),
        **own,
        "class_counts": {str(label): count for label, count in report.class_counts.items()},
        "duplicates": [list(group) for group in found.duplicates],
        "near_duplicates": [list(group) for group in found.near_duplicates],
        "blank": list(found.blank),
        "odd_aspect_ratios": list(found.odd),
        "sizes": [[*size, count] for size, count in found.sizes.most_common()],
        "advice": found.advice(),
    }


def _print(path: str, report: CheckReport | SourceReport) -> None:
    if isinstance(report, CheckReport):
        say(f"{shown(path)}: {summary(report.index)}")
        _print_classes(report.class_counts, report.index.classes)
        _print_recipe(report.index)
    else:
        labels = f", label_dim {report.labels.label_dim}" if report.labels else ", no labels"
        say(f"{shown(path)}: {report.kind}, {report.number} images{labels}")
        _print_classes(report.class_counts, report.labels.classes if report.labels else None)
        for ending, count in sorted(report.ignored.items()):
            say(f"  passed over: {count} {shown(ending)}")
        for remark in report.remarks:
            say(f"  {remark}")
        for (width, height), count in report.findings.sizes.most_common(10):
            say(f"  {width}x{height} px: {count} images")
    _print_findings(report.findings)
    for problem in report.problems[:MAX_LISTED]:
        say(f"  problem: {problem}")
    if len(report.problems) > MAX_LISTED:
        say(f"  ... and {len(report.problems) - MAX_LISTED} more problems")
    say(f"{len(report.problems)} problems" if report.problems else "no problems")


def _print_classes(counts: dict[int, int], names: tuple[str, ...] | None) -> None:
    for label, count in list(counts.items())[:_MOST_CLASSES]:
        say(f"  class {label}{f' {shown(names[label])}' if names else ''}: {count} images")


def _print_recipe(index: Index) -> None:
    for field, value in dataclasses.asdict(index.recipe).items():
        say(f"  {field}: {shown(text_of(value))}")


def _print_findings(found: Findings) -> None:
    say(f"  duplicates: {len(found.duplicates)} groups of images with equal pixels")
    for group in found.duplicates[:MAX_LISTED]:
        say(f"    {' = '.join(map(shown, group))}")
    say(f"  near-duplicates: {len(found.near_duplicates)} groups of images that look alike")
    for group in found.near_duplicates[:MAX_LISTED]:
        say(f"    {' ~ '.join(map(shown, group[:MAX_LISTED]))}")
    for words, names in (("of one colour", found.blank), ("of odd proportions", found.odd)):
        if names:
            more = " ..." if len(names) > MAX_LISTED else ""
            say(f"  {words}: {len(names)} images ({', '.join(map(shown, names[:MAX_LISTED]))}{more})")
    for sentence in found.advice():
        say(f"  advice: {sentence}")
