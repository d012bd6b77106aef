"""The page of one model, made of Gradio's parts: controls, and the places that the scripts fill."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import gradio as gr
from gradio.themes import Base

from styleloom.app.controls import BENDS, NO_SWAP, values_of
from styleloom.app.models import Model
from styleloom.app.routes import Desk
from styleloom.config.growth import active_ws
from styleloom.config.seeds import MAX_IMAGE_SEED
from styleloom.errors import UserError
from styleloom.interactive.bending import BOUNDS
from styleloom.interactive.recipe import RANGES, Recipe, recipe_of
from styleloom.video.encoders import ENCODERS, check_format

PAGE = Path(__file__).parent / "page"

STRENGTH = 3.0
"""Of edits, in standard deviations; more along directions in which w varies little."""

SEEDS = 99_999
"""Of the slider; the field beside it and links take all."""

EFFECTS = {
    "scale": "scale: smaller and larger",
    "shift": "shift: left and right",
    "rise": "rise: down and up",
    "rotate": "rotate: with and against the clock",
    "erode": "erode: thicker and thinner",
    "mute": "mute: take away",
}


@dataclass
class Controls:
    """Gradio's components by the names that `controls.py` knows."""

    parts: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, part: Any) -> Any:
        """Keep `part` under `name`."""
        self.parts[name] = part
        return part

    def slider(self, name: str, label: str, low: float, high: float, value: float, step: float, **more: Any):
        """A slider."""
        own = f"c-{name.replace('@', '-')}"
        return self.add(
            name, gr.Slider(low, high, value, step=step, label=label, elem_id=own, show_label=True, **more)
        )


def theme() -> Any:
    """Fonts of the reader's own system: nothing is loaded from elsewhere."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    return Base(primary_hue="indigo", font=fonts, font_mono=["ui-monospace", "Menlo", "monospace"])


def head() -> str:
    """The scripts of the page."""
    files = ("loom.js", "work.js", "run.js")
    text = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in files)
    return f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<script>{text}</script>'


def style() -> str:
    """Its style sheet."""
    return (PAGE / "loom.css").read_text(encoding="utf-8")


def page(desk: Desk, model: Model, addresses: dict[str, str]) -> Any:
    """The page of `model`.

    Args:
        desk: what answers.
        model: which of its models.
        addresses: of the pages of all models, by name.
    """
    controls = Controls()
    with gr.Blocks(title=f"styleloom: {model.name}", analytics_enabled=False) as blocks:
        gr.HTML(_heading(model, addresses), elem_id="loom-heading")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=280, elem_id="loom-left"):
                height, width = model.sampler.size
                gr.HTML(_html("picture.html", width=width, height=height))
            with gr.Column(scale=7, min_width=280), gr.Tabs():
                with gr.Tab("Explore", id="explore"):
                    _explore(controls, model)
                if model.sampler.space == "w":
                    with gr.Tab("Mix", id="mix"):
                        _mix(controls, model)
                with gr.Tab("Edit", id="edit"):
                    _edit(controls, model)
                with gr.Tab("Walk", id="walk"):
                    gr.HTML(_html("walk.html", formats=_formats()))
                with gr.Tab("Project", id="project"):
                    gr.HTML(_html("project.html"))
                with gr.Tab("Bend", id="bend"):
                    _bend(controls, desk, model)
                with gr.Tab("Is it generated?", id="judge"):
                    gr.HTML(_judge(desk, model))
                if desk.run is not None:
                    with gr.Tab("Run", id="run"):
                        gr.HTML(_html("run.html"))
        _wire(blocks, controls, model)
    return blocks


def _html(name: str, **values: Any) -> str:
    return Template((PAGE / name).read_text(encoding="utf-8")).substitute(values)


def _heading(model: Model, addresses: dict[str, str]) -> str:
    sha, (height, width) = model.sampler.snapshot_sha256 or "", model.sampler.size
    links = "".join(
        f'<a href="{html.escape(address)}"{" aria-current=page" if name == model.name else ""}>'
        f"{html.escape(name)}</a>"
        for name, address in addresses.items()
    )
    nav = f'<nav aria-label="Models">{links}</nav>' if len(addresses) > 1 else ""
    about = f"{height} × {width} px, snapshot {sha[:12]}"
    return f'<header id="loom-head"><h1>{html.escape(model.name)}</h1><span>{about}</span>{nav}</header>'


def _formats() -> str:
    """Options of the formats of films that can be written here."""
    found = []
    for suffix in ENCODERS:
        try:
            check_format(Path(f"x{suffix}"), 24)
            found.append(f'<option value="{suffix}">{suffix}</option>')
        except UserError:
            continue
    return "".join(found)


def _explore(controls: Controls, model: Model) -> None:
    sampler, generator = model.sampler, model.sampler.generator
    controls.slider("seed", "Seed", 0, SEEDS, 0, 1)
    if sampler.label_dim:
        classes = list(range(sampler.label_dim))
        controls.add("label", gr.Dropdown(classes, value=0, label="Class", elem_id="c-label"))
    if sampler.space == "w":
        note = "1 is the full variety, 0 the average picture"
        controls.slider("psi", "Truncation", -1, 1.5, 1, 0.01, info=note)
        with gr.Accordion("Truncation of each layer", open=False):
            each = gr.Checkbox(False, label="A value for each layer", elem_id="c-psi_each")
            controls.add("psi_each", each)
            for layer in range(active_ws(sampler.growth, generator.num_ws)):
                controls.slider(f"psi@{layer}", f"Layer {layer}", -1, 1.5, 1, 0.01)
    if sampler.noise_sizes:
        controls.slider("strength", "Noise strength", 0, 3, 1, 0.01)
        with gr.Row():
            words = [("of a seed", "random"), ("stored", "fixed"), ("none", "none")]
            controls.add("noise", gr.Radio(words, value="random", label="Noise", elem_id="c-noise"))
            seed = gr.Number(
                None,
                label="Noise seed",
                info="empty: the picture's own",
                precision=0,
                minimum=0,
                maximum=MAX_IMAGE_SEED,
                elem_id="c-noise_seed",
            )
            controls.add("noise_seed", seed)
    latent = gr.Textbox(
        "", label="Latent", info="of Project; empty: that of the seed", max_lines=1, elem_id="c-latent"
    )
    controls.add("latent", latent)


def _mix(controls: Controls, model: Model) -> None:
    levels = {"coarse": "4 to 8 px", "middle": "16 to 32 px", "fine": "from 64 px"}
    gr.Markdown("Styles of other seeds, range by range: coarse ones bring pose and shape, fine ones colours.")
    for source in ("b", "c"):
        first = source == "b"
        with gr.Group():
            number = gr.Number(
                1 if first else 2,
                label=f"Source {source.upper()}: seed",
                precision=0,
                minimum=0,
                maximum=MAX_IMAGE_SEED,
                elem_id=f"c-{source}",
            )
            controls.add(source, number)
            for name in RANGES:
                if model.maker.layers(name):
                    label = f"{source.upper()}: {name}, {levels[name]}"
                    controls.slider(f"{source}_mix@{name}", label, 0, 1, 0, 0.01)


def _edit(controls: Controls, model: Model) -> None:
    names = list(model.maker.directions)
    if not names:
        gr.Markdown(
            "There are no directions for this model. `styleloom directions` finds some; "
            "`styleloom app --directions FILE` brings them here."
        )
    else:
        gr.Markdown("A strength of 1 is one standard deviation of what the generator makes.")
    for name in names:
        own = model.maker.directions[name]
        deviations = own.directions.deviations
        weak = float(deviations.max() / deviations[own.directions.index(own.name)].clamp(min=1e-6))
        most = round(STRENGTH * min(max(weak, 1.0), 3.0))
        controls.slider(f"edit@{name}", name.replace("-", " ").capitalize(), -most, most, 0, 0.01)


def _bend(controls: Controls, desk: Desk, model: Model) -> None:
    sides = [str(side) for side in model.engine.bendable]
    if not sides:
        gr.Markdown("Feature maps of StyleGAN2 can be bent; this generator is of another kind.")
    for at in range(BENDS if sides else 0):
        with gr.Group():
            words = [("nothing", ""), *((text, kind) for kind, text in EFFECTS.items() if kind in BOUNDS)]
            label = ("First", "Second")[at]
            kind = gr.Dropdown(words, value="", label=f"{label} operation", elem_id=f"c-bend_kind-{at}")
            controls.add(f"bend_kind@{at}", kind)
            level = sides[min(1 + at, len(sides) - 1)]
            side = gr.Radio(sides, value=level, label="Level, px", elem_id=f"c-bend_side-{at}")
            controls.add(f"bend_side@{at}", side)
            controls.slider(f"bend_amount@{at}", f"{label}: amount", -1, 1, 0.25, 0.01)
            controls.slider(f"bend_share@{at}", f"{label}: share of the feature maps", 0, 1, 1, 0.01)
    others = desk.models.others(model)
    if others:
        with gr.Group():
            choice = gr.Dropdown(others, value=others[0], label="Second model", elem_id="c-other")
            controls.add("other", choice)
            levels = [NO_SWAP, *(str(side) for side in model.sampler.experiment.generator.sides[1:])]
            swap = gr.Radio(
                levels, value=NO_SWAP, label="Its layers from this level on, px", elem_id="c-swap"
            )
            controls.add("swap", swap)
    elif len(desk.models.names) > 1:
        gr.Markdown("Layers can be swapped among models of one architecture; no other here is of this one.")


def _judge(desk: Desk, model: Model) -> str:
    calibration = desk.calibrations.get(model.name)
    if calibration is None:
        words = (
            "this model has none yet. <code>styleloom attribute</code> makes one, and "
            "<code>--calibration</code> names it"
        )
        return _html("judge.html", calibration=words, disabled="disabled")
    area = calibration.roc_area
    words = (
        f"{len(calibration.generated)} generated and {len(calibration.real)} real images, "
        f"ROC area {area.value:.3f} ({area.low:.3f} to {area.high:.3f})"
    )
    return _html("judge.html", calibration=words, disabled="")


def _wire(blocks: Any, controls: Controls, model: Model) -> None:
    """What a change of any control does: the script draws. What a link says is put into the controls."""
    names, parts = list(controls.parts), list(controls.parts.values())
    data = html.escape(json.dumps(names), quote=True)
    gr.HTML(f'<div id="loom" data-model="{html.escape(model.name, quote=True)}" data-names="{data}"></div>')
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    draw = "(...values) => { window.loom?.changed(values); return []; }"
    gr.on([part.change for part in parts], None, parts, None, js=draw, queue=False, **quiet)
    for name in ("seed", "latent"):
        setter = gr.Button("set", elem_id=f"set-{name}", visible="hidden")
        setter.click(None, None, controls.parts[name], js="() => window.loomNext", queue=False, **quiet)
    defaults = [part.value for part in parts]

    def opened(request: gr.Request) -> list[Any]:
        try:
            words = [(n, v) for n, v in request.query_params.multi_items() if not n.startswith("__")]
            recipe = recipe_of(words)
        except UserError as error:
            gr.Warning(str(error)[:300])
            recipe = Recipe()
        found = values_of(recipe, names) if recipe != Recipe() else [None] * len(names)
        return [default if value is None else value for default, value in zip(defaults, found, strict=True)]

    ready = "(...values) => { window.loom?.changed(values); window.loom?.opened?.(); return []; }"
    blocks.load(opened, None, parts, queue=False, **quiet).then(None, parts, None, js=ready, **quiet)
