"""Use the page of `styleloom app` as several browsers do, and see whether memory, threads or files grow.

python benchmarks/soak_app.py --minutes 60
"""

from __future__ import annotations

import io
import json
import os
import random
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

import tyro
from PIL import Image

from styleloom.app.models import Models
from styleloom.app.routes import Desk
from styleloom.app.server import Place, application
from styleloom.cli.app import free_port


@dataclass
class Soak:
    """Scripted use of the page."""

    minutes: float = 1.0
    """How long."""
    sessions: int = 3
    """Browsers at the same time."""
    model: str = "portraits-64"
    """What they look at."""

    def run(self) -> None:
        """Print a line a report, and the growth from the first to the last."""
        import uvicorn

        desk, place = Desk(Models([self.model], [], "auto", "auto")), Place(port=free_port("127.0.0.1", 0))
        with application(desk, place) as app:
            server = uvicorn.Server(uvicorn.Config(app, place.host, place.port, log_level="error"))
            threading.Thread(target=server.run, daemon=True).start()
            while not server.started:
                time.sleep(0.1)
            end, counts = time.monotonic() + 60 * self.minutes, [0] * self.sessions
            users = [
                threading.Thread(target=self._use, args=(place.address, end, counts, i), daemon=True)
                for i in range(self.sessions)
            ]
            for user in users:
                user.start()
            reports = []
            while time.monotonic() < end:
                time.sleep(min(max(60 * self.minutes / 10, 1), max(end - time.monotonic(), 0.1)))
                reports.append(resources())
                print(f"{sum(counts)} requests; {reports[-1]}", flush=True)
            for user in users:
                user.join(60)
            server.should_exit = True
        desk.close()
        print("growth:", {name: reports[-1][name] - reports[len(reports) // 3][name] for name in reports[0]})

    def _use(self, address: str, end: float, counts: list[int], number: int) -> None:
        """One session: pictures, downloads, uploads good and bad, projections, pages."""
        chance = random.Random(number)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

        def asked(path: str, data: bytes | None = None) -> bytes:
            counts[number] += 1
            try:
                with opener.open(address + path, data=data, timeout=60) as answer:
                    return answer.read()
            except urllib.error.HTTPError as error:
                return error.read()

        while time.monotonic() < end:
            recipe = f"seed={chance.randrange(10**6)}&psi={chance.random():.2f}"
            for step in range(10):
                words = {"recipe": f"{recipe}&strength={step / 5}", "preview": "1"}
                asked(f"loom/picture?{urlencode(words)}")
            asked(f"loom/download?{urlencode({'recipe': recipe})}")
            asked("loom/upload", chance.randbytes(chance.randrange(1, 10**5)))
            out = io.BytesIO()
            Image.effect_noise((80, 60), 90).convert("RGB").save(out, format="PNG")
            upload = json.loads(asked("loom/upload", out.getvalue())).get("upload")
            asked("loom/begin", json.dumps({"kind": "project", "upload": upload, "steps": 5}).encode())
            asked("")


def resources() -> dict[str, int]:
    """Memory in MiB, threads, open files, and temporary files of the page."""
    status = Path("/proc/self/status").read_text()
    memory = int(status.split("VmRSS:")[1].split()[0]) // 1024
    temporary = sum(
        len(files) for _, _, files in os.walk(os.environ.get("GRADIO_TEMP_DIR", tempfile.gettempdir()))
    )
    return {
        "memory_mib": memory,
        "threads": threading.active_count(),
        "open_files": len(os.listdir("/proc/self/fd")),
        "temporary_files": temporary,
    }


if __name__ == "__main__":
    tyro.cli(Soak).run()
