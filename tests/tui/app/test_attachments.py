"""An agent attaches a picture: by its path, or by dropping it into the terminal; what it says is shown, then used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events

from runtime.perception.attachment_text import AttachmentText, OfferedEntity, TextLine
from tui.testing.fake_server import FakeServer
from tui.widgets.composer import Composer

PNG = b"\x89PNG\r\n\x1a\n"
LINES = {
    "en": ("NORTHLIGHT " * 5 + "Market Street 12", "Toaster TX-200 €39.90", "Thank you for shopping with us " * 3),
    "zh": ("北光电器人民路十二号店", "烤面包机 TX-200 ¥39.90", "请保留小票作为退换货凭证，谢谢惠顾" * 9),
}
WORDS = {"en": "Can this be returned?", "zh": "这个可以退吗"}


def receipt(lang: str) -> AttachmentText:
    offered = (
        OfferedEntity(kind="model_code", value="TX-200", line=1),
        OfferedEntity(kind="order_number", value="NL-204318", line=2),
    )
    lines = tuple(TextLine(text=text.strip()) for text in LINES[lang])
    return AttachmentText(kind="picture", lines=lines, entities=offered)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The agent's folder, with a receipt in it."""
    place = tmp_path / "my pictures"
    place.mkdir()
    (place / "receipt.png").write_bytes(PNG)
    (place / "notes.txt").write_text("private")
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize(
    ("lang", "summary"), [("en", "model TX-200, order NL-204318"), ("zh", "型号 TX-200，订单号 NL-204318")]
)
async def test_attached_picture_is_shown_corrected_and_sent_as_the_customers_message(
    open_console: Any, server: FakeServer, folder: Path, lang: str, summary: str
) -> None:
    server.pictures["receipt.png"] = receipt(lang)
    async with open_console(server, lang=lang, size=(120, 40)) as console:
        await console.press(*WORDS[lang], "ctrl+o")
        await console.sees("receipt.png")
        assert "notes.txt" not in console.text()
        await console.press("enter")
        await console.sees(summary)
        composer = console.app.chat.query_one(Composer)
        assert composer.text == "\n".join([WORDS[lang], "", *(line.text for line in receipt(lang).lines)])
        assert server.asked == [], "nothing is asked before the agent has seen it"
        composer.load_text(composer.text.replace("TX-200", "TX-201"))
        await console.press("enter")
        await console.phase("done")
    ((question, _),) = server.asked
    assert "TX-201" in question
    (asking,) = server.asking
    assert asking
    assert asking.startswith(WORDS[lang])
    assert "TX-201" in asking, "what the agent wrote"
    assert receipt(lang).lines[2].text not in asking


async def test_picture_dropped_into_the_terminal_is_attached_and_other_paths_stay_text(
    open_console: Any, server: FakeServer, folder: Path
) -> None:
    server.pictures["receipt.png"] = receipt("en")
    async with open_console(server, size=(120, 40)) as console:
        composer = console.app.chat.query_one(Composer)
        console.app.chat.set_focus(composer)
        composer.post_message(events.Paste(f"{folder}/notes.txt"))
        await console.until(lambda: "notes.txt" in composer.text)
        composer.load_text("")
        composer.post_message(events.Paste(str(folder / "receipt.png").replace(" ", "\\ ")))
        await console.until(lambda: "Toaster TX-200" in composer.text)
        assert str(folder) not in composer.text


async def test_picture_that_cannot_be_read_is_a_remark_and_the_message_stays(
    open_console: Any, server: FakeServer, folder: Path
) -> None:
    async with open_console(server, size=(120, 40)) as console:
        await console.press(*"Hello", "ctrl+o")
        await console.sees("receipt.png")
        await console.press("enter")
        await console.sees("no text was found in it")
        assert console.app.chat.query_one(Composer).text == "Hello"
