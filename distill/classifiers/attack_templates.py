"""Reads `attack_templates.toml`: what a hostile article may say to the model, as training data.

Knows nothing of how a classifier is trained on it.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

PLACE = "{say}"
"""In a form: where a payload goes."""


@dataclass(frozen=True)
class AttackTemplates:
    """Forms and what is put into them, by language."""

    forms: Mapping[str, tuple[str, ...]]
    payloads: Mapping[str, tuple[str, ...]]
    orders: tuple[str, ...]
    """Sentences with nothing to fill in."""
    reviewed: int
    """The first so many forms of a language are those that the rules of `runtime.understanding` were written for."""

    def fill(self, rng: random.Random, payloads: int) -> list[str]:
        """Every form with so many payloads of its language, drawn without repetition, and every order."""
        filled = [
            form.replace(PLACE, payload)
            for lang, forms in self.forms.items()
            for form in forms
            for payload in rng.sample(self.payloads[lang], payloads)
        ]
        return [*filled, *self.orders]


def load_templates() -> AttackTemplates:
    """The templates of this project."""
    text = files(__package__).joinpath("attack_templates.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text)
    by_lang = {key: {lang: tuple(rows) for lang, rows in raw[key].items()} for key in ("forms", "payloads")}
    return AttackTemplates(by_lang["forms"], by_lang["payloads"], tuple(raw["orders"]), int(raw["reviewed"]))
