"""What a recipe gets wrong, found before any work: its keys against its files and against the models it names.

`edgedesk build --dry-run` runs it and stops; a build runs it first. A model that is not on this machine yet is not
fetched for it: a build checks that one as soon as it is there, before its first stage. Promises: every refusal names
the key. Knows nothing of formats: what quantize can write is checked by a function that comes from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distill.models.catalogue import CATALOGUE, cached_base
from distill.models.chat_template import chat_pieces
from distill.models.gguf_import import read_metadata
from distill.models.openai_endpoint import is_endpoint
from distill.models.shape import DecoderShape, checkpoint_shape, gguf_shape
from distill.packing.packing import closing_tokens
from distill.recipe.recipe import Quantize, Recipe
from runtime.desk.policy import read_policy
from runtime.errors import EdgedeskError, MissingError, UsageError
from runtime.prompting.json_tokenizer import JsonTokenizer

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
    """That the template of the model that is released frames messages and ends replies; only of a checkpoint here."""
    folder = cached_base(name)
    if folder is None or not folder.is_dir():
        return
    template = recipe.prompt.template
    try:
        closing_tokens(chat_pieces(folder, template), JsonTokenizer(folder))
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
