from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from distill.recipe.load_recipe import load_recipe
from runtime.base.jsonl import read_rows
from runtime.base.settings import load_settings
from runtime.base.validation import Noun, first_problem, nearest
from runtime.desk.policy import read_policy
from runtime.errors import EdgedeskError
from runtime.events import AskRequest, make_request
from runtime.server.access import FILE_NAME, AccessList
from runtime.server.request_bodies import parse
from runtime.text.records import Question
from tui.base.settings import read_settings


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = Field(default=2, ge=1, le=4000)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    theme: Literal["dark", "light"] = "dark"
    colour: Colour = Colour.RED
    name: str = Field(default="a", min_length=1, max_length=4, pattern="^[a-z]+$")
    code: str = Field(default="abc", min_length=3)
    share: float = Field(default=0.5, gt=0, lt=1)
    on: bool = True
    many: tuple[str, ...] = Field(default=("a",), min_length=1, max_length=2)
    either: int | tuple[str, ...] = 0
    odd: Annotated[str, BeforeValidator(lambda value: value)] = ""
    inner: Inner = Inner()
    inners: tuple[Inner, ...] = ()
    named: dict[str, Inner] = Field(default_factory=dict)
    path: Path = Path()

    @model_validator(mode="after")
    def _rule(self) -> Outer:
        if self.code == "bad":
            raise ValueError("this code is taken")
        return self


class Needed(Outer):
    must: str


def problem(value: Any, noun: Noun = "key", model: type[BaseModel] = Outer) -> tuple[str, str, str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return first_problem(caught.value, noun, model)


@pytest.mark.parametrize(
    ("value", "location", "sentence"),
    [
        ({"themes": 1}, "themes", "unknown key 'themes'"),
        ({"theme": "dim"}, "theme", "key 'theme' must be one of dark, light, not 'dim'"),
        ({"colour": "green"}, "colour", "key 'colour' must be one of red, blue, not 'green'"),
        ({"name": ""}, "name", "key 'name' must not be empty"),
        ({"name": "abcde"}, "name", "key 'name' must have at most 4 characters"),
        ({"name": "A"}, "name", "key 'name' must match the pattern ^[a-z]+$"),
        ({"name": 7}, "name", "key 'name' must be text, not a number"),
        ({"name": None}, "name", "key 'name' must be text, not null"),
        ({"name": ["a"]}, "name", "key 'name' must be text, not a list"),
        ({"code": "x"}, "code", "key 'code' must have at least 3 characters"),
        ({"code": "bad"}, "", "this code is taken"),
        ({"share": 0}, "share", "key 'share' must be above 0, not 0"),
        ({"share": 1.5}, "share", "key 'share' must be below 1, not 1.5"),
        ({"share": "half"}, "share", "key 'share' must be a number, not text"),
        ({"on": "perhaps"}, "on", "key 'on' must be true or false, not text"),
        ({"many": []}, "many", "key 'many' must not be empty"),
        ({"many": ["a", "b", "c"]}, "many", "key 'many' must have at most 2 entries"),
        ({"many": "abc"}, "many", "key 'many' must be a list, not text"),
        ({"many": ["a", 3]}, "many[1]", "key 'many[1]' must be text, not a number"),
        ({"inner": 3}, "inner", "key 'inner' must be a group of names with values, not a number"),
        ({"inner": {"size": 0}}, "inner.size", "key 'inner.size' must be at least 1, not 0"),
        ({"inner": {"size": 4001}}, "inner.size", "key 'inner.size' must be at most 4,000, not 4001"),
        ({"inner": {"size": 1.5}}, "inner.size", "key 'inner.size' must be a whole number, not 1.5"),
        ({"inners": [{}, {"sizes": 1}]}, "inners[1].sizes", "unknown key 'inners[1].sizes'"),
        (
            {"named": {"退货": {"size": "x"}}},
            "named.退货.size",
            "key 'named.退货.size' must be a whole number, not text",
        ),
        ({"either": {}}, "either", "key 'either' must be a whole number, not a group of names"),
        ({"odd": 3}, "odd", "key 'odd' must be text, not a number"),
        ({"path": 3}, "path", "key 'path' must be a path, not a number"),
        ({"name": "\ud800"}, "name", "key 'name' is not valid Unicode text"),
        ({"share": 0, "on": 7}, "share", "key 'share' must be above 0, not 0 (and 1 more)"),
        ([], "", "the file must be a group of names with values, not a list"),
    ],
)
def test_validation_problem_is_one_sentence_of_our_own(value: Any, location: str, sentence: str) -> None:
    assert problem(value)[:2] == (location, sentence)


def test_validation_problem_names_the_unknown_key_before_the_missing_one() -> None:
    assert problem({"code": "abc"}, model=Needed)[1] == "key 'must' is missing"
    location, sentence, hint = problem({"musst": "x"}, model=Needed)
    assert (location, sentence) == ("musst", "unknown key 'musst' (and 1 more)")
    assert hint == "did you mean 'must'?"


def test_validation_hint_names_the_nearest_or_all_known_names_at_that_depth() -> None:
    assert problem({"inners": [{"sise": 1}]})[2] == "did you mean 'size'?"
    assert problem({"named": {"a": {"xyz": 1}}})[2] == "known: size"
    assert nearest("EDGEDESK_TREADS", ["EDGEDESK_THREADS", "EDGEDESK_PORT"]) == "did you mean 'EDGEDESK_THREADS'?"


def test_validation_never_shows_text_that_may_be_a_customers() -> None:
    secret = "jan@example.com"
    for value in ({"name": secret}, {"share": secret}, {"inner": secret}, {"many": secret}, {"on": secret}):
        assert secret not in " ".join(problem(value))


def test_validation_never_shows_pydantics_own_words() -> None:
    for value in ({"x": 1}, {"theme": 1}, {"share": "a"}, {"inner": []}, {"many": {}}, {"on": []}, {"path": []}):
        assert not {"Input", "input", "permitted", "should", "required"} & set(problem(value)[1].split())


def _agents_file(path: Path) -> object:
    (path.parent / FILE_NAME).write_bytes(path.read_bytes())
    return AccessList(path.parent).caller("x")


@pytest.mark.parametrize(
    ("text", "read", "sentence"),
    [
        ("theme = 1", read_policy, "unknown key 'theme'"),
        ("theem = 1", read_settings, "unknown setting 'theem'"),
        ("lora = {ranks = 1}", load_recipe, "unknown key 'lora.ranks'"),
        ('{"theme": 1}', _agents_file, "unknown key 'theme'"),
        ('{"agents": [{"name": "a"}]}', _agents_file, "key 'agents[0].role' is missing"),
        ('{"question": "a", "theme": 1}', lambda p: parse(p.read_bytes(), AskRequest, ""), "unknown field 'theme'"),
        ("{", lambda p: parse(p.read_bytes(), AskRequest, ""), "the body is not JSON"),
        ('{"question": 3}', lambda p: parse(p.read_bytes(), AskRequest, ""), "field 'question' must be text"),
        ("x", lambda _: make_request(question=""), "field 'question' must not be empty"),
        (
            '{"question": "b", "note": 1}',
            lambda p: list(read_rows(Question, p)),
            "unknown column 'note'",
        ),
        ("treads = 1", lambda p: load_settings(p.parent), "unknown setting 'treads'"),
    ],
    ids=["policy", "console", "recipe", "agents", "agent", "body", "json", "field", "request", "row", "settings"],
)
def test_validation_calls_each_place_by_what_it_is(
    tmp_path: Path, text: str, read: Callable[[Path], object], sentence: str
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EdgedeskError) as caught:
        read(path)
    assert sentence in caught.value.what
    assert ("column '" in caught.value.what) == ("column '" in sentence)


def test_row_with_an_unknown_column_is_not_said_to_need_it(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "b", "answer": "d"}\n')
    with pytest.raises(EdgedeskError, match="unknown column 'answer'") as caught:
        list(read_rows(Question, path))
    assert caught.value.hint == "did you mean 'answerable'?"
