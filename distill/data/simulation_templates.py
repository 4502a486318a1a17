"""The words a simulation is made of: cases (what is asked and answered) and the scene around them, read from TOML.

Promises: a malformed file, an evidence of another article or a slot that nothing fills is refused with file and key.
Knows nothing of how conversations are put together.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.base.toml_file import read_toml
from runtime.base.validation import first_problem
from runtime.errors import InputError
from runtime.text.records import Emotion

Model = TypeVar("Model", bound=BaseModel)
NonEmpty = Field(min_length=1)
SLOT = re.compile(r"\{(\w+)\}")


class Case(BaseModel):
    """One thing customers ask, and the answers a good agent gives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intent: str = NonEmpty
    evidence: tuple[str, ...] = NonEmpty
    ask: tuple[str, ...] = NonEmpty
    follow_up: tuple[str, ...] = ()
    answer: tuple[str, ...] = NonEmpty
    article: str = ""
    """Set from the file it stands in."""


class CaseFile(BaseModel):
    """One `cases/*.toml`."""

    model_config = ConfigDict(extra="forbid")

    article: str = NonEmpty
    case: tuple[Case, ...] = NonEmpty


class Mood(BaseModel):
    """What a mood adds around a question; "" for nothing."""

    model_config = ConfigDict(extra="forbid")

    before: tuple[str, ...] = ("",)
    after: tuple[str, ...] = ("",)


class SmallTalk(BaseModel):
    """A message that asks nothing, and its replies."""

    model_config = ConfigDict(extra="forbid")

    say: tuple[str, ...] = NonEmpty
    answer: tuple[str, ...] = NonEmpty


class SimulationTemplates(BaseModel):
    """`simulate.toml`: the words around the cases, in one language."""

    model_config = ConfigDict(extra="forbid")

    lang: str = Field(pattern=r"^[a-z]{2}$")
    joiner: str = " "
    """What stands between two sentences."""
    greetings: tuple[str, ...] = NonEmpty
    empathy: dict[Emotion, tuple[str, ...]] = Field(default_factory=dict)
    moods: dict[Emotion, Mood]
    small_talk: SmallTalk
    unanswerable: tuple[str, ...] = NonEmpty
    personal: tuple[str, ...] = NonEmpty
    """Sentences with slots for personal data."""
    slots: dict[str, tuple[str, ...]]
    """What a slot may hold; `#` stands for a digit, `{slot}` for another slot."""
    slang: dict[str, str] = Field(default_factory=dict)


def load_cases(folder: Path) -> list[Case]:
    """All cases below a folder, by file name; `InputError` naming file and key."""
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise InputError("no case (*.toml) found", where=str(folder), hint="see examples/README.md")
    cases = []
    for path in files:
        content = _load(path, CaseFile)
        for case in content.case:
            if stray := [ref for ref in case.evidence if not ref.startswith(f"{content.article}#")]:
                raise InputError(f"evidence '{stray[0]}' is of another article", where=str(path))
            cases.append(case.model_copy(update={"article": content.article}))
    return cases


def load_templates(folder: Path) -> tuple[SimulationTemplates, str]:
    """`simulate.toml` of a shop's folder, and the refusal its `policy.toml` sets."""
    scene = _load(folder / "simulate.toml", SimulationTemplates)
    if missing := [mood for mood in get_args(Emotion) if mood not in scene.moods]:
        raise InputError(f"mood '{missing[0]}' is missing", where=str(folder / "simulate.toml"))
    policy = read_toml(folder / "policy.toml")
    refusal = policy.get("refusal", {}).get("text")
    if not isinstance(refusal, str) or not refusal.strip():
        raise InputError("[refusal] text is missing", where=str(folder / "policy.toml"))
    return scene, refusal


def check_slots(folder: Path, scene: SimulationTemplates, cases: list[Case]) -> None:
    """Raise `InputError` naming the file and sentence whose slot simulate.toml does not fill."""
    texts = [(f"cases/{case.article}.toml", text) for case in cases for text in (*case.ask, *case.follow_up)]
    texts += [("simulate.toml", text) for text in (*scene.personal, *scene.unanswerable, *scene.small_talk.say)]
    texts += [("simulate.toml", text) for values in scene.slots.values() for text in values]
    for file, text in texts:
        for slot in SLOT.findall(text):
            if slot not in scene.slots:
                raise InputError(
                    f"slot '{{{slot}}}' in \"{text}\" is not filled",
                    where=str(folder / file),
                    hint=f"[slots] of simulate.toml fills: {', '.join(scene.slots)}",
                )


def _load(path: Path, model: type[Model]) -> Model:
    try:
        return model.model_validate(read_toml(path))
    except ValidationError as error:
        problem = first_problem(error, "key", model)
        raise InputError(problem.sentence, where=str(path), hint=problem.hint or "see examples/README.md") from None
