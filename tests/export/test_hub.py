"""Folders for a hub, and their way there and back, with a hub of this test's own on this machine."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch

import styleloom
from styleloom import hub
from styleloom.cli import main
from styleloom.config import from_json
from styleloom.errors import UserError
from styleloom.export.targets import Options, export
from styleloom.snapshot import read_snapshot

from .tiny_snapshots import snapshot


class Hub(http.server.ThreadingHTTPServer):
    """Repositories in memory, as far as the client asks for them."""

    files: dict[str, dict[str, bytes]]
    requests: list[str]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def json(self, document: Any) -> None:
        self.answer(200, json.dumps(document).encode(), Content_Type="application/json")

    def missing(self) -> None:
        self.answer(404, b"{}", X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {path}")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
            files = self.server.files.get(match[1])
            if files is None:
                return self.missing()
            return self.json({"id": match[1], "sha": "0" * 40, "siblings": [{"rfilename": n} for n in files]})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path):
            files = self.server.files.get(match[1])
            if files is None:
                return self.missing()
            rows = [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in files.items()
            ]
            return self.json(rows)
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            content = self.server.files.get(match[1], {}).get(match[2])
            if content is None:
                return self.missing()
            tag = f'"{hashlib.sha1(content).hexdigest()}"'
            return self.answer(200, content, ETag=tag, X_Repo_Commit="0" * 40, Accept_Ranges="bytes")
        return self.missing()

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self.body()
        self.server.requests.append(f"POST {path}")
        if path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given.get('organization') or 'owner'}/{given['name']}"
            self.server.files.setdefault(name, {})
            return self.json({"url": f"http://127.0.0.1/{name}", "id": name})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/[^/]+", path):
            files = json.loads(body)["files"]
            kept = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for f in files
            ]
            return self.json({"files": kept})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/[^/]+", path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.files[match[1]][line["value"]["path"]] = content
            url = f"http://127.0.0.1/{match[1]}/commit/{'0' * 40}"
            return self.json({"success": True, "commitOid": "0" * 40, "commitUrl": url, "hookOutput": ""})
        if path == "/api/validate-yaml":
            return self.json({"errors": [], "warnings": []})
        return self.missing()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub(("127.0.0.1", 0), Handler) as found:
        found.files, found.requests = {}, []
        threading.Thread(target=found.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{found.server_address[1]}")
        monkeypatch.setenv("HF_TOKEN", "of-this-test")
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        import huggingface_hub.constants as constants

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf-cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield found
        found.shutdown()


def test_the_folder_says_what_it_is(tmp_path: Path) -> None:
    given = snapshot(tmp_path, "stylegan2-f", "label_dim=2", images_seen=123000)
    record = {
        "subject": {"sha256": given.sha256},
        "data": {"name": "faces|x"},
        "date": "2026-11-27",
        "seed": 5,
    }
    record["metrics"] = {"fid50k": {"values": {"fid50k": {"mean": 12.5, "std": 0.25}}}}
    (tmp_path / "fid.json").write_text(json.dumps(record))
    out = tmp_path / "out"
    export(given, out, "hub", Options(license="cc-by-4.0", evaluation=(tmp_path / "fid.json",)))
    assert {p.name for p in out.iterdir()} == {"model.safetensors", "config.json", "README.md", "export.json"}
    config = json.loads((out / "config.json").read_text())
    assert from_json(config["experiment"]) == given.experiment
    assert config["license"] == "cc-by-4.0"
    assert config["image"] == {"channels": 3, "height": 8, "width": 8}
    assert config["exported_from_sha256"] == given.sha256
    again = read_snapshot(out / "model.safetensors")
    assert again.sha256 == config["sha256"]
    assert all(
        torch.equal(t, again.generator.state_dict()[n]) for n, t in given.generator.state_dict().items()
    )
    card = (out / "README.md").read_text()
    head = card.split("---\n")[1]
    assert 'license: "cc-by-4.0"' in head
    assert "library_name: styleloom" in head
    assert "| images shown | 123,000 |" in card
    assert "| fid50k | 12.5 | 0.25 |" in card
    assert "faces\\|x" in card
    assert "classes=0" in card
    program = card.split("```python\n")[1].split("```")[0]
    compile(program, "card", "exec")


def test_the_origin_of_converted_weights_is_told(tmp_path: Path) -> None:
    given = snapshot(tmp_path, "stylegan2-f")
    given.info["origin"] = {"file": "x.pkl", "licence": "Nvidia Source Code License-NC"}
    export(given, tmp_path / "out", "hub", Options())
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'license: "Nvidia Source Code License-NC"' in card
    assert '| origin: file | "x.pkl" |' in card


def test_an_evaluation_of_another_snapshot_is_refused(tmp_path: Path) -> None:
    given = snapshot(tmp_path, "progan")
    for text, message in (
        ('{"subject": {"sha256": "00"}, "metrics": {}}', "measured another snapshot, '00'"),
        ("[]", "no record of an evaluation"),
        ("{", "no record of an evaluation"),
    ):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(UserError, match=message):
            export(given, tmp_path / "out", "hub", Options(evaluation=(tmp_path / "x.json",)))
        assert not (tmp_path / "out").exists()


def test_there_and_back(server: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = snapshot(tmp_path, "progan")
    export(given, tmp_path / "out", "hub", Options())
    (tmp_path / "out" / "private.txt").write_text("stays here")
    assert main(["push", str(tmp_path / "out"), "hf://owner/faces"]) == 0
    assert "/owner/faces/commit/" in capsys.readouterr().out
    assert server.files["owner/faces"].keys() == set(hub.FILES)
    sampler = styleloom.load("hf://owner/faces", device="cpu", precision="fp32")
    z = given.generator(sampler.draw([3])[0], noise="fixed")
    torch.testing.assert_close(sampler.generate([3]), z)
    server.files["owner/faces"]["evil.pkl"] = b"not wanted"
    assert main(["pull", "owner/faces", str(tmp_path / "back")]) == 0
    assert {p.name for p in (tmp_path / "back").iterdir() if p.is_file()} == set(hub.FILES)
    assert (tmp_path / "back" / hub.MODEL).read_bytes() == (tmp_path / "out" / hub.MODEL).read_bytes()
    assert not [request for request in server.requests if "evil" in request]
    assert main(["generate", str(tmp_path / "back"), "--seeds", "1", "--out", str(tmp_path / "images")]) == 0


def test_what_goes_wrong_is_one_sentence(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"hf://owner/absent: cannot be fetched: "):
        styleloom.load("hf://owner/absent")
    for address in ("hf://owner", "hf://owner/../x", "hf://a/b/c", "hf://"):
        with pytest.raises(UserError, match=r"no address of a model"):
            styleloom.load(address)
    with pytest.raises(
        UserError, match=r"holds no model.safetensors; `styleloom export SNAPSHOT FOLDER --to hub`"
    ):
        hub.push(tmp_path, "owner/name")
    server.files["owner/other"] = {"pytorch_model.bin": b""}
    with pytest.raises(UserError, match=r"holds no model.safetensors, so it is no model of styleloom"):
        hub.pull("owner/other", tmp_path / "x")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'styleloom\[hub\]'"):
        styleloom.load("hf://owner/faces")
