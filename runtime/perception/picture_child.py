"""The process that reads a picture: bytes on its standard input, the pieces of text of each page as JSON on its output.

    work         pages -> detection and recognition (RapidOCR with PP-OCRv6) -> boxes with text
    PageReader   the recogniser, for one page after the other

Started by `runtime.perception.picture_reader` through `bounded_child`. Promises: a picture is decoded before a
recogniser is loaded; a page that lies on its side or on its head is turned; nothing is fetched, sent or written. Loads
as little as it can, since a customer waits for its start as well: what is made of the pieces is the caller's.
"""

from __future__ import annotations

import ctypes
import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from runtime.base.onnx_session import open_session
from runtime.errors import InputError
from runtime.perception.bounded_child import child_main
from runtime.perception.picture_decoding import MAX_LONG_SIDE, count_pages, decode_pages

if TYPE_CHECKING:
    from PIL import Image
    from rapidocr import RapidOCR

MAX_PIECES = 400
"""Of a page; more are left out, and said so."""
_DETECTED_PIXELS = 960 * 720
"""Of a page when text is looked for, which is what takes the memory; it is read from the whole page."""
_STEP = 160
"""Pages whose longer side differs by less share a recogniser."""
_UNSURE = 0.75
"""A page that is read with less confidence than this may be upside down."""
_M_MMAP_THRESHOLD = -3
_MMAP_BYTES = 8 << 20
"""Blocks of this size and more go back to the system as soon as they are freed."""
_MODELS = {"Det": "PP-OCRv6_det_small.onnx", "Rec": "PP-OCRv6_rec_small.onnx"}
Pieces = list[tuple[str, float, list[list[float]]]]
"""(text, score, four corners) of each piece of a page."""


def work(request: dict[str, Any], data: bytes) -> dict[str, Any]:
    """The pieces of text of each page, and how many pages there are."""
    # glibc would keep freed blocks of up to 32 MB and fragment: 580 MB at the peak of a full page instead of 510.
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
    pages = list(decode_pages(data, request["format"]))
    reader = PageReader(int(request["threads"]))
    return {"pages": [reader.read(page) for page in pages], "all_pages": count_pages(data, request["format"])}


def missing_models() -> list[Path]:
    """Files of the recogniser that its package should have brought and has not; the package itself is there."""
    found = find_spec("rapidocr")
    assert found
    assert found.origin
    models = Path(found.origin).parent / "models"
    return [models / name for name in _MODELS.values() if not (models / name).is_file()]


class PageReader:
    """The recogniser, loaded once for each shape of page."""

    def __init__(self, threads: int) -> None:
        import cv2

        logging.disable(logging.CRITICAL)
        cv2.setNumThreads(threads)
        self._threads = threads
        self._engines: dict[int, RapidOCR] = {}
        self._sessions: dict[str, Any] = {}

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
        if side not in self._engines:
            with _without_what_fetches():
                recogniser = rapidocr.RapidOCR
            engine = recogniser(
                params={
                    "Global.use_cls": False,  # pages are turned whole: half a receipt on its head is none
                    "Global.max_side_len": MAX_LONG_SIDE,  # decode_pages has made it small
                    "Det.limit_type": "max",
                    "Det.limit_side_len": side,
                    "Det.max_candidates": MAX_PIECES,
                    # Lines read together are padded to the longest; on two cores that costs more than it spares.
                    "Rec.rec_batch_num": 1,
                }
            )
            self._give_session(engine, "Det")
            recognise = engine.recognize_txt

            def recognise_lines(lines: Any) -> Any:
                # Only now: while text is looked for, which takes the most memory, the other model is not there.
                self._give_session(engine, "Rec")
                return recognise(lines)

            engine.recognize_txt = recognise_lines
            self._engines[side] = engine
        return self._engines[side]

    def _give_session(self, engine: RapidOCR, part: str) -> None:
        """A model opened here, shared by all shapes of page; RapidOCR's own would wait by spinning on both cores.

        Without a session it would also fetch what is missing.
        """
        import rapidocr
        from omegaconf import OmegaConf

        if engine.cfg[part].get("session") is not None:
            return
        if part not in self._sessions:
            path = Path(rapidocr.__file__).parent / "models" / _MODELS[part]
            self._sessions[part] = open_session(path, self._threads, arena=False)
        settings = {**engine.cfg[part], "session": self._sessions[part]}
        engine.cfg[part] = OmegaConf.create(settings, flags={"allow_objects": True})

    def _recognise(self, page: Image.Image) -> Pieces:
        import numpy as np

        # The models were trained on BGR. In one piece: OpenCV would copy a mere view of it for every line that it cuts.
        pixels = np.ascontiguousarray(np.asarray(page)[:, :, ::-1])
        try:
            found = self._engine(page)(pixels)
        except MemoryError:
            raise
        except Exception as error:
            # onnxruntime's and OpenCV's words for it, which stand in the hint where a model was opened.
            if "alloc" in f"{error} {getattr(error, 'hint', '')}".casefold():
                raise MemoryError from None
            raise InputError("the text in it cannot be recognised", hint="take the picture again, nearer") from None
        if found.boxes is None or found.txts is None or found.scores is None:
            return []
        return [
            (str(text), float(score), [[float(x), float(y)] for x, y in box])
            for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        ]


@contextmanager
def _without_what_fetches() -> Iterator[None]:
    """RapidOCR is imported without its list of all models and without an HTTP client.

    It parses that list twice, in a second of Python, to find what it could fetch, and loads `requests` to fetch it.
    Nothing is fetched here: both models are at hand.
    """
    from omegaconf import OmegaConf

    load, client = OmegaConf.load, sys.modules.get("requests")

    def load_settings(file: Any) -> Any:
        return OmegaConf.create({}) if Path(file).name == "default_models.yaml" else load(file)

    OmegaConf.load = staticmethod(load_settings)  # type: ignore[method-assign,assignment]
    nothing = ModuleType("requests")
    nothing.Response = object  # type: ignore[attr-defined]  # named in the signature of a function
    sys.modules["requests"] = nothing
    try:
        yield
    finally:
        OmegaConf.load = staticmethod(load)  # type: ignore[method-assign]
        del sys.modules["requests"]
        if client is not None:
            sys.modules["requests"] = client


def _is_upright_box(corners: list[list[float]]) -> bool:
    """Whether a box is much higher than wide, as a line of text on its side is."""
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return max(ys) - min(ys) > 1.5 * (max(xs) - min(xs))


def _confidence(pieces: Pieces) -> float:
    return sum(score * len(text) for text, score, _ in pieces) / max(1, sum(len(text) for text, _, _ in pieces))


if __name__ == "__main__":
    child_main(work)
