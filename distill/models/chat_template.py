"""What a checkpoint's chat template writes around messages, as plain strings.

Promises: a template that does more than frame messages is refused, and so is one that writes something else each time.
A template that asks for today's date is given `TEMPLATE_DATE`, whatever the day of the build: the pieces go into every
prompt of a branch, and two builds of one recipe are equal. Knows nothing of how text is cut into tokens.
"""

from __future__ import annotations

from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Any

from distill.models.gguf_import import read_metadata
from runtime.base.files import read_text
from runtime.errors import ModelError
from runtime.prompting.prompt_spec import ChatPieces

_SYSTEM, _USER, _ASSISTANT, _AGAIN = "\u2402SYS\u2403", "\u2402USR\u2403", "\u2402AST\u2403", "\u2402AGN\u2403"
"""Marks that no chat template contains, to find where it puts each message."""
TEMPLATE_DATE = date(2024, 7, 26)
"""What `strftime_now` writes in a template: the date that Llama 3's templates fall back to where there is no clock."""


def chat_pieces(checkpoint: Path, template: Path | None = None) -> ChatPieces:
    """Read off the checkpoint's chat template, or another in its place, what it writes around each message.

    The template runs here, once, at head office, in transformers' sandbox; a branch gets plain strings and runs none.
    `ModelError` when the template is missing, refuses a system text, or does not keep messages apart.
    """
    from transformers import AutoTokenizer  # takes seconds to load, and most commands never read a template

    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    if template is not None:
        tokenizer.chat_template = read_text(template)
    pieces = _pieces(tokenizer, str(checkpoint))
    return _without_spaces(pieces) if prepends_space(tokenizer.backend_tokenizer) else pieces


def gguf_pieces(gguf: Path, template: Path | None = None) -> ChatPieces:
    """The same of the template that a GGUF carries, or of another in its place."""
    # transformers takes seconds to load, and most commands never read a template.
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    metadata = read_metadata(gguf)
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    named = {role: metadata.get(f"tokenizer.ggml.{role}_token_id") for role in ("bos", "eos")}
    special = {f"{role}_token": tokens[number] for role, number in named.items() if number is not None}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({}, "")), **special)
    tokenizer.chat_template = metadata.get("tokenizer.chat_template") if template is None else read_text(template)
    pieces = _pieces(tokenizer, str(gguf))
    return _without_spaces(pieces) if metadata.get("tokenizer.ggml.model") == "llama" else pieces


def check_template(template: Path) -> None:
    """`ModelError` for a template that fails, or writes something else each time, whatever model it is used with."""
    # transformers takes seconds to load, and most commands never read a template.
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    special = {f"{role}_token": f"<{role}>" for role in ("bos", "eos", "pad")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({}, "")), **special)
    tokenizer.chat_template = read_text(template)
    _rendered(tokenizer, str(template))


def _pieces(tokenizer: Any, where: str) -> ChatPieces:
    return split_pieces(_rendered(tokenizer, where), tokenizer.eos_token, where)


def _rendered(tokenizer: Any, where: str) -> str:
    """What the template writes of a conversation of marks."""
    if not tokenizer.chat_template:
        raise ModelError(
            "no chat template", where=where, hint="use an instruction-tuned model, or give prompt.template"
        )
    messages = [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": _USER},
        {"role": "assistant", "content": _ASSISTANT},
        {"role": "user", "content": _AGAIN},
    ]
    try:
        texts = {
            tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, strftime_now=TEMPLATE_DATE.strftime
            )
            for _ in range(2)
        }
    except Exception as error:  # a template is a program, and fails in as many ways
        raise ModelError(f"the chat template fails: {error}", where=where, hint="pick another model") from error
    if len(texts) > 1:
        raise ModelError(
            "the chat template writes something else each time", where=where, hint="give another: prompt.template"
        )
    text: str = texts.pop()
    return text


def prepends_space(tokenizer: Any) -> bool:
    """Whether a `tokenizers.Tokenizer` puts a space before every text, as SentencePiece's do."""
    first: str = tokenizer.encode("a", add_special_tokens=False).tokens[0]
    return first.startswith("\u2581")


def split_pieces(rendered: str, eos: str | None, where: str) -> ChatPieces:
    """Cut a rendered system-user-assistant-user conversation at its marks into chat pieces (pure)."""
    marks = (_SYSTEM, _USER, _ASSISTANT, _AGAIN)
    if any(rendered.count(mark) != 1 for mark in marks):
        raise ModelError("the chat template does not write every message once", where=where, hint="pick another model")
    before, rest = rendered.split(_SYSTEM)
    system_to_user, rest = rest.split(_USER)
    user_to_assistant, rest = rest.split(_ASSISTANT)
    assistant_to_user, last = rest.split(_AGAIN)
    # `last` is what follows a question up to the answer; the user's closing and the assistant's opening meet in it.
    # Where exactly one ends is free: the two are always written together except before the next question.
    close = _closing(assistant_to_user, last, eos)
    if not close and eos and eos in assistant_to_user and user_to_assistant.rstrip(" ") == last:
        # Question and answer share nothing: each keeps its frame whole, the next question's opening with the answer's
        # end (Llama 2: `<s>[INST] … [/INST] … </s><s>[INST] … [/INST]`). An answer is written without its first space.
        return ChatPieces(
            system_open=before,
            system_close=system_to_user,
            user_open="",
            user_close=last,
            assistant_open="",
            assistant_close=assistant_to_user,
            stop=(eos,),
        )
    if not close:
        raise ModelError("the chat template does not mark where a message ends", where=where, hint="pick another model")
    user_open = assistant_to_user[len(close) :]
    if not system_to_user.endswith(user_open) or user_to_assistant != last:
        raise ModelError(
            "the chat template depends on the turn number, which is not supported",
            where=where,
            hint="pick another model",
        )
    stop = eos if eos and eos in close else close.strip()
    return ChatPieces(
        system_open=before,
        system_close=system_to_user[: len(system_to_user) - len(user_open)],
        user_open=user_open,
        user_close=close,
        assistant_open=last[len(close) :],
        assistant_close=close,
        stop=(stop,),
    )


def _without_spaces(pieces: ChatPieces) -> ChatPieces:
    """Pieces for a tokenizer that puts a space before every text itself: none of their own where texts meet."""
    return pieces.model_copy(update={name: text.strip(" ") for name, text in pieces if isinstance(text, str)})


def _closing(left: str, right: str, eos: str | None) -> str:
    """The common start up to the end token and the line end behind it, or, without one, up to the last line end.

    What follows may be common too, but belongs to the next message: `<|start_header_id|>` of Llama 3.
    """
    text = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))
    if eos and eos in text:
        end = text.index(eos) + len(eos)
        return text.removesuffix(text[end:].lstrip("\n"))
    cut = max(text.rfind(">\n") + 2 if ">\n" in text else 0, text.rfind("]\n") + 2 if "]\n" in text else 0)
    return text[:cut]
