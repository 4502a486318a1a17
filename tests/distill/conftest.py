"""A shop of two articles, small enough to see through."""

from __future__ import annotations

from pathlib import Path

import pytest

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
