"""From an attachment to its text, whatever was attached."""

from __future__ import annotations

from runtime.errors import InputError
from runtime.perception.attachment import Attachment
from runtime.perception.attachment_text import AttachmentText
from runtime.perception.bounded_child import ChildHandle
from runtime.perception.picture_reader import read_picture
from runtime.text.personal_data import NO_RULES, PersonalRules


def perceive(
    attachment: Attachment, rules: PersonalRules = NO_RULES, *, threads: int = 2, child: ChildHandle | None = None
) -> AttachmentText:
    """What an attachment says; `rules` are the company's, by which entities are found. `child` ends the reading.

    `InputError` where it cannot be read or says nothing, `MissingError` without the extra `perception`.
    """
    if attachment.kind != "picture":
        raise InputError("a recording, not a picture", where=attachment.name, hint="send a photograph or a PDF")
    read = read_picture(attachment, rules, threads=threads, child=child)
    if not read.lines:
        raise InputError(
            "no text was found in it", where=attachment.name, hint="take the picture nearer and in better light"
        )
    return read
