"""Reads a recipe: checks its keys, and finds every file it names before anything is built.

Promises: an unknown key, a missing file or a value out of range is refused with the recipe's name and the key.
"""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from distill.models.catalogue import CATALOGUE
from distill.recipe.recipe import BaseChoice, Data, Faq, LastRelease, Recipe
from distill.recipe.speech_settings import Speech
from runtime.base.toml_file import read_toml
from runtime.base.validation import first_problem
from runtime.errors import MissingError, UsageError


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; `UsageError` naming the key that is wrong, `MissingError` for a file it names in vain."""
    try:
        recipe = Recipe.model_validate(read_toml(path, refuse=UsageError, hint="see docs/reference/recipe.md"))
    except ValidationError as error:
        problem = first_problem(error, "key", Recipe)
        raise UsageError(problem.sentence, where=str(path), hint=problem.hint or "docs/reference/recipe.md") from None
    learner = _resolve_model(recipe.student.model, path, "student.model")
    student = recipe.student.model_copy(update={"model": learner})
    last = recipe.last_release and _resolve_last(recipe.last_release, path)
    base, data = _resolve_base(recipe.base, path), _resolve(recipe.data, path)
    if last and "model" not in recipe.base.model_fields_set:
        base = base.model_copy(update={"model": str(last.work / MERGED)})
    template = recipe.prompt.template and _there(recipe.prompt.template, path, "prompt.template", "file")
    prompt = recipe.prompt.model_copy(update={"template": template})
    speech = recipe.speech and _resolve_speech(recipe.speech, path)
    update = {"base": base, "data": data, "student": student, "prompt": prompt, "last_release": last, "speech": speech}
    return recipe.model_copy(update=update)


MERGED = "merged"
"""The folder of a build's finished checkpoint, which the next release is tuned from."""


def _resolve_last(last: LastRelease, recipe: Path) -> LastRelease:
    """The work folder made absolute; `MissingError` where no build was finished in it."""
    work = _there(last.work, recipe, "last_release.work", "folder")
    for part in (f"{MERGED}/config.json", "records/train.jsonl", "bundle/bundle.json"):
        if not (work / part).is_file():
            raise MissingError(
                f"last_release.work: no finished build: {last.work} lacks {part}",
                where=str(recipe),
                hint="name the work folder that `edgedesk build` filled (work/<name of the recipe>)",
            )
    return last.model_copy(update={"work": work})


def _there(path: Path, recipe: Path, key: str, kind: Literal["file", "folder", "articles"]) -> Path:
    """A path of the recipe made absolute; `MissingError` where nothing is, `UsageError` where it is something else."""
    absolute = _absolute(path, recipe, key)
    if not absolute.exists():
        raise MissingError(f"{key}: no such file or folder: {path}", where=str(recipe), hint=f"looked for {absolute}")
    if kind == "file" and not absolute.is_file():
        raise UsageError(f"{key}: not a regular file: {path}", where=str(recipe), hint="name a file")
    if kind == "folder" and not absolute.is_dir():
        raise UsageError(f"{key}: not a folder: {path}", where=str(recipe), hint="name a folder")
    if kind == "articles" and not (absolute.is_dir() or (absolute.is_file() and absolute.suffix.lower() in _DOCUMENTS)):
        raise UsageError(
            f"{key}: neither a folder nor a document that is read: {path}",
            where=str(recipe),
            hint=f"a folder of documents, or a file that ends in {', '.join(_DOCUMENTS)}",
        )
    return absolute


_DOCUMENTS = (".md", ".markdown", ".txt", ".html", ".htm", ".docx", ".pdf")
_SHOWN_CHARS = 60


def _absolute(path: Path, recipe: Path, key: str) -> Path:
    """A path of the recipe made absolute; `UsageError` for one that no file can have (NUL, 300 characters a name)."""
    try:
        absolute = (recipe.absolute().parent / path.expanduser()).resolve()
        absolute.exists()  # only here a name that is too long is noticed
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle, a home that is not known
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        shown = repr(str(path))
        shown = shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}…"
        raise UsageError(
            f"{key}: the path {shown} cannot be used ({reason})", where=str(recipe), hint="correct the path"
        ) from None
    return absolute


def _matching(pattern: str, recipe: Path) -> list[str]:
    """The files that a pattern matches, absolute, as patterns that match nothing else; `MissingError` for none.

    Only the pattern itself has wildcards: brackets in the name of the recipe's folder are taken as they are.
    """
    if "\0" in pattern:
        raise UsageError(f"data.questions: {pattern!r} has a NUL in it", where=str(recipe), hint="correct the pattern")
    absolute = pattern if Path(pattern).is_absolute() else f"{glob.escape(str(recipe.absolute().parent))}/{pattern}"
    found = sorted(name for name in glob.glob(absolute, recursive=True) if Path(name).is_file())  # noqa: PTH207
    if not found:
        raise MissingError(
            f"data.questions: no file matches '{pattern}'",
            where=str(recipe),
            hint="correct the pattern, or leave it out; in a pattern [[] stands for a bracket",
        )
    return [glob.escape(str(Path(name).resolve())) for name in found]


def _resolve_base(base: BaseChoice, recipe: Path) -> BaseChoice:
    """Names of files and folders that are there made absolute; catalogue names and hub ids as they are."""
    return base.model_copy(update={name: _resolve_model(value, recipe, f"base.{name}") for name, value in base})


def _resolve_speech(speech: Speech, recipe: Path) -> Speech:
    """Folders of recognisers made absolute, and there."""
    choices = []
    for place, one in enumerate(speech.recognisers):
        folder = one.folder and _there(one.folder, recipe, f"speech.recognisers[{place}].folder", "folder")
        choices.append(one.model_copy(update={"folder": folder}))
    return speech.model_copy(update={"recognisers": tuple(choices)})


def _resolve_model(name: str | None, recipe: Path, key: str) -> str | None:
    if name is None or name in CATALOGUE:
        return name
    path = _absolute(Path(name), recipe, key)
    return str(path) if path.exists() else name


def _resolve(data: Data, recipe: Path) -> Data:
    """Paths made absolute, and there."""

    def there(path: Path, key: str, kind: Literal["file", "folder", "articles"]) -> Path:
        return _there(path, recipe, f"data.{key}", kind)

    def each(key: str, table: dict[str, Path], kind: Literal["file", "articles"]) -> dict[str, Path]:
        return {lang: there(path, f"{key}.{lang}", kind) for lang, path in table.items()}

    update: dict[str, Any] = {
        "articles": each("articles", data.articles, "articles"),
        "house_rules": each("house_rules", data.house_rules, "file"),
        "policy": each("policy", data.policy, "file"),
        "transcripts": tuple(
            t.model_copy(update={"path": there(t.path, f"transcripts[{place}].path", "file")})
            for place, t in enumerate(data.transcripts)
        ),
        "questions": tuple(dict.fromkeys(name for pattern in data.questions for name in _matching(pattern, recipe))),
    }
    if data.simulate:
        folders = tuple(there(folder, "simulate.folders", "folder") for folder in data.simulate.folders)
        update["simulate"] = data.simulate.model_copy(update={"folders": folders})
    if data.replay:
        update["replay"] = there(data.replay, "replay", "file")
    if data.feedback:
        update["feedback"] = there(data.feedback, "feedback", "folder")
    if data.faq:
        update["faq"] = Faq(folder=there(data.faq.folder, "faq.folder", "folder"))
    return data.model_copy(update=update)
