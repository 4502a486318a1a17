"""`edgedesk init`: a recipe, house rules and a policy for a folder of articles, in one step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runtime.cli.output import out as print_line
from runtime.cli.output import out_json

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: edgedesk init articles --out shop; edgedesk build shop/recipe.toml")
def init(
    folder: Annotated[Path, typer.Argument(help="Articles: Markdown, text, HTML, DOCX or PDF, in folders or not.")],
    out: Annotated[Path, typer.Option(help="Folder to write into; what is there already stays.")] = Path(),
    name: Annotated[str, typer.Option(help="The bundle's name; default: the folder's.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a recipe, house rules and policies for a folder of articles, and propose questions for review.

    The recipe builds as it is, without transcripts: its records are questions that rules make of the articles.
    """
    from distill.data.new_company import write_company
    from runtime.base.progress import say

    made = write_company(folder, out, name=name)
    if as_json:
        out_json(made.model_dump(mode="json"))
        return
    for lang, count in made.articles.items():
        say(f"{lang}: {count} articles, {made.sections[lang]} sections, {made.questions.get(lang, 0)} questions")
    for path in made.files:
        print_line(str(path))
    say(f"read {made.files[-1]} through, then: edgedesk build {made.files[0]}")
