"""Pickles of the authors' TensorFlow codes: (G, D, Gs), each a `Network` with settings and variables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from styleloom.errors import UserError, quoted
from styleloom.foreign.file import AVERAGE, D, ForeignNetwork, G, Recognised, Translated
from styleloom.foreign.pickles.records import Array, Record, number, plain
from styleloom.weights import msg_tf, progan_tf, stylegan2_ada_tf, stylegan2_tf, stylegan_tf

ROLES = (G, D, AVERAGE)

MODULES = ("tfutil.Network", "dnnlib.tflib.network.Network", "network.Network")

NC_LICENCE = "CC BY-NC 4.0 (code and published weights)"
NVIDIA_LICENCE = "Nvidia Source Code License-NC (code and published weights)"

FORMATS: dict[int, tuple[str, str, str]] = {
    2: ("progan-tf", "tkarras/progressive_growing_of_gans", NC_LICENCE),
    3: ("stylegan-tf", "NVlabs/stylegan", NC_LICENCE),
    4: ("stylegan2-tf", "NVlabs/stylegan2", NVIDIA_LICENCE),
    5: ("stylegan2-ada-tf", "NVlabs/stylegan2-ada", NVIDIA_LICENCE),
}
"""Format, code and licence by version of a network's state."""

MAX_DEPTH = 3
MAX_VARIABLES = 100_000


def is_network(value: Any) -> bool:
    """Whether `value` is a `Network` of one of these codes."""
    return isinstance(value, Record) and str(value.of) in MODULES


def recognise(value: Any) -> Recognised | None:
    """The networks of a pickle; None for one of another kind. Raises UserError for one that is damaged."""
    parts = [value] if isinstance(value, Record) else value
    if not isinstance(parts, (tuple, list)) or not parts or not all(map(is_network, parts)):
        return None
    if len(parts) not in (1, 3):
        raise UserError(f"{len(parts)} networks; a pickle of these codes has three, G, D and Gs, or Gs alone")
    roles = ROLES if len(parts) == 3 else (AVERAGE,)
    networks = {}
    for role, part in zip(roles, parts, strict=True):
        networks[role] = network(role, _state(part, role))
    state = _state(parts[-1], AVERAGE)
    version, pyramid = state["version"], "num_inputs" in state
    name, code, licence = FORMATS[version]
    if pyramid:
        name, code, licence = "msg-stylegan-tf", "akanimax/msg-stylegan-tf", NC_LICENCE
    has_average = "dlatent_avg" in networks[AVERAGE].arrays
    return Recognised(
        name,
        code,
        str(version),
        networks,
        w_average="dlatent_avg of Gs" if has_average else "none, this generator has no w",
        licence=licence,
        source_texts=len(_sources(parts)),
    )


def _sources(parts: Iterable[Any]) -> set[str]:
    """The different source texts of networks and their components."""
    found: set[str] = set()
    for part in parts:
        components = (part.state.get("components") or {}).values()
        states = [part.state, *(inner.state for inner in components)]
        found |= {text for state in states if isinstance(text := state.get("build_module_src"), str)}
    return found


def _state(part: Any, role: str) -> Mapping[str, Any]:
    """The state of a `Network`, when it has what is needed."""
    state = part.state
    if not isinstance(state, dict):
        raise UserError(f"damaged, the state of the network {role} is no dictionary")
    version = state.get("version")
    if type(version) is not int or version not in FORMATS:
        raise UserError(f"networks of version {quoted(plain(version))} are not known; known: 2 to 5")
    for key, kind in (("static_kwargs", dict), ("variables", list), ("build_func_name", str)):
        if not isinstance(state.get(key), kind):
            raise UserError(f"damaged, the network {role} has no {key}")
    return state


def network(role: str, state: Mapping[str, Any]) -> ForeignNetwork:
    """One network with those it is made of."""
    function, kwargs = state["build_func_name"], plain(state["static_kwargs"])
    arrays = _variables(state)
    for key, component in (state.get("components") or {}).items():
        inner = _state(component, f"{role}.{key}") if is_network(component) else None
        if inner is None or inner is state or inner.get("components"):
            raise UserError(f"damaged, the component {quoted(key)} of the network {role} is none")
        arrays |= {f"G_{key}/{name}": array for name, array in _variables(inner).items()}
        if key == "synthesis" and inner["build_func_name"] in stylegan2_tf.SYNTHESIS_FUNCTIONS:
            kwargs["synthesis_func"] = inner["build_func_name"]
    lod = arrays["lod"].item() if "lod" in arrays and arrays["lod"].size == 1 else 0.0
    if not 0 <= lod < 64:
        raise UserError(f"damaged, the level of detail of the network {role} is {lod}")
    translate = _translator(function, state)
    return ForeignNetwork(role, function, kwargs, arrays, translate, lod, _truncation(function, kwargs))


def _variables(state: Mapping[str, Any]) -> dict[str, Array]:
    """Own variables by name."""
    arrays: dict[str, Array] = {}
    if len(state["variables"]) > MAX_VARIABLES:
        raise UserError("damaged, a network has more variables than any has")
    for pair in state["variables"]:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise UserError("damaged, a variable has no name")
        name, value = pair
        if isinstance(value, (int, float)):
            value = number(float(value))
        if not isinstance(value, Array):
            raise UserError(f"damaged, the variable {quoted(name)} is no array")
        if name in arrays:
            raise UserError(f"damaged, the variable {quoted(name)} is there twice")
        arrays[name] = value
    return arrays


def _truncation(function: str, kwargs: Mapping[str, Any]) -> tuple[float, int | None] | None:
    """What the code's own run does without arguments."""
    defaults = {"G_style": (0.7, 8), "G_main": (0.5, None)}
    if function not in defaults:
        return None
    psi = kwargs.get("truncation_psi", defaults[function][0])
    layers = kwargs.get("truncation_cutoff", defaults[function][1])
    if not isinstance(psi, (int, float)) or (function == "G_style" and layers is None):
        return None
    return psi, layers


# ---- functions


def _translator(function: str, state: Mapping[str, Any]) -> Callable[[ForeignNetwork], Translated]:
    """By name of the function that builds a network, how it is said in our words."""
    version = state["version"]
    if version == 5:
        source = stylegan2_ada_tf
    elif "num_inputs" in state:
        source = msg_tf
    else:
        source = {"G_paper": progan_tf, "D_paper": progan_tf, "G_main": stylegan2_tf}.get(
            function, stylegan2_tf if function in stylegan2_tf.DISCRIMINATOR_FUNCTIONS else stylegan_tf
        )
    known = ("G_paper", "D_paper", "G_style", "D_basic", "G_main", "D_main")

    def translate(own: ForeignNetwork) -> Translated:
        if function not in (*known, *stylegan2_tf.DISCRIMINATOR_FUNCTIONS):
            raise UserError(
                f"a network of the function {quoted(function)} is not known; known: {', '.join(known)}"
            )
        if own.role == D:
            extra = (function,) if source is stylegan2_tf else ()
            config: Any = source.discriminator_config(own.kwargs, *extra)  # type: ignore[arg-type]
            return Translated(config, source.discriminator_table(config))
        config = source.generator_config(own.kwargs)
        extra = ()
        if source in (stylegan_tf, msg_tf):
            extra = (own.kwargs.get("fused_scale", "auto"),)
        elif source is progan_tf:
            shapes = {name: array.shape for name, array in own.arrays.items()}
            extra = (progan_tf.transposed_in_hwio(config, shapes, default=version > 2),)
        return Translated(config, source.generator_table(config, *extra))

    return translate
