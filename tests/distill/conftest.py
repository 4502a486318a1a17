"""A shop of two articles, small enough to see through; and what models are trained on and with, just as small."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from distill.models.chat_template import chat_pieces
from distill.packing.packing import Pack, PackLimits, pack_records
from runtime.prompting.json_tokenizer import JsonTokenizer
from runtime.prompting.prompt_spec import PromptSpec
from runtime.text.articles import Section
from runtime.text.records import Record, Turn

# A company's fixtures: pytest finds them under the names they have here.
from tests.support.company import built, company, finished, recipe, root, run, work  # noqa: F401

SCENE = """
lang = "{lang}"
joiner = "{joiner}"
greetings = ["{hello}"]
personal = ["{personal}"]
unanswerable = ["{off}"]
[small_talk]
say = ["{thanks}"]
answer = ["{welcome}"]
[moods.calm]
[moods.happy]
before = ["{happy}"]
[moods.confused]
[moods.anxious]
[moods.frustrated]
[moods.angry]
[slots]
product = ["{product}"]
order_id = ["NL-#######"]
name = ["{name}"]
email = ["a##@example.com"]
"""
EN = {
    "lang": "en",
    "joiner": " ",
    "hello": "Hello.",
    "personal": "My name is {name}, {email}.",
    "off": "What is the capital of Australia?",
    "thanks": "Thanks.",
    "welcome": "You're welcome.",
    "happy": "Great shop!",
    "product": "the kettle",
    "name": "Anna Keller",
}
ZH = {
    "lang": "zh",
    "joiner": "",
    "hello": "你好，",
    "personal": "我叫{name}，{email}。",
    "off": "澳大利亚的首都是哪里？",
    "thanks": "谢谢",
    "welcome": "不客气！",
    "happy": "店真不错！",
    "product": "水壶",
    "name": "李明",
}
CASES = {
    "en": [
        ("returns", ["How long can I return {product} from order {order_id}?", "And must I pay?"], "You have 30 days."),
        ("delivery", ["How much is delivery?", "Which days do you deliver?"], "Delivery costs €4.90."),
    ],
    "zh": [
        ("returns", ["订单{order_id}里的{product}多久能退？", "要付钱吗？"], "30天内可以退。"),
        ("delivery", ["运费多少钱？", "哪几天送货？"], "运费4.90欧元。"),
    ],
}


@pytest.fixture
def small_shop(tmp_path: Path) -> Path:
    """A folder with en/ and zh/, each with cases/, simulate.toml and policy.toml."""
    for words in (EN, ZH):
        lang = words["lang"]
        folder = tmp_path / "small" / lang
        (folder / "cases").mkdir(parents=True)
        text = SCENE
        for key, value in words.items():
            text = text.replace("{" + key + "}", value, 1) if key not in ("product", "name") else text
        text = text.replace('product = ["{product}"]', f'product = ["{words["product"]}"]')
        text = text.replace('name = ["{name}"]', f'name = ["{words["name"]}"]')
        (folder / "simulate.toml").write_text(text, encoding="utf-8")
        (folder / "policy.toml").write_text('[refusal]\ntext = "I do not know. 不知道。"\n', encoding="utf-8")
        for article, asks, answer in CASES[lang]:
            (folder / "cases" / f"{article}.toml").write_text(
                f'article = "{article}"\n[[case]]\nintent = "{article}_inquiry"\nevidence = ["{article}#one"]\n'
                f'ask = ["{asks[0]}"]\nanswer = ["{answer}"]\n'
                f'[[case]]\nintent = "{article}_inquiry"\nevidence = ["{article}#two"]\n'
                f'ask = ["{asks[1]}"]\nfollow_up = ["{asks[1]}"]\nanswer = ["{answer}"]\n',
                encoding="utf-8",
            )
    return tmp_path / "small"


TEXTS = {
    "en": [
        "You have 30 days to return it.",
        "Delivery costs €4.90.",
        "Pay by card or cash.",
        "Open from 9:00 to 19:00.",
    ],
    "zh": ["30天内可以退货。", "运费4.90欧元。", "可刷卡或付现金。"],
}


@pytest.fixture(scope="session")
def sections() -> dict[str, Section]:
    """English sections en0#a … and Chinese ones zh0#a …, by reference."""
    every = [
        Section(f"{lang}{number}", "a", f"Article {number}", f"Article {number}", text, lang)
        for lang, texts in TEXTS.items()
        for number, text in enumerate(texts)
    ]
    return {section.ref: section for section in every}


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    """`make_record(name, query, response, *evidence, lang=…, context=…)`."""

    def make(name: str, query: str, response: str, *evidence: str, lang: str = "en", context: Any = ()) -> Record:
        turns = tuple(Turn(role=role, content=content) for role, content in context)
        return Record(
            id=name, conversation=name, turn=0, lang=lang, context=turns, query=query, response=response,
            evidence=evidence, source="simulated", split="train",
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def records(make_record: Callable[..., Record]) -> list[Record]:
    """Three English records a section, one with earlier turns, and two that no article answers."""
    out = [
        make_record(f"r{place}-{copy}", f"{ask} please, {copy}?", text, f"en{place}#a")
        for place, (ask, text) in enumerate(zip(["Return", "Delivery", "Card", "Hours"], TEXTS["en"], strict=True))
        for copy in range(3)
    ]
    talk = [("user", "Hello"), ("assistant", "How can I help?")]
    out.append(make_record("talk", "And on Sunday?", "No, we are closed.", "en3#a", context=talk))
    return [*out, *(make_record(f"no{copy}", f"Who won in {copy}?", "I do not know.") for copy in range(2))]


@pytest.fixture(scope="session")
def tokenizer(tiny_llama: Path) -> JsonTokenizer:
    """The tiny checkpoint's tokenizer."""
    return JsonTokenizer(tiny_llama)


@pytest.fixture(scope="session")
def spec(tiny_llama: Path) -> PromptSpec:
    """A prompt of two sections in two languages."""
    return PromptSpec(
        pieces=chat_pieces(tiny_llama),
        system={"en": "Answer from the articles.", "zh": "请根据资料回答。"},
        refusal={"en": "I do not know.", "zh": "不知道。"},
        languages=("en", "zh"),
        articles=2,
    )


@pytest.fixture(scope="session")
def packs(
    records: list[Record], sections: dict[str, Section], spec: PromptSpec, tokenizer: JsonTokenizer
) -> list[Pack]:
    """Every record in a pack of at most five."""
    english = {ref: section for ref, section in sections.items() if section.lang == "en"}
    limits = PackLimits(records=5, tokens=700, refusals=1)
    made = pack_records(records, english, spec, tokenizer, neighbours=lambda _: list(english), limits=limits, seed=3)
    assert sorted(name for pack in made for name in pack.records) == sorted(record.id for record in records)
    return made


@contextmanager
def disk_of(limit_bytes: int) -> Iterator[None]:
    """Files of this process may grow to `limit_bytes`; beyond it writing fails as on a full disk (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def open_model() -> Iterator[Callable[..., Any]]:
    """A checkpoint in f32, its weights drawn ten times wider than they are initialised, so that everything matters."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # these models are too small to share out

    def load(checkpoint: Path, widen: float = 10.0) -> Any:
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
        )
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() == 2:
                    weight.mul_(widen)
        return model.eval()

    yield load
    torch.set_num_threads(threads)
