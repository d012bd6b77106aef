"""`styleloom app`: a web page on which one looks at generators and steers them."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from styleloom.cli.report import tell
from styleloom.config.experiment import Precision
from styleloom.errors import UserError, shell_word, shown

if TYPE_CHECKING:
    from styleloom.app.routes import Desk

logger = logging.getLogger(__name__)

PASSWORD = "STYLELOOM_PASSWORD"
"""Environment variable with the password, so that it stands in no list of processes."""


@dataclass
class App:
    """Open a web page: explore, mix, edit, walk, project, bend, and watch a training.

    It answers on this machine alone unless --host says otherwise, and reads no file but those that are named
    here. Ctrl-C ends it.
    """

    models: tyro.conf.Positional[tuple[str, ...]] = ("portraits-64",)
    """Snapshots, run directories, files of other codes, hf://owner/name, or embedded models."""
    watched: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """A run directory whose training is shown."""
    directions: tuple[Path, ...] = ()
    """Files of `styleloom directions`, for Edit; the models of the package have their own."""
    calibration: tuple[Path, ...] = ()
    """Files of `styleloom attribute`, for Is it generated?."""
    host: str = "127.0.0.1"
    """Address that it answers on; 0.0.0.0 is every address of this machine."""
    port: int = 7860
    """Its port; 0 for any that is free."""
    password: str | None = None
    """Ask for this password (with any user name). Better given as STYLELOOM_PASSWORD."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    precision: Precision = "auto"
    """Arithmetic of the convolutions."""

    def run(self) -> int:
        """Answer until Ctrl-C; 0."""
        if importlib.util.find_spec("gradio") is None:
            raise UserError("app: needs Gradio, which is not installed: pip install 'styleloom[app]'")
        password = self.password if self.password is not None else os.environ.get(PASSWORD) or None
        if password == "":
            raise UserError("--password: an empty one is not valid")
        port = free_port(self.host, self.port)
        from styleloom.app.guard import LOOPBACK
        from styleloom.app.server import Place, serve  # late: torch takes seconds to import

        if self.host not in LOOPBACK and password is None:
            logger.warning(
                f"--host {self.host}: whoever reaches this machine can use the page; see --password"
            )
        desk = self._desk()
        place = Place(self.host, port, password)
        tell(f"styleloom app: {place.address} (Ctrl-C ends it)")
        serve(desk, place)
        return 0

    def _desk(self) -> Desk:
        """Everything that is named, read and checked."""
        from styleloom.app.models import Models
        from styleloom.app.routes import Desk
        from styleloom.app.run_view import RunView
        from styleloom.attribution.calibration import load_calibration
        from styleloom.attribution.measuring import method_of

        view = None if self.watched is None else RunView(self.watched)
        models = Models(self.models, self.directions, self.device, self.precision)
        calibrations = {}
        for path in self.calibration:
            calibration = load_calibration(path)
            digest = method_of(calibration).snapshot_sha256
            fitting = [m.name for m in models if m.sampler.snapshot_sha256 == digest]
            if not fitting:
                raise UserError(f"--calibration: {shown(path)} is of no model that is shown")
            calibrations[fitting[0]] = calibration
        flags = tuple(f"--directions {shell_word(path)}" for path in self.directions)
        return Desk(models, view, calibrations, flags)


def free_port(host: str, port: int) -> int:
    """`port`, or a free one for 0. Raises UserError where it cannot be had."""
    if not 0 <= port < 65_536:
        raise UserError(f"--port: {port} is not valid; 0 to 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((host, port))
            return held.getsockname()[1]
    except OSError as error:
        raise UserError(f"--port: {host}:{port} cannot be had: {error.strerror or error}") from error
