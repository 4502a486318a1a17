"""Files that may be attached: what an agent means by a path, and what lies in a folder.

Promises: no file is opened, only listed; a folder of any size costs a bounded look. Knows nothing of pictures.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runtime.base.files import expand_user

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".heic", ".heif", ".pdf"})
MAX_LOOKED_AT = 2000
MAX_LISTED = 50
_MAX_PATH_CHARS = 4096


def as_picture_path(text: str) -> Path | None:
    r"""The picture's file that a text names, as terminals write it when one is dropped into them; None for any other.

    `'/tmp/a b.jpg'`, `/tmp/a\ b.jpg`, `file:///tmp/a%20b.jpg` and `~/a b.jpg` all name one.
    """
    text = text.strip()
    if not text or len(text) > _MAX_PATH_CHARS or "\n" in text or "\0" in text:
        return None
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    if quoted:
        text = text[1:-1]
    elif text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    else:
        text = text.replace("\\ ", " ")
    path = Path(text)
    if path.suffix.casefold() not in SUFFIXES or not (path.is_absolute() or text.startswith(("~", "./", "../"))):
        return None
    path = expand_user(path)
    try:
        return path if path.is_file() else None
    except OSError:
        return None


def list_pictures(typed: str) -> list[Path]:
    """Pictures that a typed path may become, newest first: those of its folder whose names hold its last part.

    Without a folder those of the current one and of the user's Downloads and Pictures.
    """
    if (exact := as_picture_path(typed)) is not None:
        return [exact]
    folder, _, part = typed.strip().rpartition("/")
    if "/" in typed:
        folders = [expand_user(Path(folder or "/"))]
    else:
        folders = [Path(), *(Path.home() / name for name in ("Downloads", "Pictures", "下载", "图片"))]
    found: list[tuple[float, Path]] = []
    for one in folders:
        try:
            with os.scandir(one) as entries:
                found += [
                    (entry.stat().st_mtime, Path(entry.path))
                    for entry in islice(entries, MAX_LOOKED_AT)
                    if Path(entry.name).suffix.casefold() in SUFFIXES and part.casefold() in entry.name.casefold()
                ]
        except (OSError, RuntimeError, ValueError):
            continue
    return [path for _, path in sorted(found, reverse=True)[:MAX_LISTED]]
