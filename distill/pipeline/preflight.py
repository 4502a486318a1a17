"""What a recipe gets wrong, found before any work: its keys against its files and against the models it names.

`edgedesk build --dry-run` runs it and stops; a build runs it first. A model that is not on this machine yet is not
fetched for it: a build checks that one as soon as it is there, before its first stage. Promises: every refusal names
the key. Knows nothing of formats: what quantize can write is checked by a function that comes from there.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distill.data.dataset import GeneralConversation
from distill.data.importers.documents import read_documents
from distill.data.simulation_templates import check_slots, load_cases, load_templates
from distill.models.catalogue import CATALOGUE, cached_base
from distill.models.chat_template import chat_pieces, check_template, gguf_pieces
from distill.models.gguf_import import read_metadata
from distill.models.openai_endpoint import is_endpoint
from distill.models.shape import DecoderShape, checkpoint_shape, gguf_shape
from distill.packing.packing import closing_tokens
from distill.pipeline.speech_folder import check_speech
from distill.recipe.recipe import Data, Quantize, Recipe
from runtime.base.jsonl import read_rows
from runtime.desk.policy import read_policy
from runtime.errors import EdgedeskError, MissingError, UsageError
from runtime.feedback.import_exports import CORRECTIONS, RECORDS
from runtime.feedback.learning import Correction
from runtime.prompting.json_tokenizer import JsonTokenizer
from runtime.text.records import Question, Record

CheckFormats = Callable[[Quantize], None]
"""`UsageError` naming the key for formats that quantize does not make."""
CheckColumns = Callable[[int], None]
"""`UsageError` for a width, in columns, that the formats cannot store."""


@dataclass(frozen=True)
class FormatChecks:
    """What quantize knows of its formats, as the front door hands it over."""

    formats: CheckFormats
    columns: CheckColumns


def check_recipe(recipe: Recipe, *, base: str | None, checks: FormatChecks) -> list[str]:
    """`EdgedeskError` whose `where` is the key that is wrong; returns the models that were not looked at.

    `base` takes the place of the recipe's own base model.
    """
    checks.formats(recipe.quantize)
    check_languages(recipe)
    _check_data(recipe.data)
    if recipe.speech:
        check_speech(recipe.speech)
    embedder = recipe.base.embedder
    if embedder not in CATALOGUE and not Path(embedder).exists():
        hint = f"give a folder, or one of {', '.join(name for name in CATALOGUE if not _is_decoder(name))}"
        raise MissingError(f"no embedder '{embedder}'", where="base.embedder", hint=hint)
    teacher, student = base or recipe.base.model, recipe.student.model
    # A server or GGUF that teaches another checkpoint is never cut or tuned itself: its shape does not matter.
    shapes = {
        name: _local_shape(name, key) for key, name in (("base.model", teacher), ("student.model", student)) if name
    }
    check_shapes(recipe, shapes[teacher], shapes[student] if student else None, checks.columns)
    _check_template(recipe, student or teacher, "student.model" if student else "base.model")
    return [name for name, shape in shapes.items() if shape is None and not is_endpoint(name)]


def check_languages(recipe: Recipe) -> None:
    """`EdgedeskError` for a language the model is to write without house rules or policy, or for a policy in error."""
    for key, table in (("house_rules", recipe.data.house_rules), ("policy", recipe.data.policy)):
        if missing := [lang for lang in recipe.languages if lang not in table]:
            raise UsageError(
                f"nothing for language '{missing[0]}', which the model is to write",
                where=f"data.{key}",
                hint=f'add {missing[0]} = "…", or take it out of languages',
            )
    for path in recipe.data.policy.values():
        read_policy(path)


def _check_data(data: Data) -> None:
    """That what the build reads later can be read: articles, scenes, questions, and how a file of replay begins."""
    for lang, source in data.articles.items():
        with _of_key(f"data.articles.{lang}"):
            read_documents(source, lang=lang, warn=lambda _: None)  # the stage warns
    for folder in data.simulate.folders if data.simulate else ():
        with _of_key("data.simulate.folders"):
            check_slots(folder, load_templates(folder)[0], load_cases(folder / "cases"))
    for pattern in data.questions:
        for name in sorted(glob.glob(pattern)):  # noqa: PTH207 - an absolute pattern
            with _of_key("data.questions"):
                for _ in read_rows(Question, Path(name)):
                    pass
    if data.feedback:
        with _of_key("data.feedback"):
            for name, model in ((RECORDS, Record), (CORRECTIONS, Correction)):
                if not (path := data.feedback / name).is_file():
                    raise MissingError("no import", where=str(path), hint="edgedesk feedback import FILES --out FOLDER")
                for _ in read_rows(model, path) if path.stat().st_size else ():
                    pass
    if data.replay:
        with _of_key("data.replay"):
            next(read_rows(GeneralConversation, data.replay), None)  # it may have gigabytes


@contextmanager
def _of_key(key: str) -> Iterator[None]:
    """An error about a file becomes one about the key that names the file."""
    try:
        yield
    except EdgedeskError as error:
        what = f"{error.where}: {error.what}" if error.where else error.what
        raise type(error)(what, where=key, hint=error.hint) from None


def check_shapes(
    recipe: Recipe, teacher: DecoderShape | None, student: DecoderShape | None, columns: CheckColumns | None = None
) -> None:
    """`UsageError` naming the key that asks more of a model than it has; a shape that is not known is passed over."""
    if teacher is not None and recipe.student.layers is not None:
        _check_pruning(recipe, teacher, columns)
    elif recipe.student.feed_forward is not None and columns is not None:
        _check_columns(columns, "feed_forward", recipe.student.feed_forward, 1)  # needs no model to be looked at
    learns = student if recipe.student.model else teacher
    tuned = [
        ("teacher", recipe.teacher.modules if recipe.teacher else (), teacher),
        ("kd", recipe.kd.modules if recipe.kd.rank else (), learns),
        ("lora", recipe.lora.modules, learns),
    ]
    for table, modules, shape in tuned:
        for name in modules:
            if shape is not None and name not in shape.linear:
                raise UsageError(
                    f"the model has no linear layer '{name}'",
                    where=f"{table}.modules",
                    hint=f"some of {', '.join(sorted(shape.linear))}; empty = all of them",
                )


def _check_pruning(recipe: Recipe, teacher: DecoderShape, columns: CheckColumns | None) -> None:
    wanted = recipe.student
    rows = [
        ("layers", wanted.layers, 2, teacher.layers, 0),
        ("kv_heads", wanted.kv_heads, 1, teacher.kv_heads, teacher.head_size * teacher.queries),
        ("feed_forward", wanted.feed_forward, 1, teacher.feed_forward, 1),
    ]
    for key, value, least, most, width in rows:
        if value is None:
            continue
        if not least <= value <= most:
            raise UsageError(
                f"{value}, but the base model has {most}", where=f"student.{key}", hint=f"between {least} and {most}"
            )
        if columns is not None and width:
            _check_columns(columns, key, value, width)


def _check_columns(columns: CheckColumns, key: str, value: int, width: int) -> None:
    try:
        columns(value * width)
    except UsageError as error:
        raise UsageError(f"{value}: {error.what}", where=f"student.{key}", hint=error.hint) from None


def _check_template(recipe: Recipe, name: str, key: str) -> None:
    """That the template of the model that is released frames messages and ends replies.

    Of a GGUF, or a model that is not here yet, the recipe's own template is looked at, as far as that goes.
    """
    found = cached_base(name)
    template = recipe.prompt.template
    try:
        if found is not None and found.is_dir():
            closing_tokens(chat_pieces(found, template), JsonTokenizer(found))
        elif template is not None and found is not None:
            gguf_pieces(found, template)
        elif template is not None:
            check_template(template)
    except EdgedeskError as error:
        raise type(error)(error.what, where="prompt.template" if template else key, hint=error.hint) from None


def _local_shape(name: str, key: str) -> DecoderShape | None:
    if name in CATALOGUE:
        return CATALOGUE[name].shape
    path = cached_base(name)
    if path is None or is_endpoint(name):
        return None
    try:
        return checkpoint_shape(path) if path.is_dir() else gguf_shape(read_metadata(path), path)
    except EdgedeskError as error:
        raise type(error)(f"{name}: {error.what}", where=key, hint=error.hint) from None


def _is_decoder(name: str) -> bool:
    return CATALOGUE[name].member.endswith(".gguf")
