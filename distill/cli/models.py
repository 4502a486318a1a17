"""`edgedesk models`: which base models there are, and fetching one."""

from __future__ import annotations

from typing import Annotated

import typer

from runtime.cli.output import out, out_json

app = typer.Typer(no_args_is_help=True, help="List and fetch base models.", epilog="Example: edgedesk models list")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list", epilog="Example: edgedesk models list --json")
def list_models(as_json: AsJson = False) -> None:
    """List the catalogue; any path or hub id will do besides."""
    from distill.models.catalogue import CATALOGUE
    from runtime.base.user_cache import cache_folder

    rows = [
        {
            "name": name,
            "from": model.requirement,
            "mb": round(model.bytes / 1e6),
            "licence": model.licence,
            "fetched": (cache_folder() / "models" / name).is_dir(),
            "about": model.about,
        }
        for name, model in CATALOGUE.items()
    ]
    if as_json:
        out_json(rows)
        return
    for row in rows:
        out(f"{row['name']}  {row['mb']} MB  {row['licence']}  {'fetched' if row['fetched'] else 'not fetched'}")
        out(f"    {row['about']} (out of {row['from']})")


@app.command("fetch", epilog="Example: edgedesk models fetch smollm2-135m-instruct")
def fetch_model(
    name: Annotated[str, typer.Argument(help="Catalogue name, path, or hub id (owner/model).")], as_json: AsJson = False
) -> None:
    """Fetch a base model into the cache and check it."""
    from distill.compute.device import go_offline

    go_offline()
    from distill.models.catalogue import CATALOGUE, fetch_model, open_base
    from runtime.base.progress import say

    embedder = name in CATALOGUE and not CATALOGUE[name].member.endswith(".gguf")
    path = fetch_model(name, say) if embedder else open_base(name, say).checkpoint
    if as_json:
        out_json({"name": name, "path": str(path)})
    else:
        out(str(path))
