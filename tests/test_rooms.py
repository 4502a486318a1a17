"""The plan of the house: rooms that a newcomer can find, without import circles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGES = ("distill", "quantize", "runtime", "tui")
MOST_MODULES_BESIDE_ROOMS = 6
ROOMS = sorted(path.parent for package in PACKAGES for path in (ROOT / package).rglob("__init__.py"))


def modules() -> dict[str, Path]:
    """Every module of the packages by its dotted name."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The project's modules that a module imports anywhere: at its top, inside functions, or for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found = f"{node.module}.{alias.name}"
                yield found if found in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_import_circle_anywhere() -> None:
    """Also none that an import inside a function hides: peel off modules that import nothing that is left."""
    known = modules()
    left = {name: {other for other in imports(path, known) if other in known} - {name} for name, path in known.items()}
    # A room's own `__init__` is imported with each of its modules; it imports none of them.
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert sorted(left) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_package_has_at_most_six_modules_beside_its_rooms(package: str) -> None:
    beside = [path.name for path in (ROOT / package).glob("*.py") if path.name != "__init__.py"]
    assert len(beside) <= MOST_MODULES_BESIDE_ROOMS, beside


@pytest.mark.parametrize(
    "room", [room for room in ROOMS if room.parent != ROOT], ids=lambda room: str(room.relative_to(ROOT))
)
def test_room_is_explained_in_its_first_sentence_and_lists_its_modules(room: Path) -> None:
    text = (room / "__init__.py").read_text(encoding="utf-8")
    explained = ast.get_docstring(ast.parse(text)) or ""
    assert re.match(r"[A-Za-z`].{15,}\.(\n|$)", explained), "the first line is one sentence"
    missing = [path.stem for path in room.glob("*.py") if path.stem != "__init__" and path.stem not in explained]
    assert missing == []


@pytest.mark.parametrize(
    "room", [room for room in ROOMS if room.parent != ROOT], ids=lambda room: str(room.relative_to(ROOT))
)
def test_room_loads_none_of_its_modules_by_itself(room: Path) -> None:
    """One module of a room must not cost the others. The exception, `tui.state`, is one value in several modules."""
    tree = ast.parse((room / "__init__.py").read_text(encoding="utf-8"))
    loads = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "__future__"]
    assert not loads or room == ROOT / "tui" / "state"


def test_public_classes_have_names_of_their_own() -> None:
    """Two public classes of one name cannot be told apart by searching."""
    seen: dict[str, list[str]] = {}
    for name, path in modules().items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                seen.setdefault(node.name, []).append(name)
    assert {name: where for name, where in seen.items() if len(where) > 1} == {}


@pytest.mark.parametrize("document", ["DESIGN", "FACTS", "HOUSE", "CONSOLE", "FAULTS", "STYLE"])
def test_no_docstring_cites_a_document_outside_the_repository(document: str) -> None:
    cited = [
        str(path.relative_to(ROOT))
        for folder in (*PACKAGES, "tests", "benchmarks", "docs", "recipes", "examples")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".md", ".toml", ".sh")
        and path.name != Path(__file__).name
        and re.search(rf"\b{document}(\.md|\b *§)", path.read_text(encoding="utf-8"))
    ]
    assert cited == []


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md", "README.md"])
def test_page_names_files_that_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:distill|quantize|runtime|tui|tests|docs|recipes)/[\w./-]*)`", text)
    named += re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    base = (ROOT / page).parent
    assert [path for path in named if not (ROOT / path).exists() and not (base / path).exists()] == []
