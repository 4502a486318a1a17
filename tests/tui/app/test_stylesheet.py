"""The stylesheet names widgets that exist: Textual ignores a selector without a widget, and the screen changes."""

from __future__ import annotations

import importlib
import pkgutil
import re
from importlib.resources import files

from textual.dom import DOMNode

import tui.screens
import tui.widgets


def test_stylesheet_selectors_name_classes_of_the_console() -> None:
    css = files("tui.app").joinpath("console.tcss").read_text("utf-8")
    named = set(re.findall(r"^([A-Z]\w+)|, ([A-Z]\w+)", re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL), re.MULTILINE))
    for room in (tui.widgets, tui.screens):
        for module in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
            importlib.import_module(module.name)
    known = {node.__name__ for node in _below(DOMNode)}
    assert {one or other for one, other in named} <= known


def _below(kind: type) -> set[type]:
    return {kind}.union(*(_below(one) for one in kind.__subclasses__()))
