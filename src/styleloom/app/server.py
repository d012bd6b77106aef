"""The page on a port."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from styleloom.app.guard import LOOPBACK, Guard
from styleloom.app.routes import Desk, routes

CONNECTIONS = 128
"""Open at the same time; further ones are sent away."""


@dataclass(frozen=True)
class Place:
    """Where the page is served.

    Args:
        host: address that is bound.
        port: its port.
        password: None for none.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    password: str | None = None

    @property
    def address(self) -> str:
        """For a browser on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def hosts(self) -> tuple[str, ...] | None:
        """Names under which it may be asked: any, where it is bound to all addresses."""
        if self.host in ("0.0.0.0", "::"):
            return None
        return (*LOOPBACK, self.host) if self.host in LOOPBACK else (self.host,)


@contextlib.contextmanager
def application(desk: Desk, place: Place) -> Iterator[Any]:
    """The ASGI application. What Gradio writes goes to a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="styleloom-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        yield _application(desk, place)


def _application(desk: Desk, place: Place) -> Any:
    import gradio as gr  # late: it takes seconds, and reads the environment
    from fastapi import FastAPI

    from styleloom.app import blocks

    names = desk.models.names
    addresses = {name: "/" if i == 0 else f"/m{i}/" for i, name in enumerate(names)}
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.router.routes.extend(routes(desk))
    for name in reversed(names):  # "/" takes all that no other takes: last
        made = blocks.page(desk, desk.models.named(name), addresses)
        app = gr.mount_gradio_app(
            app,
            made,
            path=addresses[name].rstrip("/") or "/",
            allowed_paths=[],
            footer_links=[],
            show_error=False,
            max_file_size=1,
            ssr_mode=False,
            enable_monitoring=False,
            mcp_server=False,
            theme=blocks.theme(),
            css=blocks.style(),
            head=blocks.head(),
        )
    return Guard(app, place.hosts, place.password, [path.rstrip("/") for path in addresses.values()])


def serve(desk: Desk, place: Place) -> None:
    """Answer until Ctrl-C."""
    import uvicorn

    with application(desk, place) as app:
        config = uvicorn.Config(
            app,
            place.host,
            place.port,
            log_level="warning",
            access_log=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=20,
            timeout_graceful_shutdown=2,
            server_header=False,
        )
        try:
            uvicorn.Server(config).run()
        finally:
            desk.close()
