"""Receipts and labels that never were, drawn as a shop's printer would and as a phone at the counter sees them.

Promises: the same seed draws the same picture where the same fonts are; `lines` and `fields` say what stands on it,
letter by letter. `degrade` simulates a photograph: a hand that leans, a lens that blurs, a lamp at one side, JPEG.
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pylopdf_fonts_zh_cn
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from runtime.perception.attachment_text import EntityKind

_HAN_FONTS = Path(pylopdf_fonts_zh_cn.__file__).parent
SANS_SC, SERIF_SC = _HAN_FONTS / "NotoSansSC-Regular.otf", _HAN_FONTS / "NotoSerifSC-Regular.otf"
_DEBIAN = Path("/usr/share/fonts/truetype/dejavu")
LATIN_FONTS: tuple[Path, ...] = (
    SANS_SC,
    *(path for name in ("DejaVuSansMono", "DejaVuSans", "DejaVuSerif") if (path := _DEBIAN / f"{name}.ttf").is_file()),
)
HAN_FONTS: tuple[Path, ...] = (SANS_SC, SERIF_SC)
ORDER_NUMBER = r"NL-?\d{6,12}"
"""The example shop's, as its policy has it."""
_WIDTH, _MARGIN = 640, 36


@dataclass(frozen=True)
class Slip:
    """What stands on a receipt or a label."""

    lang: str
    rows: tuple[tuple[str, str], ...]
    """Left and right of each line; right is empty where there is one text alone."""
    fields: dict[EntityKind, tuple[str, ...]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Its lines, as a person would copy them."""
        return "\n".join(" ".join(part for part in row if part) for row in self.rows)


_GOODS = {
    "en": ("Toaster", "Kettle", "Hand blender", "Desk lamp", "Vacuum cleaner", "Coffee grinder", "Fan heater", "Iron"),
    "zh": ("烤面包机", "电热水壶", "手持搅拌机", "台灯", "吸尘器", "咖啡研磨机", "暖风机", "电熨斗"),
}
_THANKS = {
    "en": ("Keep this receipt for returns", "Goods can be returned within 30 days", "Thank you for your visit"),
    "zh": ("请保留小票作为退换货凭证", "三十天内凭小票可退货", "谢谢惠顾，欢迎再次光临"),
}


def make_receipt(rng: random.Random, lang: str) -> Slip:
    """A receipt of two to six goods."""
    order = f"NL-{rng.randrange(10**6, 10**9)}"
    day, month, year = rng.randrange(1, 29), rng.randrange(1, 13), rng.choice((2025, 2026))
    clock = f"{rng.randrange(9, 21):02}:{rng.randrange(60):02}"
    goods, models, sum_ = [], [], 0
    sign = "€" if lang == "en" else "¥"
    for name in rng.sample(_GOODS[lang], rng.randrange(2, 7)):
        model, cents = (
            f"{rng.choice('TKBLVCFI')}{rng.choice('XRST')}-{rng.randrange(10, 999)}",
            rng.randrange(500, 19900),
        )
        models.append(model)
        sum_ += cents
        goods.append((f"{name} {model}", f"{sign}{cents / 100:.2f}"))
    total = f"{sign}{sum_ / 100:.2f}"
    if lang == "en":
        date = rng.choice((f"{day:02}/{month:02}/{year}", f"{year}-{month:02}-{day:02}"))
        rows = [("NORTHLIGHT", ""), (f"Branch {rng.randrange(1, 90)}, Market Street 12", ""), ("Order No.", order)]
        rows += [(f"Date {date}", clock), *goods, ("Subtotal", total), ("TOTAL", total), ("Card payment", "")]
    else:
        date = rng.choice((f"{year}年{month}月{day}日", f"{year}-{month:02}-{day:02}"))
        rows = [("北光电器", ""), (f"人民路{rng.randrange(1, 90)}号店", ""), ("订单号", order)]
        rows += [(f"日期 {date}", clock), *goods, ("小计", total), ("合计", total), ("微信支付", "")]
    rows.append((rng.choice(_THANKS[lang]), ""))
    fields: dict[EntityKind, tuple[str, ...]] = {
        "order_number": (order,), "date": (date,), "total": (total,), "model_code": tuple(models),
    }  # fmt: skip
    return Slip(lang, tuple(rows), fields)


def make_label(rng: random.Random, lang: str) -> Slip:
    """The label on a device's back."""
    model = f"{rng.choice('TKBLVCFI')}{rng.choice('XRST')}-{rng.randrange(10, 999)}"
    serial = f"{rng.randrange(10, 99)}{rng.choice('ABCDEFHKM')}{rng.choice('ABCDEFHKM')}-{rng.randrange(10**4, 10**6)}"
    watts = rng.randrange(3, 24) * 100
    if lang == "en":
        name = rng.choice(_GOODS["en"])
        rows = [("NORTHLIGHT", ""), (name, ""), (f"Model: {model}", ""), (f"S/N: {serial}", "")]
        rows += [(f"220-240 V  50 Hz  {watts} W".replace("  ", " "), ""), ("Do not immerse in water", "")]
    else:
        name = rng.choice(_GOODS["zh"])
        rows = [("北光电器", ""), (name, ""), (f"型号：{model}", ""), (f"序列号：{serial}", "")]
        rows += [(f"额定电压 220V 额定功率 {watts}W", ""), ("请勿浸入水中", "")]
    return Slip(lang, tuple(rows), {"model_code": (model,), "serial_number": (serial,)})


def draw(slip: Slip, font: Path, size: int = 26) -> Image.Image:
    """Black on white, straight."""
    face = ImageFont.truetype(str(font), size)
    step = int(size * 1.7)
    page = Image.new("RGB", (_WIDTH, 2 * _MARGIN + step * len(slip.rows)), "white")
    pen = ImageDraw.Draw(page)
    for number, (left, right) in enumerate(slip.rows):
        y = _MARGIN + number * step
        pen.text((_MARGIN, y), left, font=face, fill="black")
        if right:
            pen.text((_WIDTH - _MARGIN - pen.textlength(right, font=face), y), right, font=face, fill="black")
    return page


def degrade(page: Image.Image, rng: random.Random) -> Image.Image:
    """As photographed at a counter: paper on a table, leaning and askew, a little out of focus, lit from one side."""
    width, height = page.size
    paper = Image.new("RGB", (width + 160, height + 160), tuple(rng.randrange(60, 120) for _ in range(3)))
    paper.paste(Image.blend(page, Image.new("RGB", page.size, (236, 228, 208)), 0.35), (80, 80))
    shifts = [(rng.uniform(-0.03, 0.03) * paper.width, rng.uniform(-0.03, 0.03) * paper.height) for _ in range(4)]
    w, h = paper.size
    corners = [(x + dx, y + dy) for (x, y), (dx, dy) in zip([(0, 0), (w, 0), (w, h), (0, h)], shifts, strict=True)]
    paper = paper.transform((w, h), Image.Transform.PERSPECTIVE, _warp(corners, w, h), Image.Resampling.BICUBIC)
    paper = paper.rotate(rng.uniform(-5, 5), Image.Resampling.BICUBIC, expand=True, fillcolor=(90, 90, 90))
    paper = paper.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.1)))
    pixels = np.asarray(paper, dtype=np.float32)
    light = np.linspace(1.0, rng.uniform(0.55, 0.8), pixels.shape[1], dtype=np.float32)
    noise = np.random.default_rng(rng.randrange(2**32)).normal(0, rng.uniform(6, 14), pixels.shape)
    seen = Image.fromarray(np.clip(pixels * light[None, :, None] + noise, 0, 255).astype(np.uint8))
    out = io.BytesIO()
    seen.save(out, "JPEG", quality=rng.randrange(45, 75))
    return Image.open(io.BytesIO(out.getvalue()))


def _warp(corners: Sequence[tuple[float, float]], width: int, height: int) -> list[float]:
    """The eight numbers with which Pillow maps the upright page from these corners."""
    rows, wanted = [], []
    for (x, y), (u, v) in zip([(0, 0), (width, 0), (width, height), (0, height)], corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        wanted += [u, v]
    return [float(one) for one in np.linalg.solve(np.array(rows, dtype=float), np.array(wanted, dtype=float))]


def encoded(page: Image.Image, format_: str = "PNG") -> bytes:
    """A picture's file."""
    out = io.BytesIO()
    page.save(out, format_)
    return out.getvalue()
