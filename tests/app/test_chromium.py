"""The page in headless Chromium: a drag, clicks, a link, and the pixels that Python makes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gradio")

from export.tiny_snapshots import snapshot
from styleloom.app.models import Models
from styleloom.app.routes import Desk
from styleloom.app.server import Place, application
from styleloom.cli.app import free_port
from styleloom.data.reals import to_uint8
from styleloom.interactive.recipe import parse_recipe

from .chromium import CHROMIUM, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.filterwarnings("ignore"),
]

PIXELS = """(() => { const c = document.querySelector('#loom-canvas');
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) })()"""

SETTLED = "document.querySelector('#loom-canvas')?.dataset.preview === 'false'"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("models")
    snapshot(folder, "stylegan2-f", "resolution=16")
    return Desk(Models([str(folder / "tiny.safetensors")], [], "cpu", "fp32"))


@pytest.fixture(scope="module")
def address(desk: Desk) -> Iterator[str]:
    import uvicorn

    place = Place(port=free_port("127.0.0.1", 0))
    with application(desk, place) as app:
        server = uvicorn.Server(uvicorn.Config(app, place.host, place.port, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield place.address
        server.should_exit = True
        thread.join(20)


def shown(browser: Browser) -> np.ndarray:
    """The picture on the page: uint8 [H, W, 3]."""
    browser.wait(SETTLED)
    return np.array(browser.run(PIXELS), np.int64).reshape(16, 16, 4)[..., :3]


def made(desk: Desk, browser: Browser) -> np.ndarray:
    """What Python makes of the recipe that the page shows."""
    recipe = parse_recipe(browser.run("document.querySelector('#loom-canvas').dataset.recipe"))
    image = desk.models.named("").sampler.render(desk.latents(recipe, ""))
    return to_uint8(image)[0].permute(1, 2, 0).numpy().astype(np.int64)


def test_drag_click_and_link(tmp_path: Path, desk: Desk, address: str) -> None:
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(address + "?seed=7&psi=0.5")
        first = shown(browser)
        assert browser.run("document.querySelector('#loom-canvas').dataset.recipe") == "seed=7&psi=0.5"
        assert np.abs(first - made(desk, browser)).max() <= 1
        before = int(browser.run("document.querySelector('#loom-canvas').dataset.count"))
        browser.drag("#c-psi input[type=range]", 0.4, 0.9)
        time.sleep(0.5)
        dragged = shown(browser)
        assert int(browser.run("document.querySelector('#loom-canvas').dataset.count")) > before + 2
        assert np.abs(dragged - made(desk, browser)).max() <= 1
        assert np.abs(dragged - first).max() > 1
        link = browser.run("document.getElementById('loom-link').value")
        assert "seed=7" in link
        assert "styleloom generate" in browser.run("document.getElementById('loom-command').value")
        browser.click("#loom-random")
        browser.wait("!document.querySelector('#loom-canvas').dataset.recipe.includes('seed=7&')")
        time.sleep(0.5)
        assert np.abs(shown(browser) - made(desk, browser)).max() <= 1
        browser.open(link)
        assert np.array_equal(shown(browser), dragged)
        names = "[...document.querySelectorAll('input:not([type=hidden]), button, select')]"
        unnamed = browser.run(
            f"{names}.filter(e => e.getClientRects().length && !(e.labels?.length || e.ariaLabel || e.title "
            "|| e.textContent.trim() || e.closest('label'))).map(e => e.outerHTML.slice(0, 100))"
        )
        assert unnamed == []
        loaded = [
            e["params"]["request"]["url"]
            for e in browser.events
            if e.get("method") == "Network.requestWillBeSent"
        ]
        assert [url for url in loaded if not url.startswith((address, "data:", "blob:"))] == []
    finally:
        browser.close()


def test_phone_and_stopped_film(tmp_path: Path, address: str) -> None:
    browser = Browser(tmp_path / "profile", 390, 844)
    try:
        browser.resize(390, 844, phone=True)
        browser.open(address)
        shown(browser)
        assert browser.run("[innerWidth, document.documentElement.scrollWidth]") == [390, 390]
        for frames in ("1 key frame", "2 key frames"):
            browser.click("#loom-key")
            browser.wait(f"document.getElementById('loom-status').textContent.endsWith({frames!r})")
        browser.tab("Walk")
        browser.wait("document.querySelectorAll('#walk-keys img').length === 2")
        browser.run("document.getElementById('walk-seconds').value = 30")
        browser.click("#walk-export")
        browser.click("#walk-stop")
        browser.wait("document.getElementById('walk-status').textContent === 'Stopped.'")
        assert browser.run("document.getElementById('walk-download').hidden")
    finally:
        browser.close()
