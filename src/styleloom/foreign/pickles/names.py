"""Which names a pickle may have: a closed list. A file with any other is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from styleloom.errors import UserError, quoted
from styleloom.foreign.pickles.records import ITEM_TYPES, Name

MAX_OPERATIONS = 1_000_000
"""Most operations of all pickles of one file: real ones have some ten thousand."""

RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "numpy._core": "numpy.core"}
"""Modules by the names that older Pythons and newer NumPys have for them."""

EXACT: dict[str, tuple[str, ...]] = {
    "builtins": ("set", "frozenset", "object", "bytearray", "list", "dict", "tuple", "int", "float"),
    "collections": ("OrderedDict", "defaultdict"),
    "copyreg": ("_reconstructor",),
    "_codecs": ("encode",),
    "argparse": ("Namespace",),
    "types": ("SimpleNamespace",),
    "pathlib": ("PosixPath", "WindowsPath", "Path", "PurePosixPath"),
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.numeric": ("_frombuffer",),
    "torch._utils": (
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v3",
        "_rebuild_parameter",
    ),
    "torch.storage": ("_load_from_bytes", "TypedStorage", "UntypedStorage"),
    "torch": (*ITEM_TYPES, "Size", "device"),
    "torch.nn.parameter": ("Parameter",),
    "dill._dill": ("_create_array",),
    "tfutil": ("Network",),
    "network": ("Network",),
    "dnnlib.tflib.network": ("Network",),
    "dnnlib.util": ("EasyDict",),
    "torch_utils.persistence": ("_reconstruct_persistent_obj",),
}

CLASSES = re.compile(r"(torch\.nn\.modules|torch\.optim|training|models?|stylegan2(_pytorch)?)(\.\w+)*")
"""Modules whose classes may stand in a file: they become records, of which nothing is used."""

SHOWN = 5
"""Names that a message lists."""


@dataclass
class Seen:
    """What the pickles of one file name and would call, and how many operations they may still have."""

    names: dict[Name, None] = field(default_factory=dict)
    called: dict[Name, None] = field(default_factory=dict)
    unknown: dict[Name, None] = field(default_factory=dict)
    left: int = MAX_OPERATIONS
    depth: int = 0

    def name(self, module: str, name: str) -> Name:
        """The name, noted down."""
        for old, new in RENAMED.items():
            if module == old or module.startswith(f"{old}."):
                module = new + module.removeprefix(old)
        found = Name(module[:200], name[:200])
        known = name in EXACT.get(module, ()) or (CLASSES.fullmatch(module) and name[:1].isupper())
        if "." in name or not name.isidentifier() or not known:
            self.unknown[found] = None
        self.names[found] = None
        return found

    def check(self) -> None:
        """Raise UserError where a name is none that weights need."""
        if self.unknown:
            some = ", ".join(quoted(str(name)) for name in list(self.unknown)[:SHOWN])
            more = f" and {len(self.unknown) - SHOWN} more" if len(self.unknown) > SHOWN else ""
            raise UserError(
                f"refused, this pickle names {some}{more}, which no weights need: unpickled the usual way it "
                "would import and could run that; nothing of it was run"
            )
