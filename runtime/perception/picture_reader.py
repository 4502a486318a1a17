"""Reads the text of a picture: the caller's side, which starts a child, orders what it found and offers entities.

Promises: at most `MEMORY_MIB` of memory and `WALL_S` of time, given back when the child (`picture_child`) ends. Knows
nothing of desk and journal.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from runtime.perception.attachment import Attachment
from runtime.perception.attachment_text import AttachmentText, bounded_lines
from runtime.perception.bounded_child import ChildHandle, ChildLimits, need_extra, run_bounded
from runtime.perception.entities import offer_entities
from runtime.perception.picture_child import MAX_PIECES, Pieces
from runtime.perception.reading_order import Found, in_reading_order
from runtime.text.personal_data import NO_RULES, PersonalRules

PICTURE_MODULES = ("rapidocr", "PIL", "pypdfium2")
MEMORY_MIB = 600
WALL_S = 60.0
"""Far above any receipt; a page that takes longer is made to."""


def read_picture(
    attachment: Attachment, rules: PersonalRules = NO_RULES, *, threads: int = 2, child: ChildHandle | None = None
) -> AttachmentText:
    """What stands in a picture; `child` ends the reading.

    `InputError` for one that cannot be read, `MissingError` without the extra.
    """
    need_extra(*PICTURE_MODULES, what="reading pictures")
    began = time.monotonic()
    limits = ChildLimits(wall_s=WALL_S, memory_mib=MEMORY_MIB, threads=threads)
    request = {"format": attachment.format, "threads": threads}
    said = run_bounded(
        "runtime.perception.picture_child", request, attachment.data, limits, where=attachment.name, handle=child
    )
    read = assemble(said["pages"], rules, all_pages=said["all_pages"])
    return read.model_copy(update={"seconds": round(time.monotonic() - began, 2)})


def assemble(pages: Sequence[Pieces], rules: PersonalRules, *, all_pages: int = 1) -> AttachmentText:
    """What was recognised, in reading order and with the entities offered; `all_pages` also counts unread ones."""
    lines = []
    for number, page in enumerate(pages, start=1):
        found = [Found(text, score, tuple((x, y) for x, y in corners)) for text, score, corners in page]
        lines += in_reading_order(found, number)
    kept, cut = bounded_lines(lines)
    return AttachmentText(
        kind="picture",
        lines=kept,
        entities=tuple(offer_entities([line.text for line in kept], rules)),
        pages=all_pages,
        cut=cut or all_pages > len(pages) or any(len(page) >= MAX_PIECES for page in pages),
    )
