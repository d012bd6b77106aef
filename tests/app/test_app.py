"""The page's answers without a browser: pictures, files, sessions, limits, closed addresses."""

from __future__ import annotations

import gc
import io
import json
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("gradio")

from fastapi.testclient import TestClient

from export.tiny_snapshots import snapshot
from styleloom.app import guard, shelf, work
from styleloom.app.controls import recipe_of_controls, values_of
from styleloom.app.models import Models
from styleloom.app.routes import Desk
from styleloom.app.run_view import RunView
from styleloom.app.server import Place, application
from styleloom.data.reals import to_uint8
from styleloom.errors import UserError
from styleloom.interactive.bending import Bend
from styleloom.interactive.pictures import read_kept
from styleloom.interactive.recipe import Recipe
from styleloom.sampling import Sampler

pytestmark = pytest.mark.filterwarnings("ignore")  # of Gradio and what it stands on


@pytest.fixture(scope="module", autouse=True)
def _loops() -> Iterator[None]:
    """Gradio makes itself event loops and leaves them open: they are collected here, where nobody minds."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("models")
    snapshot(folder, "stylegan2-f", "resolution=16")
    (folder / "tiny.safetensors").rename(folder / "first.safetensors")
    torch.manual_seed(1)
    snapshot(folder, "stylegan2-f", "resolution=16")
    (folder / "tiny.safetensors").rename(folder / "second.safetensors")
    run = folder / "run"
    run.mkdir()
    (run / "experiment.json").write_text("{}")  # none that can be read
    Image.new("RGB", (8, 8)).save(run / "fakes-ema-000004.png")
    lines = [
        {"step": i, "images_seen": i * 1000, "loss_g": 1.0 / (i + 1), "sign_real": 0.99} for i in range(900)
    ]
    lines[100] |= {"metrics/kid1k_lite0": 0.5, "errors/kid1k_lite0": 0.1, "swd": 9.0}
    (run / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "secret.png").write_bytes(b"secret")
    given = [str(folder / "first.safetensors"), str(folder / "second.safetensors")]
    return Desk(Models(given, [], "cpu", "fp32"), RunView(run))


@pytest.fixture(scope="module")
def app(desk: Desk) -> Iterator[Any]:
    with application(desk, Place()) as made:
        yield made


@pytest.fixture
def client(app: Any) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1:7860") as made:
        yield made


def sampler_of(desk: Desk) -> Sampler:
    return desk.models.named("first").sampler


def pixels(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)))


def image_of(sampler: Sampler, *seeds: int, **given: Any) -> np.ndarray:
    return to_uint8(sampler.generate(list(seeds), **given))[0].permute(1, 2, 0).numpy()


def png(width: int = 16, height: int = 16) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 90)).save(out, format="PNG")
    return out.getvalue()


def test_pictures_and_downloads(client: TestClient, desk: Desk) -> None:
    sampler = sampler_of(desk)
    answer = client.get("/loom/picture", params={"recipe": "seed=5&psi=0.6"})
    assert np.abs(pixels(answer.content).astype(int) - image_of(sampler, 5, truncation=0.6)).max() <= 1
    assert unquote(answer.headers["x-command"]).endswith("first.safetensors --seeds 5 --truncation 0.6")
    small = client.get("/loom/picture", params={"recipe": "seed=5", "preview": "1"})
    assert int(small.headers["x-height"]) in (4, 8, 16)
    controls = json.dumps(
        {"seed": 5, "psi": 0.6, "b": 1, "b_mix@coarse": 0, "b_mix@middle": 0, "b_mix@fine": 0}
    )
    same = client.get("/loom/picture", params={"controls": controls, "model": "first"})
    assert same.content == answer.content
    assert unquote(same.headers["x-recipe"]) == "seed=5&psi=0.6"
    kept = client.get("/loom/download", params={"recipe": "seed=5&psi=0.6"})
    assert np.array_equal(pixels(kept.content), image_of(sampler, 5, truncation=0.6))  # bit for bit
    told = read_kept(kept.content)
    assert told.record["snapshot_sha256"] == sampler.snapshot_sha256
    assert told.recipe == Recipe(seed=5, psi=(0.6,))
    assert told.latents is not None
    assert torch.equal(told.latents.values, sampler.latents([5], 0.6).values)
    swapped = client.get("/loom/picture", params={"recipe": "seed=5&swap=8&other=second&bend=8:rotate:20"})
    assert swapped.status_code == 200
    assert swapped.content != answer.content
    for wrong in (
        "seed=x",
        "model=third",
        "edit=smile:1",
        "bend=64:mute:1",
        "psi=1,2",
        "latent=abc",
        "a=" * 9000,
    ):
        refused = client.get("/loom/picture", params={"recipe": wrong})
        assert refused.status_code == 400
        assert refused.json()["error"]


def test_controls_and_recipes_agree() -> None:
    recipe = Recipe(
        "m", 3, psi=(0.5,), noise="fixed", b=4, b_mix=(0.0, 0.5, 1.0), bends=(Bend(8, "erode", 4.0, 0.5),)
    )
    names = ["seed", "psi", "noise", "strength", "b", "b_mix@coarse", "b_mix@middle", "b_mix@fine", "swap"]
    names += [f"bend_{word}@0" for word in ("kind", "side", "amount", "share")]
    values = values_of(recipe, names)
    assert recipe_of_controls("m", json.dumps(dict(zip(names, values, strict=True)))) == recipe
    each = {"psi": 1, "psi_each": True, **{f"psi@{i}": i / 10 for i in range(12)}}
    assert recipe_of_controls("", json.dumps(each)).psi == tuple(i / 10 for i in range(12))
    for wrong in ("[", "[]", '{"edit@a": "x"}', '{"bend_kind@0": "mute", "bend_amount@0": null}'):
        with pytest.raises(UserError):
            recipe_of_controls("", wrong)


def test_sessions_do_not_see_each_other(app: Any, desk: Desk) -> None:
    with (
        TestClient(app, base_url="http://127.0.0.1:7860") as one,
        TestClient(app, base_url="http://127.0.0.1:7860") as two,
    ):
        found = one.post("/loom/upload?model=first", content=png(40, 20)).json()
        assert found["changed"] is True
        address = f"/loom/target?upload={found['upload']}"
        assert pixels(one.get(address).content).shape == (16, 16, 3)
        assert two.get(address).status_code == 400
        begun = one.post(
            "/loom/begin", json={"kind": "project", "upload": found["upload"], "steps": 3}
        ).json()
        for _ in range(600):
            now = one.get("/loom/work", params={"work": begun["work"]}).json()
            if now["state"] not in ("waiting", "running"):
                break
            time.sleep(0.1)
        assert now["state"] == "done", now
        recipe = {"recipe": f"latent={now['latent']}"}
        mine = one.get("/loom/picture", params=recipe)
        assert mine.status_code == 200
        assert two.get("/loom/picture", params=recipe).status_code == 400
        assert two.get("/loom/work", params={"work": begun["work"]}).status_code == 400
        assert two.post("/loom/stop", json={"work": begun["work"]}).status_code == 400
        kept = one.get("/loom/download", params=recipe).content
        told = read_kept(kept)
        assert told.latents is not None
        assert told.latents.noise is not None  # found with the latent: no seed says it
        again = two.post(
            "/loom/upload?model=first", content=kept
        ).json()  # the file gives it to whoever has it
        shown = two.get("/loom/picture", params={"recipe": again["recipe"]})
        assert shown.content == mine.content
        assert (
            one.post("/loom/begin", json={"kind": "attribute", "upload": found["upload"]}).status_code == 400
        )


def test_walks(client: TestClient, desk: Desk) -> None:
    keys = json.dumps(["seed=1", "seed=2&psi=0.5"])
    first = client.get("/loom/walk", params={"keys": keys, "t": "0", "loop": "1", "model": "first"})
    assert first.status_code == 200
    command = client.get("/loom/walk", params={"keys": json.dumps(["seed=1", "seed=2"]), "what": "command"})
    assert "--seeds 1,2 --seconds 4" in command.json()["command"]
    other = client.get("/loom/walk", params={"keys": keys, "what": "command"}).json()["command"]
    assert "--latents keys.latent.safetensors" in other
    given = {
        "kind": "walk",
        "keys": ["seed=1", "seed=2"],
        "seconds": 0.2,
        "suffix": ".webp",
        "model": "first",
    }
    begun = client.post("/loom/begin", json=given).json()
    for _ in range(600):
        now = client.get("/loom/work", params={"work": begun["work"]}).json()
        if now["state"] not in ("waiting", "running"):
            break
        time.sleep(0.1)
    assert now["state"] == "done", now
    film = Image.open(io.BytesIO(client.get("/loom/film", params={"film": now["film"]}).content))
    assert (film.size, getattr(film, "n_frames", 1) > 1) == ((16, 16), True)
    for wrong in (
        {"keys": ["seed=1"]},
        {"seconds": 1e9},
        {"suffix": ".exe"},
        {"suffix": "/../../walk.webp"},
        {"keys": "x"},
        {"seconds": "y"},
    ):
        assert client.post("/loom/begin", json={**given, **wrong}).status_code == 400


def test_a_run_is_shown_and_no_other_file(client: TestClient) -> None:
    found = client.get("/loom/run").json()
    assert found["pictures"] == [{"name": "fakes-ema-000004.png", "kimg": 4}]
    assert len(found["curves"][0]["lines"]["loss_g"]) <= 302
    measured = {plot["title"]: plot["lines"] for plot in found["curves"][-2:]}
    assert measured["kid1k_lite0"] == {"metrics/kid1k_lite0": [[100, 0.5]]}
    assert measured["swd"] == {"swd": [[100, 9.0]]}
    assert "cannot be read" in found["health"][0]["text"]
    assert client.get("/loom/run", params={"picture": "fakes-ema-000004.png"}).status_code == 200
    for name in ("../secret.png", "secret.png", "/etc/passwd", "stats.jsonl", "fakes-ema-000005.png"):
        assert client.get("/loom/run", params={"picture": name}).status_code == 400


def test_addresses_of_gradio_that_give_or_take_files_are_closed(client: TestClient, desk: Desk) -> None:
    secret = Path(str(desk.models.named("first").snapshot.path))
    for path in (
        f"/gradio_api/file={secret}",
        f"/file={secret}",
        f"/m1/gradio_api/file={secret}",
        "/gradio_api/file%3D/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://example.com/",
        "/gradio_api/stream/x/y/z/playlist.m3u8",
        "/monitoring",
        "/gradio_api/upload_progress",
        "/gradio_api/component_server",
        "/openapi.json",
        "/static/../../../etc/passwd",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
    ):
        answer = client.get(path)
        assert answer.status_code in (400, 403, 404, 405), (path, answer.status_code)
        assert b"root:" not in answer.content
    for path in ("/gradio_api/upload", "/gradio_api/call/opened", "/gradio_api/run/opened", "/login"):
        assert client.post(path, content=b"x").status_code == 404, path


def test_hostile_uploads_and_long_bodies(client: TestClient, desk: Desk) -> None:
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, format="PNG")
    truncated = png()[:60]
    for data in (
        b"",
        b"\0" * 1000,
        b"GIF89a",
        truncated,
        bomb.getvalue(),
        b"<svg onload=alert(1)>",
        b"%PDF-1.7",
    ):
        answer = client.post("/loom/upload?model=first", content=data)
        assert answer.status_code == 400, data[:20]
        assert "error" in answer.json()
    assert client.post("/loom/upload", content=b"x" * (guard.MAX_BYTES + 1)).status_code == 413
    parts = (b"x" * 2**20 for _ in range(20))  # no length is told
    assert client.post("/loom/upload", content=parts).status_code == 413
    assert client.post("/gradio_api/queue/join", content=b"x" * (guard.GRADIO_BYTES + 1)).status_code == 413
    assert client.post("/loom/begin", content=b"[" * 100_000).status_code == 400
    assert client.put("/loom/picture").status_code == 405


def test_other_names_other_pages_and_headers(client: TestClient) -> None:
    assert client.get("/loom/run", headers={"host": "evil.example"}).status_code == 421
    assert client.post("/loom/stop", json={}, headers={"origin": "http://evil.example"}).status_code == 403
    answer = client.get("/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert client.get("/m1/").status_code == 200


def test_a_password(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SLOW_SEC", 0.01)
    with (
        application(desk, Place(password="pass word")) as made,
        TestClient(made, base_url="http://127.0.0.1:7860") as client,
    ):
        for path in ("/", "/loom/run", "/config", "/theme.css", "/loom/picture"):
            assert client.get(path).status_code == 401
        for wrong in ("wrong", "", "pass wor"):
            assert client.get("/loom/run", auth=("x", wrong)).status_code == 401
        assert client.get("/loom/run", headers={"authorization": "Basic %%%"}).status_code == 401
        assert client.get("/loom/run", auth=("anyone", "pass word")).status_code == 200


def test_places() -> None:
    assert Place("0.0.0.0", 80).hosts is None
    assert Place("::1").address == "http://[::1]:7860/"
    assert "localhost" in (Place().hosts or ())
    assert Place("192.168.1.5").hosts == ("192.168.1.5",)


def test_the_shelf_keeps_few_things_and_not_for_ever() -> None:
    small = shelf.Shelf(own=2, all_=3)
    names = [small.put("a", i) for i in range(3)]
    with pytest.raises(UserError):
        small.get("a", names[0], int)
    assert small.get("a", names[2], int) == 2
    others = [small.put(f"owner{i}", i) for i in range(5)]
    assert len(small) == 3
    assert small.put("owner4", 9, others[4]) == others[4]
    assert small.put("owner0", 9, others[4]) != others[4]
    short = shelf.Shelf(life_sec=0.0)
    name = short.put("a", 1)
    time.sleep(0.01)
    with pytest.raises(UserError):
        short.get("a", name, int)


def test_work_waits_in_a_bounded_queue() -> None:
    office, free = work.Office(waiting=2), threading.Event()

    def task(own: work.Work) -> None:
        free.wait(30)
        own.step(1, 1)

    first = office.begin("a", task)
    while first.state == "waiting":
        time.sleep(0.01)
    office.begin("b", task)
    office.begin("c", task)
    with pytest.raises(work.BusyError):
        office.begin("d", task)
    first.stop.set()
    free.set()
    office.close()
    assert first.state == "stopped"
    failing = work.Office()
    done = failing.begin("a", lambda own: 1 / 0)  # type: ignore[arg-type,return-value]
    while done.state in ("waiting", "running"):
        time.sleep(0.01)
    failing.close()
    assert (done.state, "ZeroDivision" in json.dumps(done.document())) == ("failed", False)
