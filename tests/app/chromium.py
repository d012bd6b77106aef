"""Chromium without a window, told what to do over a pipe (DevTools protocol): pages, mouse, pictures."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
)


class Browser:
    """One page in a browser of its own.

    Args:
        profile: an empty folder.
        width, height: of the window, px.
    """

    def __init__(self, profile: Path, width: int = 1280, height: int = 900) -> None:
        ours, theirs = os.pipe(), os.pipe()  # commands to it, answers from it
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (ours[0], theirs[1])]

        def inherit() -> None:
            for fd, wanted in zip(high, (3, 4), strict=True):
                os.dup2(fd, wanted, inheritable=True)

        words = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        self.process = subprocess.Popen(
            [*words, "about:blank"],
            preexec_fn=inherit,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in (ours[0], theirs[1], *high):
            os.close(fd)
        self._out, self._in = os.fdopen(ours[1], "wb"), os.fdopen(theirs[0], "rb")
        self._count, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []
        found = self.command("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in found if target["type"] == "page")
        attached = self.command("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")
        self.resize(width, height)

    def resize(self, width: int, height: int, phone: bool = False) -> None:
        """Another size of the window, px."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )

    def command(self, method: str, **given: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": given}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while True:
            answer = self._message()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._in.fileno(), 2**20)
            assert part, "the browser has ended"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)

    def run(self, script: str) -> Any:
        """The value of an expression of the page, which may be a promise."""
        found = self.command("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 60.0) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.run(f"(() => {{ try {{ return {script} }} catch {{ return null }} }})()")
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"not in {seconds} s: {script}; {self.run('document.body.innerText')[:2000]}")

    def open(self, address: str) -> None:
        """Go to a page, and wait until it is there."""
        self.command("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def place(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element, px, after it was brought into sight."""
        self.wait(f"document.querySelector({selector!r})?.getClientRects().length")
        box = self.run(
            f"(() => {{ const e = document.querySelector({selector!r}); "
            "e.scrollIntoView({block: 'center', behavior: 'instant'}); "
            "const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height] })()"
        )
        return tuple(box)  # type: ignore[return-value]

    def mouse(self, kind: str, x: float, y: float, buttons: int = 0) -> None:
        """One event of the mouse: "mousePressed", "mouseMoved", "mouseReleased"."""
        self.command(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button="none" if kind == "mouseMoved" and not buttons else "left",
            buttons=buttons,
            clickCount=0 if kind == "mouseMoved" else 1,
        )

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of an element."""
        x, y, width, height = self.place(selector)
        for kind, buttons in (("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)):
            self.mouse(kind, x + width / 2, y + height / 2, buttons)

    def drag(self, selector: str, start: float, stop: float, seconds: float = 1.0, steps: int = 30) -> None:
        """Drag within an element, from one part of its width to another."""
        x, y, width, height = self.place(selector)
        middle = y + height / 2
        self.mouse("mouseMoved", x + start * width, middle)
        self.mouse("mousePressed", x + start * width, middle, 1)
        for step in range(1, steps + 1):
            part = start + (stop - start) * step / steps
            self.mouse("mouseMoved", x + part * width, middle, 1)
            time.sleep(seconds / steps)
        self.mouse("mouseReleased", x + stop * width, middle)

    def tab(self, name: str) -> None:
        """Open a tab of the page."""
        script = f"[...document.querySelectorAll('[role=tab]')].find(e => e.textContent.trim() === {name!r})"
        self.wait(f"!!{script}")
        self.run(f"{script}.click()")

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """A PNG file of the page."""
        found = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End the browser."""
        self.process.kill()
        self.process.wait()
        self._out.close()
        self._in.close()
