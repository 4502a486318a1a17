"""The process that reads a picture, from inside: what it loads, and what it decodes."""

from __future__ import annotations

import io
import subprocess
import sys

from PIL import Image

from runtime.perception import picture_decoding
from runtime.perception.picture_child import missing_models
from runtime.perception.picture_decoding import decode_pages

LOADS = """
import sys
from PIL import Image
from runtime.perception.picture_child import PageReader
PageReader(1).read(Image.new("RGB", (64, 64), "white"))
assert "rapidocr.main" in sys.modules
assert not {"requests", "urllib3", "pydantic"} & sys.modules.keys()
from rapidocr.utils import download_file
from omegaconf import OmegaConf
import rapidocr
from pathlib import Path
assert not hasattr(download_file.requests, "get")
assert OmegaConf.load(Path(rapidocr.__file__).parent / "config.yaml").Global, "what was put aside is back"
import requests
assert requests.get
"""


def test_picture_process_loads_nothing_to_fetch_with_and_puts_back_what_it_put_aside() -> None:
    done = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_picture_models_come_with_the_recogniser() -> None:
    assert missing_models() == []


def test_photograph_is_decoded_at_the_size_that_is_wanted_and_no_smaller() -> None:
    """A JPEG of twice the sides is halved by its own transform; one of less than that is resized as any other."""
    for size, wanted in (((3000, 4000), (1500, 2000)), ((2900, 3900), (1487, 2000)), ((600, 800), (600, 800))):
        data = io.BytesIO()
        Image.new("RGB", size, "white").save(data, "JPEG")
        (page,) = decode_pages(data.getvalue(), "jpeg")
        assert page.size == wanted
    assert max(wanted) <= picture_decoding.MAX_SIDE
