"""A stranger's picture or PDF as upright pages of pixels, bounded before anything is decoded.

Promises: a decoder is opened for the one format that the first bytes name; pages and pixels are counted before they
are decoded; what a file says beside its pixels (EXIF, text chunks, the hidden text of a PDF) is not read, but for the
turn of the camera; a page is given as RGB, its longer side at most `MAX_SIDE`, of a long receipt `MAX_LONG_SIDE`.
Runs in `runtime.perception.picture_child`. Knows nothing of text.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from runtime.errors import InputError, MissingError

if TYPE_CHECKING:
    import pypdfium2
    from PIL import Image

MAX_PIXELS = 50_000_000
"""What the largest cameras of phones take; 150 MB as RGB."""
MAX_PAGES = 4
"""Of a PDF; the rest is left out, and said so."""
MAX_SIDE = 2000
"""Pixels. A4 at 170 dots an inch, at which letters of 6 points are still read."""
MAX_LONG_SIDE = 2 * MAX_SIDE
"""Of a page that is much longer than wide."""
_PAGE_PIXELS = MAX_SIDE * 1400
_PILLOW_FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "heic": "HEIF"}
_ORIENTATION = 0x0112
_DAMAGED = "save it again with another program, or take it again"


def decode_pages(data: bytes, format_: str) -> Iterator[Image.Image]:
    """The pages of a picture (one) or a PDF (at most `MAX_PAGES`); `InputError` for what cannot be decoded."""
    warnings.simplefilter("ignore")  # decoders warn of what they then refuse
    if format_ == "pdf":
        yield from _pdf_pages(data)
    else:
        yield _picture(data, format_)


def count_pages(data: bytes, format_: str) -> int:
    """How many pages there are, also beyond `MAX_PAGES`."""
    if format_ != "pdf":
        return 1
    document = _open_pdf(data)
    try:
        return len(document)
    finally:
        document.close()


def _picture(data: bytes, format_: str) -> Image.Image:
    from PIL import Image  # the extra `perception`, loaded in the child alone

    if format_ == "heic":
        try:
            import pi_heif
        except ImportError:
            raise MissingError("HEIC pictures need pi-heif", hint="pip install pi-heif, or send a JPEG") from None
        pi_heif.register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None  # counted here, with words of our own
    try:
        with Image.open(io.BytesIO(data), formats=[_PILLOW_FORMATS[format_]]) as picture:
            width, height = picture.size
            _check_pixels(width, height)
            turn = _turn(picture)
            # A JPEG is decoded at a half, a quarter or an eighth of its size, which its transform gives for nothing, as
            # long as that is no smaller than what is asked of it here.
            picture.draft("RGB", _smaller_size(width, height))
            picture.load()
            page = _flat(_smaller(picture))
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders raise what they like
        raise InputError(f"the {format_.upper()} is cut short or damaged ({_reason(error)})", hint=_DAMAGED) from None
    return page if turn is None else page.transpose(turn)


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{width:,} × {height:,} pixels are more than the {MAX_PIXELS // 1_000_000} million allowed",
            hint="send a smaller picture",
        )


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """How the camera was held; damaged EXIF says nothing."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    with suppress(Exception):
        return turns.get(picture.getexif().get(_ORIENTATION, 1))
    return None


def _scale(width: float, height: float) -> float:
    """What brings a page within bounds. A long receipt keeps the pixels of a page, or its letters were too small."""
    longer = max(width, height, 1)
    as_many = math.sqrt(_PAGE_PIXELS / max(width * height, 1))
    return min(MAX_LONG_SIDE / longer, max(MAX_SIDE / longer, as_many))


def _smaller_size(width: int, height: int) -> tuple[int, int]:
    """The size of a page within bounds, in pixels."""
    scale = min(1.0, _scale(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _smaller(picture: Image.Image) -> Image.Image:
    """The picture with its longer side within bounds, made small before it is made RGB, which takes memory."""
    from PIL.Image import Resampling

    size = _smaller_size(*picture.size)
    if size == picture.size:
        return picture
    if picture.mode in ("1", "P"):
        picture = picture.convert("L" if picture.mode == "1" else "RGBA")
    return picture.resize(size, Resampling.BILINEAR if picture.mode.startswith("I") else Resampling.LANCZOS)


def _flat(picture: Image.Image) -> Image.Image:
    """RGB, on white where it is transparent; 16 bits of grey as 8."""
    from PIL import Image

    if picture.mode.startswith("I"):
        return picture.convert("I").point(lambda value: value / 257).convert("L").convert("RGB")
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        over = picture.convert("RGBA")
        page = Image.new("RGB", over.size, "white")
        page.paste(over, mask=over.getchannel("A"))
        return page
    return picture.convert("RGB")


def _open_pdf(data: bytes) -> pypdfium2.PdfDocument:
    import pypdfium2

    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).casefold():
            raise InputError("the PDF asks for a password", hint="save it without one") from None
        raise InputError(f"the PDF is cut short or damaged ({_reason(error)})", hint=_DAMAGED) from None


def _pdf_pages(data: bytes) -> Iterator[Image.Image]:
    """Pages as they are seen. Text of a PDF that nobody sees could say what nobody reads."""
    document = _open_pdf(data)
    try:
        for number in range(min(len(document), MAX_PAGES)):
            try:
                page = document[number]
                width, height = page.get_size()
                yield page.render(scale=_scale(width, height), may_draw_forms=False).to_pil().convert("RGB")
            except MemoryError:
                raise
            except Exception as error:
                raise InputError(
                    f"page {number + 1} of the PDF cannot be drawn ({_reason(error)})", hint=_DAMAGED
                ) from None
    finally:
        document.close()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:80] or type(error).__name__
