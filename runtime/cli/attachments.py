"""What a command reads from an attachment before it asks, shown on stderr first."""

from __future__ import annotations

from pathlib import Path

from runtime.bundle.generations import current_bundle
from runtime.cli.output import talk
from runtime.desk.policy import personal_rules
from runtime.perception.attachment import read_attachment
from runtime.perception.attachment_text import AttachmentText
from runtime.perception.perceive import perceive


def read_for_question(path: Path, home: Path) -> AttachmentText:
    """What a file says, by the rules of the home's bundle; its lines and entities are shown."""
    attachment = read_attachment(path)
    rules = personal_rules(current_bundle(home))
    talk(f"reading {attachment.name}")
    read = perceive(attachment, rules)
    talk("what it says goes with the question:")
    for line in read.lines:
        talk(f"  {line.text}")
    for one in read.entities:
        talk(f"{one.kind.replace('_', ' ')}: {one.value}")
    if read.cut:
        talk("There is more in it; this is what was read.")
    return read
