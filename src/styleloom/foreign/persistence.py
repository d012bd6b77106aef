"""Pickles of stylegan2-ada-pytorch, of stylegan3 and of their forks: modules with their source and state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from styleloom.errors import UserError, quoted
from styleloom.foreign.file import AVERAGE, D, ForeignNetwork, G, Recognised, Translated
from styleloom.foreign.pickles.records import Array, Record, plain
from styleloom.weights import stylegan2_ada

PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"

VERSIONS = range(1, 7)
"""Versions of the format that are known."""

MAX_DEPTH, MAX_MODULES = 8, 10_000

CLASSES = (
    "Generator",
    "Discriminator",
    "MappingNetwork",
    "SynthesisNetwork",
    "SynthesisBlock",
    "SynthesisLayer",
    "ToRGBLayer",
    "FullyConnectedLayer",
    "Conv2dLayer",
    "DiscriminatorBlock",
    "DiscriminatorEpilogue",
    "MinibatchStdLayer",
)

POSITIONAL = {
    "Generator": ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels"),
    "Discriminator": ("c_dim", "img_resolution", "img_channels"),
}

LICENCE = "Nvidia Source Code License-NC (code and published weights)"


def _meta(value: Any) -> dict[str, Any] | None:
    """What a persistent object says of itself; None for something else."""
    if not isinstance(value, Record) or str(value.of) != PERSISTENT:
        return None
    meta = value.args[0] if len(value.args) == 1 else None
    if not isinstance(meta, dict):
        raise UserError("damaged, a persistent object without description")
    if meta.get("type") != "class":
        raise UserError(f"a persistent object of the type {quoted(plain(meta.get('type')))} is not known")
    version = meta.get("version")
    if type(version) is not int or version not in VERSIONS:
        raise UserError(
            f"persistent objects of version {quoted(plain(version))} are not known; known: 1 to 6"
        )
    if not isinstance(meta.get("state"), dict) or not isinstance(meta.get("class_name"), str):
        raise UserError("damaged, a persistent object without class or state")
    return meta


def _modules(value: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Every module within `value`: name, class, state."""
    waiting, count = [("", value, 0)], 0
    while waiting:
        name, module, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_MODULES:
            raise UserError("damaged, modules within modules without end")
        if module is None:
            continue
        meta = _meta(module)
        state = meta["state"] if meta else module.state if isinstance(module, Record) else None
        if not isinstance(state, dict):
            raise UserError(f"damaged, the module {quoted(name)} has no state")
        yield name, meta["class_name"] if meta else module.of.name, state
        inner = state.get("_modules") or {}
        if not isinstance(inner, dict):
            raise UserError(f"damaged, the module {quoted(name)} has modules of no kind")
        waiting += [(f"{name}.{key}".lstrip("."), part, depth + 1) for key, part in inner.items()]


def _arrays(value: Any) -> tuple[dict[str, Array], list[str]]:
    """Parameters and buffers by name, and the classes of all modules."""
    arrays: dict[str, Array] = {}
    classes = []
    for name, kind, state in _modules(value):
        classes.append(kind)
        for group in ("_parameters", "_buffers"):
            held = state.get(group) or {}
            if not isinstance(held, dict):
                raise UserError(f"damaged, {group} of the module {quoted(name)} are none")
            for key, array in held.items():
                if isinstance(array, Array):
                    arrays[f"{name}.{key}".lstrip(".")] = array
                elif array is not None:
                    raise UserError(f"damaged, {quoted(f'{name}.{key}')} is no tensor")
    return arrays, classes


def _refusal(arrays: Mapping[str, Array], classes: list[str]) -> str | None:
    """Why the networks with these arrays are not read; None where they are StyleGAN2's."""
    w_avg = arrays.get("mapping.w_avg")
    if "mapping.embed_proj.weight" in arrays or (w_avg is not None and len(w_avg.shape) == 2):
        return (
            "StyleGAN-XL, whose generator is StyleGAN3's with class embeddings of a pretrained network: "
            "styleloom has no such network; its own code (autonomousvision/stylegan-xl) reads it"
        )
    if any(name.startswith("synthesis.input.") for name in arrays):
        return (
            "StyleGAN3, whose layers filter in continuous coordinates: styleloom has StyleGAN2's networks; "
            "NVlabs/stylegan3 reads it"
        )
    unknown = [name for name in classes if name not in CLASSES]
    if unknown:
        return f"a network with modules of the class {quoted(unknown[0])}, which no code that is known has"
    return None


def _network(role: str, value: Any) -> tuple[ForeignNetwork, str | None]:
    """One network, and why it is not read."""
    meta = _meta(value)
    assert meta is not None
    arrays, classes = _arrays(value)
    state = meta["state"]
    kwargs = plain(state.get("_init_kwargs") or {})
    args = plain(state.get("_init_args") or [])
    kwargs |= dict(zip(POSITIONAL.get(meta["class_name"], ()), args, strict=False))
    translate = _discriminator if role == D else _generator
    refused = None if role == D else _refusal(arrays, classes)
    own = ForeignNetwork(role, meta["class_name"], kwargs, arrays, translate)
    return own, refused


def _generator(own: ForeignNetwork) -> Translated:
    """`Generator`; stylegan3's takes the settings of the synthesis network as its own."""
    known = (*stylegan2_ada.GENERATOR_DEFAULTS, "init_res")
    flat = {name: value for name, value in own.kwargs.items() if name not in known}
    kwargs = {name: value for name, value in own.kwargs.items() if name in stylegan2_ada.GENERATOR_DEFAULTS}
    kwargs["synthesis_kwargs"] = {**(kwargs.get("synthesis_kwargs") or {}), **flat}
    config = replace(stylegan2_ada.generator_config(kwargs), grid=_grid(own.kwargs))
    return Translated(config, stylegan2_ada.generator_table(config))


def _discriminator(own: ForeignNetwork) -> Translated:
    """`Discriminator`."""
    kwargs = {name: value for name, value in own.kwargs.items() if name != "init_res"}
    config = replace(stylegan2_ada.discriminator_config(kwargs), grid=_grid(own.kwargs))
    return Translated(config, stylegan2_ada.discriminator_table(config))


def _grid(kwargs: Mapping[str, Any]) -> tuple[int, ...]:
    """The lowest level of rectangular networks, which forks record as init_res."""
    grid = kwargs.get("init_res") or (4, 4)
    if not isinstance(grid, (list, tuple)) or not all(type(side) is int for side in grid):
        raise UserError(f"init_res {quoted(grid)} is not valid, it must be height and width")
    return tuple(grid)


def recognise(value: Any) -> Recognised | None:
    """The networks of a pickle; None for one of another kind."""
    if not isinstance(value, dict):
        return None
    networks, refusals, version = {}, [], None
    for role in (G, D, AVERAGE):
        part = value.get(role)
        meta = _meta(part)
        if meta is None:
            continue
        version = meta["version"]
        networks[role], refused = _network(role, part)
        refusals += [refused] if refused else []
    if not networks:
        return None
    if AVERAGE not in networks and G not in networks:
        raise UserError("a pickle with a discriminator alone; a generator (G_ema) is needed")
    name, code = _format(value, networks, refusals)
    facts = {}
    if isinstance(value.get("training_set_kwargs"), dict):
        facts["training_set"] = plain(value["training_set_kwargs"])
    return Recognised(
        name,
        code,
        str(version),
        networks,
        refusals[0] if refusals else None,
        facts,
        "mapping.w_avg",
        LICENCE,
        _count_sources(value),
    )


def _count_sources(value: Mapping[str, Any]) -> int:
    """How many different source texts the modules have."""
    found = set()
    for role in (G, D, AVERAGE):
        waiting = [value.get(role)]
        while waiting:
            module = waiting.pop()
            meta = _meta(module)
            if meta is not None:
                found |= {meta["module_src"]} if isinstance(meta.get("module_src"), str) else set()
                waiting += (meta["state"].get("_modules") or {}).values()
    return len(found)


def _format(
    value: Mapping[str, Any], networks: Mapping[str, ForeignNetwork], refusals: list[str]
) -> tuple[str, str]:
    """Format, and the code that wrote it as far as it can be told."""
    if refusals and re.match("StyleGAN-XL", refusals[0]):
        return "stylegan-xl", "autonomousvision/stylegan-xl"
    generator = networks.get(AVERAGE) or networks[G]
    if refusals and re.match("StyleGAN3", refusals[0]):
        return "stylegan3", "NVlabs/stylegan3"
    if "init_res" in generator.kwargs:
        return "stylegan2-ada-pytorch", "eps696/stylegan2ada"
    keys = list(value)
    flat = "synthesis_kwargs" not in generator.kwargs and "channel_base" in generator.kwargs
    if flat or keys[:1] == [G]:
        return "stylegan2-ada-pytorch", "NVlabs/stylegan3 (StyleGAN2 networks)"
    return "stylegan2-ada-pytorch", "NVlabs/stylegan2-ada-pytorch or a fork"
