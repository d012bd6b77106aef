"""Addresses of the page's own: pictures, uploads, work and runs. Gradio's are beside them."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor

import styleloom
from styleloom.app import tasks
from styleloom.app.controls import recipe_of_controls
from styleloom.app.models import Model, Models
from styleloom.app.run_view import RunView
from styleloom.app.shelf import Shelf
from styleloom.app.work import BusyError, Office
from styleloom.attribution.calibration import Calibration
from styleloom.data.reals import to_uint8
from styleloom.errors import UserError
from styleloom.images import to_pil
from styleloom.interactive.commands import command_of, walk_command
from styleloom.interactive.pictures import (
    Kept,
    for_file,
    latent_file,
    picture_file,
    read_kept,
)
from styleloom.interactive.recipe import Recipe, parse_recipe
from styleloom.latents import Latents, check_fits

MOST_WAITING = 24
"""Pictures that wait to be made; further requests are sent away."""

THUMB_SIDE = 128

FILE_NAME = "styleloom.png"

T = TypeVar("T")


@dataclass
class Desk:
    """All that answers draw on.

    Args:
        models: the generators.
        run: a training in progress.
        calibrations: by the name of their model.
        flags: further words of commands that are shown, such as the files of directions.
    """

    models: Models
    run: RunView | None = None
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    shelf: Shelf = field(default_factory=Shelf)
    office: Office = field(default_factory=Office)
    pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="pictures")
    )
    waiting: int = 0

    async def made(self, make: Callable[[], T]) -> T:
        """What `make` gives, in the one thread that makes pictures. Raises BusyError where too many wait."""
        if self.waiting >= MOST_WAITING:
            raise BusyError("too many pictures are asked for; try again in a moment")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.pool, make)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """End all work."""
        self.office.close()
        self.pool.shutdown(wait=True, cancel_futures=True)

    def latents(self, recipe: Recipe, owner: str) -> Latents:
        """What a picture is made from; latents of the recipe's name are those of `owner`."""
        maker = self.models.named(recipe.model).maker
        maker.find = lambda name: self.shelf.get(owner, name, Latents)
        return maker.latents(recipe)


def _recipe(request: Request) -> Recipe:
    """What a request asks a picture of: controls of a model's page, or a recipe."""
    controls = request.query_params.get("controls")
    if controls is not None:
        return recipe_of_controls(request.query_params.get("model", ""), controls)
    return parse_recipe(request.query_params.get("recipe", ""))


def _owner(request: Request) -> str:
    return request.scope["session_name"]


def _about(desk: Desk, recipe: Recipe) -> dict[str, str]:
    """Headers that say what a picture is."""
    model = desk.models.named(recipe.model)
    own = replace(recipe, model="")
    command = f"styleloom generate --from {FILE_NAME}"
    if not recipe.latent and recipe.swap is None:
        command = command_of(model.given, own)
        command += "".join(f" {flag}" for flag in desk.flags) if own.edits else ""
    return {"x-recipe": quote(own.text()), "x-command": quote(command), "x-model": quote(model.name)}


async def picture(desk: Desk, request: Request) -> Response:
    """A picture for the screen: PNG; with `preview` of as high a level as is fast."""
    recipe, owner = _recipe(request), _owner(request)
    fast, small = "preview" in request.query_params, "thumb" in request.query_params

    def make() -> tuple[bytes, int]:
        latents, engine = desk.latents(recipe, owner), desk.models.engine(recipe)
        side = engine.preview_side() if fast else None
        if small:
            side = min(engine.sides, key=lambda side: abs(side - THUMB_SIDE))
        image = engine.picture(latents, recipe.bends, side, owner)
        return _png(image), image.shape[1]

    data, height = await desk.made(make)
    headers = _about(desk, recipe) | {"x-height": str(height), "cache-control": "no-store"}
    return Response(data, media_type="image/png", headers=headers)


def _png(image: Tensor) -> bytes:
    out = io.BytesIO()
    to_pil(to_uint8(image[None])[0]).save(out, format="PNG", compress_level=1)
    return out.getvalue()


async def download(desk: Desk, request: Request) -> Response:
    """The picture as the samplers make it, with all that is needed to make it again; or its latent file."""
    recipe, owner = _recipe(request), _owner(request)
    model = desk.models.named(recipe.model)

    def make() -> bytes:
        latents = desk.latents(recipe, owner)
        if request.query_params.get("what") == "latent":
            return latent_file(latents)
        image = desk.models.engine(recipe).exact(latents, recipe.bends)
        kept = for_file(recipe, latents)
        return picture_file(to_uint8(image[None])[0], record_of(desk, recipe, model), kept)

    data = await desk.made(make)
    latent = request.query_params.get("what") == "latent"
    name = "styleloom.latent.safetensors" if latent else FILE_NAME
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(data, media_type="application/octet-stream" if latent else "image/png", headers=headers)


def record_of(desk: Desk, recipe: Recipe, model: Model) -> dict[str, Any]:
    """What a downloaded picture says of itself."""
    record: dict[str, Any] = {
        "command": "app",
        "snapshot": Path(model.given).name,
        "snapshot_sha256": model.sampler.snapshot_sha256,
        "recipe": replace(recipe, model="", other="").text(),
        "seed": None if recipe.latent else recipe.seed,
        "styleloom": styleloom.__version__,
    }
    if recipe.swap is not None and recipe.other:
        other = desk.models.named(recipe.other)
        record |= {"other": Path(other.given).name, "other_sha256": other.sampler.snapshot_sha256}
    return record


async def upload(desk: Desk, request: Request) -> Response:
    """Take an image, or a picture of ours: what it may be used for."""
    model, owner = desk.models.named(request.query_params.get("model", "")), _owner(request)
    data = await request.body()

    def make() -> dict[str, Any]:
        found = tasks.uploaded(data, model.sampler)
        answer: dict[str, Any] = {"upload": desk.shelf.put(owner, found), "changed": found.changed}
        return answer | _opened(desk, owner, model, data)

    return JSONResponse(await desk.made(make))


def _opened(desk: Desk, owner: str, model: Model, data: bytes) -> dict[str, Any]:
    """Where an uploaded file is a picture of this model, its recipe."""
    try:
        kept: Kept = read_kept(data)
        recipe = kept.recipe
        if recipe is None or kept.record.get("snapshot_sha256") != model.sampler.snapshot_sha256:
            return {}
        if recipe.latent and kept.latents is not None:
            check_fits(kept.latents, model.sampler)
            recipe = replace(recipe, latent=desk.shelf.put(owner, kept.latents))
        return {"recipe": recipe.text()}
    except UserError:
        return {}


async def target(desk: Desk, request: Request) -> Response:
    """An uploaded image, as the generator would make it."""
    found = desk.shelf.get(_owner(request), request.query_params.get("upload", ""), tasks.Upload)
    return Response(_png(found.image), media_type="image/png", headers={"cache-control": "no-store"})


async def begin(desk: Desk, request: Request) -> Response:
    """Begin work: "project", "attribute" or "walk"."""
    owner = _owner(request)
    given = await _json(request)
    model = desk.models.named(str(given.get("model", "")))
    kind = given.get("kind")
    if kind == "walk":
        recipes = [parse_recipe(str(text)) for text in given.get("keys", [])]
        own_keys = [replace(recipe, model=model.name) for recipe in recipes]
        keys = await desk.made(lambda: [desk.latents(recipe, owner) for recipe in own_keys])
        seconds, suffix = float(given.get("seconds", 4)), str(given.get("suffix", ".webp"))
        task = tasks.film(model, keys, seconds, suffix, bool(given.get("loop", True)), desk.shelf)
        return JSONResponse(desk.office.begin(owner, task).document())
    own = desk.shelf.get(owner, str(given.get("upload", "")), tasks.Upload)
    if kind == "project":
        space, label = ("w+" if given.get("space") == "w+" else "w"), given.get("label")
        steps = int(given.get("steps", 200))
        task = tasks.projection(model, own, steps, space, label, desk.shelf)
    elif kind == "attribute":
        calibration = desk.calibrations.get(model.name)
        if calibration is None:
            raise UserError("there is no calibration of this model; see `styleloom app --calibration`")
        task = tasks.verdict(model, lambda: desk.models.float32(model), own, calibration)
    else:
        raise UserError("kind: valid: project, attribute, walk")
    return JSONResponse(desk.office.begin(owner, task).document())


async def _json(request: Request) -> dict[str, Any]:
    try:
        given = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise UserError("a JSON object is expected") from error
    if not isinstance(given, dict):
        raise UserError("a JSON object is expected")
    return given


async def work(desk: Desk, request: Request) -> Response:
    """How far work is."""
    found = desk.office.get(_owner(request), request.query_params.get("work", ""))
    return JSONResponse(found.document())


async def stop(desk: Desk, request: Request) -> Response:
    """End work with what it has."""
    given = await _json(request)
    found = desk.office.get(_owner(request), str(given.get("work", "")))
    found.stop.set()
    return JSONResponse(found.document())


async def film(desk: Desk, request: Request) -> Response:
    """A film that was made."""
    found = desk.shelf.get(_owner(request), request.query_params.get("film", ""), tasks.FilmFile)
    headers = {"cache-control": "no-store"}
    if "download" in request.query_params:
        headers["content-disposition"] = f'attachment; filename="{found.name}"'
    return Response(found.data, media_type=found.kind, headers=headers)


async def run(desk: Desk, request: Request) -> Response:
    """What there is of the run, or one of its pictures."""
    if desk.run is None:
        raise UserError("no run was named at start")
    view, name = desk.run, request.query_params.get("picture")
    loop = asyncio.get_running_loop()
    if name is not None:
        return Response(await loop.run_in_executor(None, view.picture, name), media_type="image/png")
    return JSONResponse(await loop.run_in_executor(None, view.document))


async def walk(desk: Desk, request: Request) -> Response:
    """A moment `t` of a walk through key frames; its latent file; or the command that films it."""
    owner, given = _owner(request), request.query_params
    model = desk.models.named(given.get("model", ""))
    try:
        texts = json.loads(given.get("keys", ""))
        recipes = [parse_recipe(str(text)) for text in texts][: tasks.MAX_KEYS]
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError("keys: a JSON list of recipes is expected") from error
    loop, what = bool(given.get("loop")), given.get("what")
    if what == "command":
        seconds, suffix = float(given.get("seconds", 4)), given.get("suffix", ".webp")
        return JSONResponse({"command": walk_command(model.given, recipes, seconds, suffix, loop)})

    def make() -> bytes:
        keys = tasks.joined([desk.latents(replace(r, model=model.name), owner) for r in recipes])
        if what == "latents":
            return latent_file(keys)
        moment = tasks.moment(keys, float(given.get("t", 0)), loop)
        return _png(model.engine.picture(moment, (), model.engine.preview_side(), owner))

    data = await desk.made(make)
    if what != "latents":
        return Response(data, media_type="image/png", headers={"cache-control": "no-store"})
    headers = {"content-disposition": 'attachment; filename="keys.latent.safetensors"'}
    return Response(data, media_type="application/octet-stream", headers=headers)


ADDRESSES: dict[str, tuple[str, Callable[[Desk, Request], Awaitable[Response]]]] = {
    "picture": ("GET", picture),
    "download": ("GET", download),
    "target": ("GET", target),
    "work": ("GET", work),
    "film": ("GET", film),
    "run": ("GET", run),
    "walk": ("GET", walk),
    "upload": ("POST", upload),
    "begin": ("POST", begin),
    "stop": ("POST", stop),
}


def routes(desk: Desk) -> list[Route]:
    """All addresses, below /loom/."""

    def answering(answer: Callable[[Desk, Request], Awaitable[Response]]) -> Any:
        async def endpoint(request: Request) -> Response:
            try:
                return await answer(desk, request)
            except BusyError as error:
                return JSONResponse({"error": str(error)}, status_code=503)
            except (UserError, ValueError, TypeError) as error:
                words = str(error) if isinstance(error, UserError) else "a value is not valid"
                return JSONResponse({"error": words[:1000]}, status_code=400)

        return endpoint

    return [
        Route(f"/loom/{name}", answering(answer), methods=[method])
        for name, (method, answer) in ADDRESSES.items()
    ]
