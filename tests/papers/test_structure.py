"""Who may import whom, and where a family or preset may be called by its name (ARCHITECTURE)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import styleloom
from every import every
from styleloom import presets
from styleloom.config import networks as config
from styleloom.networks import build

ROOT = Path(styleloom.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
PAPERS = ("progan", "stylegan", "msg", "stylegan2")
"""In the order in which they appeared; each may build on earlier ones."""

SHELLS = ("networks/__init__.py", "networks/assembly.py", "networks/build.py", "networks/stages.py")


def imports(file: str) -> set[str]:
    """Modules of the package that a file imports, without the package's name: "ops.conv2d"."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if is_module(inner) else node.module or "")
    return {name.removeprefix("styleloom.") for name in found if name.startswith("styleloom.")}


def is_module(name: str) -> bool:
    """Whether a dotted name is a file or folder of the package."""
    path = ROOT.parent / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def allowed(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of, or within one of, `packages`."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def in_folder(folder: str) -> list[str]:
    """Files of a folder of the package."""
    return [file for file in FILES if file.startswith(f"{folder}/")]


ARCHITECTURE = Path(__file__).parents[2] / "ARCHITECTURE.md"


def drawn_rows() -> list[list[str]]:
    """The rows of ARCHITECTURE's drawing, highest first, without the words that explain them."""
    text = ARCHITECTURE.read_text()
    drawing = text.split("<!-- order -->\n```\n")[1].split("```\n<!-- /order -->")[0]
    rows = [re.split(r" {3,}", line)[0:4] for line in drawing.splitlines()]
    return [[name for name in row if is_module(f"styleloom.{name}") or name == "styleloom"] for row in rows]


def place(name: str, heights: Mapping[str, int]) -> str:
    """The drawn package or module that a dotted name belongs to: the longest that holds it."""
    parts = name.split(".")
    while parts and ".".join(parts) not in heights:
        parts.pop()
    return ".".join(parts) or "styleloom"


def test_packages_import_the_rows_below_them_alone() -> None:
    rows = drawn_rows()
    heights = {name: height for height, row in enumerate(reversed(rows)) for name in row}
    top = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert top - {"__init__", "__main__"} == {name.split(".")[0] for name in heights} - {"styleloom"}
    wrong = []
    for file in FILES:
        if file == "__main__.py":
            continue
        own = place(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."), heights)
        for name in imports(file):
            other = place(name, heights)
            if other != own and heights[other] >= heights[own]:
                wrong.append(f"{file} ({own}) imports {name} ({other})")
    assert not wrong


def test_contracts_know_nobody() -> None:
    assert imports("types.py") <= {"config.parts", "config.growth"}  # choices, and where growth stands
    assert imports("errors.py") == set()


def paper_files() -> list[str]:
    """Every file in networks/ is a shell or a paper's."""
    files = [file for file in in_folder("networks") if file not in SHELLS]
    assert files
    return files


def foreign(paper: str, found: set[str]) -> set[str]:
    """Which of these imports a paper's file may not have: it builds on shared layers and earlier papers."""
    earlier = tuple(f"networks.{name}" for name in PAPERS[: PAPERS.index(paper)])
    packages = ("ops", "layers", "networks.assembly", "config.networks", "errors", "types", *earlier)
    return {name for name in found if not allowed(name, packages)}


@every("file", paper_files())
def test_a_paper_builds_on_shared_layers_and_earlier_papers(file: str) -> None:
    name = Path(file).stem
    assert name in PAPERS, f"{file}: enter the paper in PAPERS, in its place"
    wrong = foreign(name, imports(file))
    assert not wrong, f"{file} imports {sorted(wrong)}"


@every("paper", PAPERS)
def test_the_order_of_papers_is_enforced(paper: str) -> None:
    """Each may import all papers before it and none after it, nor the builder, presets or training."""
    others = [name for name in PAPERS if name != paper]
    later = {f"networks.{name}" for name in others if PAPERS.index(name) > PAPERS.index(paper)}
    assert foreign(paper, {f"networks.{name}" for name in others}) == later
    higher = {"networks.build", "presets", "presets.stylegan2", "training.losses", "weights.tables"}
    assert foreign(paper, higher | {"layers.growing", "networks.assembly", "ops.upfirdn"}) == higher


def test_shells_know_no_paper() -> None:
    packages = ("ops", "layers", "config.networks", "arguments", "errors", "types")
    assert {name for name in imports("networks/assembly.py") if not allowed(name, packages)} == set()


def test_papers_are_known_to_the_builder_table_and_converters_alone() -> None:
    papers = tuple(f"networks.{Path(file).stem}" for file in paper_files())
    knowing = {file for file in FILES if any(allowed(name, papers) for name in imports(file))}
    assert "networks/build.py" in knowing
    others = {file for file in knowing if not file.startswith(("networks/", "weights/"))}
    assert others == set()


def test_imports_are_seen() -> None:
    """The reader of imports finds what is there."""
    assert {"ops.modulated_conv", "layers.noise", "networks.assembly", "config.networks"} <= imports(
        "networks/stylegan2.py"
    )
    assert "networks.stylegan2" in imports("networks/build.py")


# ---- names


FAMILY_CLASSES = {cls.__name__ for family in config.FAMILIES.values() for cls in family}


def families() -> set[str]:
    """Names of families, and of the papers that they come from."""
    return set(config.FAMILIES) | set(PAPERS)


def test_every_family_is_in_the_table() -> None:
    """Under its own name, with a class for each role."""
    classes = {c for c in vars(config).values() if isinstance(c, type) and hasattr(c, "family")}
    assert {cls for family in config.FAMILIES.values() for cls in family} == classes
    for name, family in config.FAMILIES.items():
        assert family.generator.family == family.discriminator.family == name
        assert (family.generator.role, family.discriminator.role) == ("generator", "discriminator")


def compared_strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """String constants in comparisons, `match` cases and tests of a beginning or end."""
    for node in ast.walk(tree):
        parts: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("startswith", "endswith", "removeprefix")
        ):
            parts = list(node.args)
        for part in parts:
            for inner in ast.walk(part):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    yield getattr(node, "lineno", 0), inner.value


@every("file", FILES)
def test_no_family_or_preset_is_compared_by_name(file: str) -> None:
    """The table in networks/build.py goes by class; everything else goes by field."""
    names = families() | set(presets.names())
    tree = ast.parse((ROOT / file).read_text())
    found = [(line, text) for line, text in compared_strings(tree) if text.rstrip("-_") in names]
    assert not found, f"{file}: {found}"


@every(
    "code",
    [
        'x == "stylegan2"',
        'x in ("progan", "stylegan")',
        'x.startswith("stylegan2-")',
        'match x:\n    case "demo":\n        pass',
    ],
)
def test_comparisons_are_seen(code: str) -> None:
    names = families() | set(presets.names())
    assert any(text.rstrip("-_") in names for _, text in compared_strings(ast.parse(code)))


def family_tests(tree: ast.AST) -> Iterator[int]:
    """Lines that tell families apart: `.family` in a comparison, a configuration's class, a table's key."""
    for node in ast.walk(tree):
        parts = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        keys = node.keys if isinstance(node, ast.Dict) else []
        if (
            (isinstance(node, ast.Name) and node.id in FAMILY_CLASSES)
            or (isinstance(node, ast.Attribute) and node.attr in FAMILY_CLASSES)
            or any(isinstance(part, ast.Attribute) and part.attr == "family" for part in parts)
            or any(isinstance(key, ast.Constant) and key.value in config.FAMILIES for key in keys)
        ):
            yield getattr(node, "lineno", 0)


KNOWING_FAMILIES = ("config/", "presets/", "networks/", "weights/")


@every("file", [file for file in FILES if not file.startswith(KNOWING_FAMILIES)])
def test_training_and_tools_know_no_family(file: str) -> None:
    """They ask a configuration for what it is: `grows`, `mixes_styles`, `pyramid_sides`."""
    assert not list(family_tests(ast.parse((ROOT / file).read_text())))


@every(
    "code",
    [
        "isinstance(g, StyleGAN2Generator)",
        "type(d) is config.ProGANDiscriminator",
        "g.family == name",
        '{"msg-progan": 1, "stylegan": 2}[name]',
    ],
)
def test_told_apart_families_are_seen(code: str) -> None:
    assert list(family_tests(ast.parse(code)))


def test_the_builder_table_has_every_family() -> None:
    classes = {c for c in vars(config).values() if isinstance(c, type) and hasattr(c, "family")}
    assert set(build.GENERATORS) | set(build.DISCRIMINATORS) == classes
