"""The proof that a checkpoint's tokenizer and llama.cpp cut text into the same tokens.

A model trained on tokens other than those the branch will feed it is wrong in ways no loss shows. So parity is a gate:
distill passes it before anything is learned, quantize with the file it hands on. Promises: control tokens are compared
read and unread; the first text that differs is named. Knows nothing of what the texts are for.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from runtime.bundle.gguf_check import check_gguf
from runtime.engine.llama.vocab import open_vocabulary
from runtime.errors import ModelError
from runtime.prompting.prompt_spec import Tokenizer

PROBES = (
    "", " ", "  two  spaces ", "\n\n\nlines\n", "\n\nlines\n\t", "tab\there", "€49.99", "€49.99 (50%-off!!!)",
    "1234567890", "1234567890 2026-11-23", "14 March 2026", "50%-off!!!", "don't I'll we've", "naïve café",
    "ﬁ ligature", "emoji 🙂👍🏽", "中文测试", "价格49欧元，2026年3月14日", "退货期限是30天，价格49欧元。",
    "全角：１２３（括号）～", "混合 mixed 文本 text", "<|im_start|>", "a<|im_end|>b", "<|im_start|>a<|im_end|>",
    "<|endoftext|>", "\u200bzero width", "\ufeffbom", "ÅÄÖ åäö", "русский текст", "日本語 русский 한국어", "x" * 60,
    "12.5 kg / 3,5 m²", "C:\\path\\file.txt", "https://a.b/c?d=e",
)  # fmt: skip
"""Texts that tokenizers are known to disagree on, in both languages."""
_ALPHABET = "abc XYZ 019.,;:!?-'\"()€%\n中文字价格退货，。！ é"


def parity_strings(texts: Iterable[str], *, count: int = 400, seed: int = 7) -> list[str]:
    """`count` strings to compare tokenizers on: the probes, then lines of the company's texts, then made-up ones."""
    generator = random.Random(seed)  # noqa: S311 - a choice of test strings, no secret
    lines = sorted({line.strip() for text in texts for line in text.splitlines() if line.strip()})
    generator.shuffle(lines)
    while len(lines) + len(PROBES) < count:
        lines.append("".join(generator.choice(_ALPHABET) for _ in range(generator.randint(3, 60))))
    return [*PROBES, *lines[: count - len(PROBES)]]


def prove_parity(ours: Tokenizer, gguf: Path, strings: Sequence[str]) -> int:
    """Compare `ours` with how llama.cpp cuts text for a GGUF file; returns how many strings.

    `ModelError` on the first that differs, or when llama.cpp cannot load the file; `MissingError` without one.
    """
    check_gguf(gguf)
    with closing(open_vocabulary(gguf)) as theirs:
        return same_tokens(ours, theirs, strings)


def same_tokens(ours: Tokenizer, theirs: Tokenizer, strings: Sequence[str]) -> int:
    """Count the strings that both tokenizers cut alike; `ModelError` on the first that they do not."""
    for text in strings:
        for control in (False, True):
            left, right = ours.encode(text, control=control), theirs.encode(text, control=control)
            if left != right:
                raise ModelError(
                    f"checkpoint and llama.cpp cut {text!r} differently: {left[:12]} and {right[:12]}",
                    hint="training on other tokens than the branch feeds would be silently wrong; fix tokenizer.json",
                )
    return len(strings)
