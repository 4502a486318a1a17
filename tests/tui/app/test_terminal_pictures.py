"""A receipt in a real console on a real server, in both languages: chosen, shown, sent, answered."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks._receipt_pictures import SANS_SC, draw, encoded, make_receipt
from tests.support.terminal import Terminal

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed; the terminal run needs it")


def test_receipt_is_chosen_shown_and_answered_in_both_languages(
    terminal: Terminal, make_home: Callable[..., Path], scripted_gguf: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "小票 receipts"
    folder.mkdir()
    slips = {lang: make_receipt(random.Random(1), lang) for lang in ("en", "zh")}
    for lang, slip in slips.items():
        (folder / f"{lang}.png").write_bytes(encoded(draw(slip, SANS_SC)))
    terminal.size = (160, 48)
    terminal.open(make_home(scripted_gguf), "--lang", "en")
    terminal.sees("· ready ·")

    # By its path.
    terminal.type("How long can I return most items?")
    terminal.press("C-o")
    terminal.sees("Attach a picture")
    terminal.type(f"{folder}/en")
    terminal.sees("en.png")
    terminal.press("Enter")
    terminal.sees(f"order {slips['en'].fields['order_number'][0]}")
    terminal.press("Enter")
    terminal.sees("Draft · not sent")

    # Dropped into the terminal, which pastes its path.
    terminal.press("C-n")
    terminal.press("F2")
    terminal.type("退货期限是多久")
    terminal.paste(f"'{folder}/zh.png'", bracketed=True)
    terminal.sees(f"订单号 {slips['zh'].fields['order_number'][0]}")
    terminal.press("Enter")
    terminal.sees("草稿 · 未发送")
    terminal.quit()
