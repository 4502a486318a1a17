"""Keys of a recipe's `[[data.transcripts]]`: where a company's export keeps what, and who its authors are.

Knows nothing of how files are read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Form = Literal["auto", "csv", "tsv", "json", "jsonl", "xlsx", "parquet", "taubench"]
PresetName = Literal["", "zendesk", "intercom", "freshdesk", "zammad", "chatwoot", "openai", "sharegpt"]


def check_language(code: str) -> str:
    """The code itself; `ValueError` unless it is two small letters, the form that articles and records have."""
    if re.fullmatch(r"[a-z]{2}", code):
        return code
    near = re.match(r"[A-Za-z]{2}(?![A-Za-z])", code)
    hint = f'write "{near[0].lower()}"' if near else 'write "en" or "zh"'
    raise ValueError(f"language '{code}' is not a two-letter code in small letters; {hint}")


Language = Annotated[str, AfterValidator(check_language)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(_Table):
    """Names of an export's columns, without regard to case; of nested JSON the path, such as `author.role`."""

    conversation: str = ""
    customer: str = ""
    """Where rows have no conversation: who wrote, so that a pause parts conversations."""
    role: str = ""
    content: str = ""
    time: str = ""
    private: str = ""
    """A column that is true on notes which the customer never sees."""
    public: str = ""
    """A column that is false on them."""
    lang: str = ""
    intent: str = ""
    emotion: str = ""
    evidence: str = ""


class Roles(_Table):
    """What the role column may hold, without regard to case, besides what is known already."""

    user: tuple[str, ...] = ()
    assistant: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    """Authors whose messages are left out and counted: bots, systems."""


class Transcripts(_Table):
    """A file of real conversations."""

    path: Path
    form: Form = "auto"
    lang: Annotated[str, AfterValidator(lambda code: code and check_language(code))] = ""
    encoding: str = ""
    """Of a text file; none = told from its bytes."""
    preset: PresetName = ""
    """The export of a help desk whose columns and authors are known."""
    messages: str = ""
    """Of nested JSON: the path of the list that holds a conversation's messages."""
    sheet: str = ""
    """Of a workbook; none = the first with rows."""
    columns: Columns = Columns()
    roles: Roles = Roles()
    pause_minutes: float = Field(default=240.0, gt=0)
    """A longer pause of one customer begins a new conversation, where rows have no conversation of their own."""
