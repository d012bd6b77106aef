"""The folder for browsers: its numbers of a seed are torch's, and Chromium draws the sampler's images."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from styleloom.data.reals import to_uint8
from styleloom.errors import UserError
from styleloom.export import browser
from styleloom.export.targets import Options, export
from styleloom.sampling import Sampler

from .tiny_snapshots import snapshot

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NODE = shutil.which("node")

PHONE = """<!doctype html><iframe id="page" style="width: 360px; height: 640px; border: 0"></iframe>
<script type="module">
const frame = document.getElementById("page"), wait = (ms) => new Promise((done) => setTimeout(done, ms));
const at = (id) => frame.contentDocument.getElementById(id);
async function drawn(what) {
  for (let i = 0; i < 1200; i++, await wait(50)) {
    const canvas = at("image");
    if (canvas && at("status").classList.contains("wrong")) throw at("status").textContent;
    const told = JSON.parse(canvas?.dataset.drawn ?? "null");
    if (told && Object.entries(what).every(([key, value]) => told[key] === value)) return;
  }
  throw "nothing was drawn";
}
function pixels() {
  const canvas = at("image");
  return Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
}
function set(id, value) {
  at(id).value = value;
  at(id).dispatchEvent(new Event("input", { bubbles: true }));
}
const found = {};
try {
  frame.src = "../index.html";
  await drawn({ seed: 0 });
  Object.assign(found, { title: at("title").textContent, size: [at("image").width, at("image").height] });
  found.first = pixels();
  set("psi", "0.5");
  set("seed", "7");
  await drawn({ seed: 7, psi: 0.5 });
  found.changed = pixels();
  set("second", "3");
  set("mix", at("mix").options[1].value);
  await drawn({ seed: 7, second: 3, from: 0 });
  found.mixed = pixels();
  found.save = [at("save").download, at("save").href.slice(0, 22)];
  found.width = frame.contentDocument.documentElement.scrollWidth;
  at("next").click();
  await drawn({ seed: 8 });
  found.address = frame.contentWindow.location.hash;
  const loaded = frame.contentWindow.performance.getEntriesByType("resource").map((entry) => entry.name);
  const own = [location.origin, "data:", "blob:"];
  found.elsewhere = loaded.filter((name) => !own.some((start) => name.startsWith(start)));
} catch (error) {
  found.error = String(error);
}
await fetch("/found", { method: "POST", body: JSON.stringify(found) });
</script>
"""
"""A page that uses the exported one in a frame of a phone's width, and sends what it saw."""


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache with files that stand for onnxruntime-web."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "styleloom" / f"{browser.PACKAGE}-{browser.VERSION}"
    folder.mkdir(parents=True)
    for name in browser.RUNTIME:
        (folder / name).write_text(name)
    return folder


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_seeds_give_the_numbers_of_torch(tmp_path: Path) -> None:
    (tmp_path / "normal.mjs").write_text((browser.PAGE / "normal.js").read_text())
    wanted = [(0, 16), (3, 128), (2**32 - 1, 512), (7, 100), (11, 37), (5, 6), (9, 1)]
    program = f"""import {{ normal }} from "./normal.mjs";
        console.log(JSON.stringify({json.dumps(wanted)}.map(([seed, n]) => Array.from(normal(seed, n)))));"""
    command = [str(NODE), "--input-type=module", "-e", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    for (seed, count), found in zip(wanted, json.loads(done.stdout), strict=True):
        expected = torch.randn(count, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-5, atol=1e-6)


def test_the_folder_has_all_that_the_page_loads(tmp_path: Path, cached: Path) -> None:
    given = snapshot(tmp_path, "stylegan2-f", "label_dim=3", "resolution=16")
    export(given, tmp_path / "out", "browser", Options())
    files = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    page = {p.name for p in browser.PAGE.iterdir()}
    assert {"index.html", "page.js", "model.js", "normal.js", "page.css"} == page
    graphs = {"mapping.onnx", "synthesis.onnx", "model.json", "export.json"}
    assert files == page | graphs | {f"ort/{name}" for name in (*browser.RUNTIME, "NOTICE.txt")}
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert (about["classes"], about["size"], about["num_ws"]) == (3, [16, 16], 6)
    assert about["truncated"] == [True] * 6
    assert about["mixes"] == [
        {"name": "coarse: 4 to 8 px", "from": 0, "to": 3},
        {"name": "middle: 16 px", "from": 3, "to": 6},
    ]
    text = "".join((browser.PAGE / name).read_text() for name in page)
    assert "http://" not in text
    assert "https://" not in text


def test_a_generator_without_styles(tmp_path: Path, cached: Path) -> None:
    export(snapshot(tmp_path, "progan"), tmp_path / "out", "browser", Options())
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert (about["space"], about["mixes"], about["truncated"]) == ("z", [], [])
    assert (tmp_path / "out" / "generator.onnx").is_file()


def test_where_the_runtime_comes_from(tmp_path: Path, cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert browser.find_runtime(None) == cached
    shutil.copytree(cached, tmp_path / "own" / "dist")
    assert browser.find_runtime(tmp_path / "own") == tmp_path / "own" / "dist"
    with pytest.raises(UserError, match=r"--runtime: .*holds no ort.wasm.min.mjs; unpack the npm package"):
        browser.find_runtime(tmp_path)
    (cached / browser.RUNTIME[0]).unlink()
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"nor npm.*name its folder with --runtime"):
        browser.find_runtime(None)


class Server(http.server.ThreadingHTTPServer):
    """A static server that keeps what is sent to it."""

    found: dict[str, Any] | None = None
    arrived: threading.Event


class Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        self.server.found = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.arrived.set()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Server]:
    handler = functools.partial(Handler, directory=str(tmp_path / "out"))
    with Server(("127.0.0.1", 0), handler) as server:
        server.arrived = threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


RUNTIME = os.environ.get("STYLELOOM_ONNXRUNTIME_WEB")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.skipif(RUNTIME is None, reason="STYLELOOM_ONNXRUNTIME_WEB names no folder of onnxruntime-web")
def test_chromium_draws_what_the_sampler_makes(tmp_path: Path, served: Server) -> None:
    given = snapshot(tmp_path, "stylegan2-f", "resolution=32")
    export(given, tmp_path / "out", "browser", Options(runtime=Path(str(RUNTIME))))
    (tmp_path / "out" / "test").mkdir()
    (tmp_path / "out" / "test" / "phone.html").write_text(PHONE)
    address = f"http://127.0.0.1:{served.server_address[1]}/test/phone.html"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    process = subprocess.Popen(
        [str(CHROMIUM), *flags, profile, "--remote-debugging-port=0", address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert served.arrived.wait(240)
    finally:
        process.kill()
        process.wait()
    found = served.found
    assert found is not None
    assert "error" not in found, found["error"]
    assert (found["title"], found["size"]) == (given.experiment.name, [32, 32])
    sampler = Sampler.of(given, "cpu", "fp32")
    mixed = sampler.latents([7, 3], 0.5, noise="fixed")
    row = json.loads((tmp_path / "out" / "model.json").read_text())["mixes"][0]
    mixed.values[0, row["from"] : row["to"]] = mixed.values[1, row["from"] : row["to"]]
    for name, expected in (
        ("first", sampler.generate([0], 0.7, noise="fixed")),
        ("changed", sampler.generate([7], 0.5, noise="fixed")),
        ("mixed", sampler.render(mixed)[:1]),
    ):
        image = np.array(found[name], np.int64).reshape(32, 32, 4)
        assert (image[..., 3] == 255).all()
        difference = abs(image[..., :3] - to_uint8(expected)[0].permute(1, 2, 0).numpy().astype(np.int64))
        assert difference.max() <= 2, name
    assert found["changed"] != found["mixed"]
    assert found["save"] == ["seed0007.png", "data:image/png;base64,"]
    assert found["width"] <= 360
    assert "seed=8" in found["address"]
    assert found["elsewhere"] == []
