"""Reads the text of a picture: the caller's side, and the child that decodes and recognises.

    read_picture   starts the child, orders what it found, offers entities
    work           in the child: pages -> detection and recognition (RapidOCR with PP-OCRv6) -> boxes with text

Promises: at most `LIMITS` of memory and time, given back when the child ends; a page that lies on its side or on its
head is turned; nothing is fetched, sent or written. Knows nothing of desk and journal.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import InputError
from runtime.perception.attachment import Attachment
from runtime.perception.attachment_text import MAX_LINES, AttachmentText, bounded_lines
from runtime.perception.bounded_child import ChildHandle, ChildLimits, child_main, need_extra, run_bounded
from runtime.perception.entities import offer_entities
from runtime.perception.picture_decoding import MAX_LONG_SIDE, count_pages, decode_pages
from runtime.perception.reading_order import Found, in_reading_order
from runtime.text.personal_data import NO_RULES, PersonalRules

if TYPE_CHECKING:
    from PIL import Image
    from rapidocr import RapidOCR

MEMORY_MIB = 600
WALL_S = 60.0
"""Far above any receipt; a page that takes longer is made to."""
_DETECTED_PIXELS = 960 * 720
"""Of a page when text is looked for, which is what takes the memory; it is read from the whole page."""
_STEP = 160
"""Pages whose longer side differs by less share a recogniser."""
_UNSURE = 0.75
"""A page that is read with less confidence than this may be upside down."""
Pieces = list[tuple[str, float, list[list[float]]]]
"""(text, score, four corners) of each piece of a page."""


def read_picture(
    attachment: Attachment, rules: PersonalRules = NO_RULES, *, threads: int = 2, child: ChildHandle | None = None
) -> AttachmentText:
    """What stands in a picture; `child` ends the reading.

    `InputError` for one that cannot be read, `MissingError` without the extra.
    """
    need_extra("rapidocr", "PIL", "pypdfium2", what="reading pictures")
    began = time.monotonic()
    limits = ChildLimits(wall_s=WALL_S, memory_mib=MEMORY_MIB, threads=threads)
    request = {"format": attachment.format, "threads": threads}
    said = run_bounded(
        "runtime.perception.picture_reader", request, attachment.data, limits, where=attachment.name, handle=child
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
        cut=cut or all_pages > len(pages) or any(len(page) >= MAX_LINES for page in pages),
    )


def work(request: dict[str, Any], data: bytes) -> dict[str, Any]:
    """In the child: the pieces of text of each page."""
    pages = list(decode_pages(data, request["format"]))
    reader = PageReader(int(request["threads"]))
    return {"pages": [reader.read(page) for page in pages], "all_pages": count_pages(data, request["format"])}


class PageReader:
    """The recogniser, loaded once for each shape of page."""

    def __init__(self, threads: int) -> None:
        import cv2

        logging.disable(logging.CRITICAL)
        cv2.setNumThreads(threads)
        self._threads = threads
        self._engines: dict[int, RapidOCR] = {}

    def read(self, page: Image.Image) -> Pieces:
        """The pieces of an RGB page, turned by a quarter or a half where it is read better that way."""
        best = self._recognise(page)
        if not best:
            return best
        if sum(_is_upright_box(corners) for _, _, corners in best) > len(best) / 2:
            turned = [self._recognise(page.rotate(degrees, expand=True)) for degrees in (90, 270)]
        elif _confidence(best) < _UNSURE:
            turned = [self._recognise(page.rotate(180))]
        else:
            return best
        return max([best, *turned], key=lambda pieces: sum(score * len(text) for text, score, _ in pieces))

    def _engine(self, page: Image.Image) -> RapidOCR:
        import rapidocr

        # A long receipt is looked at in more pixels along its length, and in no more altogether.
        side = math.ceil(math.sqrt(_DETECTED_PIXELS * max(page.size) / min(page.size)) / _STEP) * _STEP
        side = min(side, MAX_LONG_SIDE)
        models = Path(rapidocr.__file__).parent / "models"
        if side not in self._engines:
            self._engines[side] = rapidocr.RapidOCR(
                params={
                    # Named files are opened as they are; without a name RapidOCR would fetch what is missing.
                    "Det.model_path": str(models / "PP-OCRv6_det_small.onnx"),
                    "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
                    "Global.use_cls": False,  # pages are turned whole: half a receipt on its head is none
                    "Global.max_side_len": MAX_LONG_SIDE,  # decode_pages has made it small
                    "Det.limit_type": "max",
                    "Det.limit_side_len": side,
                    "Det.max_candidates": MAX_LINES,
                    "EngineConfig.onnxruntime.intra_op_num_threads": self._threads,
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                }
            )
        return self._engines[side]

    def _recognise(self, page: Image.Image) -> Pieces:
        import numpy as np

        try:
            found = self._engine(page)(np.asarray(page)[:, :, ::-1])  # the models were trained on BGR
        except MemoryError:
            raise
        except Exception as error:
            if "alloc" in str(error).casefold():  # onnxruntime's and OpenCV's words for it
                raise MemoryError from None
            raise InputError("the text in it cannot be recognised", hint="take the picture again, nearer") from None
        if found.boxes is None or found.txts is None or found.scores is None:
            return []
        return [
            (str(text), float(score), [[float(x), float(y)] for x, y in box])
            for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        ]


def _is_upright_box(corners: list[list[float]]) -> bool:
    """Whether a box is much higher than wide, as a line of text on its side is."""
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return max(ys) - min(ys) > 1.5 * (max(xs) - min(xs))


def _confidence(pieces: Pieces) -> float:
    return sum(score * len(text) for text, score, _ in pieces) / max(1, sum(len(text) for text, _, _ in pieces))


if __name__ == "__main__":
    child_main(work)
