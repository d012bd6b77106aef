"""Run commands on files that nobody should trust: a process with limits, which reports what each file did.

python -m foreign.guarded FOLDER FILE...: a line of JSON for each file and verb.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
from pathlib import Path

from styleloom.cli import main
from styleloom.sampling import load

LIMIT_BYTES = 2 << 30


def limit_memory() -> None:
    """No more than `LIMIT_BYTES` above what Python and torch have taken already."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_BYTES, used + LIMIT_BYTES))


def run(folder: Path, path: str) -> None:
    """Inspect the file, and generate an image with it."""
    out = str(folder / f"{Path(path).name}.images")
    for words in (["inspect", path], ["generate", path, "--seeds", "0", "--out", out, "--device", "cpu"]):
        began, errors = time.process_time(), io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            status = main(words)
        lines = [line for line in errors.getvalue().splitlines() if line.startswith("styleloom: error")]
        others = [line for line in errors.getvalue().splitlines() if "Traceback" in line]
        told = {"file": path, "verb": words[0], "status": status, "errors": lines + others}
        print(json.dumps(told | {"seconds": time.process_time() - began}), flush=True)


if __name__ == "__main__":
    load("portraits-64", device="cpu").generate([0])  # what is loaded late is loaded now
    limit_memory()
    for file in sys.argv[2:]:
        run(Path(sys.argv[1]), file)
