"""The page of a run: complete, offline, its text escaped, and alive in Chromium."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from diagnosis.lines import lines
from styleloom.cli import main
from styleloom.images import save_png
from styleloom.report import names_of, read_run
from styleloom.report.charts import Axis, Chart, Series, render
from styleloom.report.html import data, table, tag
from styleloom.report.page import page
from styleloom.report.words import duration
from styleloom.runs.directory import RunDirectory
from styleloom.runs.sessions import NAME as SESSIONS
from tiny import tiny

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<script>alert(1)</script>"


def written(path: Path, name: str = "tiny", changed: dict[str, Any] | None = None) -> Path:
    """A run directory, without networks: experiment, statistics, pictures, sessions."""
    path.mkdir()
    run = RunDirectory(path)
    record = {"path": "", "name": HOSTILE, "fingerprint": "f" * 64, "count": 20}
    run.write_experiment(replace(tiny("total_kimg=1000", "run.metrics=kid10k_lite0"), name=name), record)
    for line in lines(12, **{"metrics/kid10k_lite0": lambda tick: 100.0 - tick, **(changed or {})}):
        run.stats.append(
            line
            | {
                "images_per_sec": 20.0,
                "sec_total": 160.0 * (line["tick"] + 1),
                "memory_gib": 1.5,
                "errors/kid10k_lite0": 2.5,
                "augment_p": 0.1,
            }
        )
    for kimg in (0, 12, 38):
        save_png(path / f"fakes-ema-{kimg:06d}.png", torch.full((3, 16, 32), kimg, dtype=torch.uint8))
    machine = {"device": "cpu", "hardware": HOSTILE, "threads": 2, "versions": {"torch": "2.13"}}
    session = {"began": "2026-11-28T00:00:00+00:00", "step": 0, "images_seen": 0, "machine": machine}
    (path / SESSIONS).write_text(json.dumps(session) + "\nbroken\n")
    return path


class Reader(html.parser.HTMLParser):
    """Tags, their attributes, and text by section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {}
        self.section = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.section = dict(attrs)["id"] or ""

    def handle_data(self, data: str) -> None:
        self.sections[self.section] = self.sections.get(self.section, "") + data


def test_a_page_has_every_section_and_needs_no_other_file(tmp_path: Path) -> None:
    text = page([read_run(written(tmp_path / "run"))])
    found = Reader(text)
    anchors = [attrs["href"] for name, attrs in found.tags if name == "a"]
    assert [f"#{section}" for section in found.sections if section] == anchors
    sources = [attrs["src"] for name, attrs in found.tags if "src" in attrs]
    assert len(sources) == 3
    assert all(source and source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not [attrs for name, attrs in found.tags if name == "link"]
    assert not re.findall(r"https?://|@import|url\(", text)
    sections = found.sections
    assert "38.4 of 1,000 thousand (4%)" in sections["summary"]
    assert "kid10k_lite0 89 at 38.4 kimg" in sections["summary"]
    assert "about 13.4 hours" in sections["summary"]  # 961,600 images at 20 a second
    assert "No rule found anything wrong" in sections["health"]
    assert "89 ± 4.9 at 38.4 kimg" in sections["metrics"]
    assert "threads2" in sections["machine-and-cost"]
    assert "torch 2.13" in sections["machine-and-cost"]
    assert "32 minutes, 50 seconds per thousand images" in sections["machine-and-cost"]
    assert "1.50 GiB" in sections["machine-and-cost"]
    for chart in ("Losses", "Logits", "Signs of logits", "Augmentation", "Gradient penalty", "Gradients"):
        assert chart in sections["training"], chart
    assert "The experiment tiny is no preset" in sections["experiment"]
    assert "learning_rate.base" in sections["experiment"]


def test_changes_to_the_preset(tmp_path: Path) -> None:
    text = Reader(page([read_run(written(tmp_path / "run", "demo"))])).sections["experiment"]
    assert re.search(r"Changes to the preset demo.*learning_rate\.base\s*0\.01\s*0\.002", text, re.DOTALL)


def test_text_from_files_is_never_markup(tmp_path: Path) -> None:
    path = written(tmp_path / "<b>run & co", changed={"metrics/<i>x": 1.0})
    text = page([read_run(path), read_run(path, '"><img src=x onerror=alert(1)>')])
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    found = Reader(text)
    assert all(attrs.get("class") for name, attrs in found.tags if name == "i")  # ours alone
    assert not [a for name, a in found.tags if name == "b" and "run" in str(a)]
    assert sum(name == "script" and "type" not in attrs for name, attrs in found.tags) == 1
    assert not [attrs for _, attrs in found.tags if "onerror" in attrs]
    assert "<b>run" not in text
    assert "<i>x" not in text
    assert data(["</script><!--", "\u2028"]).markup.count("<") == 2
    assert tag("p", "<&>", title='"').markup == '<p title="&quot;">&lt;&amp;&gt;</p>'
    assert "&lt;td&gt;" in table(["<td>"], [["a", "<td>"]]).markup


def test_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    paths = [written(tmp_path / "a"), written(tmp_path / "b", changed={"distance_fake": 0.05})]
    assert names_of(paths) == ["a", "b"]
    (tmp_path / "c").mkdir()
    assert names_of([paths[0], written(tmp_path / "c" / "a")])[1] == "c/a"
    runs = [read_run(path) for path in paths]
    text = page(runs)
    assert "a: generator" in text
    assert "b: generator" in text
    assert "The generator makes few different images" in Reader(text).sections["health"]
    assert Reader(text).sections["experiment"].startswith("ExperimentWhere the runs differNowhere.")


def test_a_run_without_statistics_has_a_page(tmp_path: Path) -> None:
    run = written(tmp_path / "run")
    for file in (*run.glob("*.png"), run / "stats.jsonl", run / SESSIONS):
        file.unlink()
    found = Reader(page([read_run(run)]))
    sections = found.sections
    anchors = [attrs["href"] for name, attrs in found.tags if name == "a"]
    assert [f"#{section}" for section in sections if section] == anchors
    assert "There are no statistics yet" in sections["health"]
    assert "pictures-over-time" not in sections


def test_axes_and_durations() -> None:
    assert Axis.of([0.13, 0.87]).ticks == pytest.approx((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    assert Axis.of([3.0, 3.0]).low < 3 < Axis.of([3.0, 3.0]).high
    assert Axis.of([1e-3, 50.0], log=True).place(1e-3) == 0
    chart = Chart("x", "", [Series(0, 0, "n", [(1.0, 1e-6), (2.0, 1e3)])])
    assert "logarithmic" in render(chart).markup
    many = Series(0, 0, "n", [(float(i), float(i)) for i in range(5000)])
    assert render(Chart("x", "", [many])).markup.count(",") < 3000
    assert [duration(s) for s in (20, 600, 7200, 864000)] == [
        "20 seconds",
        "10 minutes",
        "2 hours",
        "10 days",
    ]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = written(tmp_path / "run", changed={"distance_fake": 0.05, "nearest_fake": 0.05})
    assert main(["report", str(run), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["report"] == str(run / "report.html")
    assert [found["rule"] for found in document["health"]["run"]] == ["mode-collapse"]
    assert main(["report", str(run)]) == 0  # the run's own page is made anew
    assert "run: The generator makes few" in capsys.readouterr().out
    out = tmp_path / "x.html"
    assert main(["report", str(run), "--out", str(out)]) == 0
    for words, message in (
        ([str(run), "--out", str(out)], "--overwrite"),
        ([str(run), "--out", str(tmp_path / "x.pdf")], "ends with .html"),
        ([str(tmp_path)], "not a run directory"),
    ):
        assert main(["report", *words]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_chromium_moves_through_time(tmp_path: Path) -> None:
    """The slider shows one picture of each film; the numbers under the pointer are told."""
    text = page([read_run(written(tmp_path / "run"))])
    probe = """<script>{
    const found = {}, on = () => [...document.querySelectorAll(".film figure.on")].map(f => f.dataset.kimg);
    const slider = document.getElementById("time");
    found.last = on();
    slider.value = 20; slider.dispatchEvent(new Event("input"));
    found.middle = on();
    found.lines = document.querySelectorAll(".chart polyline").length;
    const plot = document.querySelector(".plot"), box = plot.getBoundingClientRect();
    plot.dispatchEvent(new PointerEvent("pointermove", {clientX: box.right, clientY: box.top + 9}));
    found.tip = document.querySelector(".tip").textContent;
    found.wide = document.documentElement.scrollWidth <= window.innerWidth;
    document.title = JSON.stringify(found);
    }</script></body>"""
    file = tmp_path / "probed.html"
    file.write_text(text.replace("</body>", probe))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900", "--dump-dom"]
    assert CHROMIUM is not None
    done = subprocess.run([CHROMIUM, *flags, file.as_uri()], capture_output=True, text=True, timeout=120)
    found = json.loads(re.findall(r"<title>(.*?)</title>", done.stdout)[0])
    assert (found["last"], found["middle"]) == (["38"], ["12"])
    assert found["lines"] >= 20
    assert found["tip"].startswith("38.4 thousand images")
    assert "kid10k_lite0: 89" in found["tip"]
    assert found["wide"]
