"""The chat template as plain pieces, and the proof that llama.cpp cuts text as the checkpoint does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.tokenizer import chat_pieces, parity_strings, prove_parity, same_tokens
from quantize.gguf_writer import write_gguf
from runtime.engine.model import Model
from runtime.errors import ModelError
from runtime.prompt import ChatPieces
from runtime.tokenizer import JsonTokenizer

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
MISTRAL = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}"
    "{% else %}{{ message['content'] + '\n\n' }}{% endif %}{% endfor %}"
)
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

WithTemplate = Callable[[str], Path]


@pytest.fixture
def with_template(tiny_llama: Path, tmp_path: Path) -> WithTemplate:
    """The tiny checkpoint with another chat template and a begin token."""

    def make(template: str) -> Path:
        folder = tmp_path / "checkpoint"
        shutil.copytree(tiny_llama, folder, ignore=shutil.ignore_patterns("*.safetensors"))
        config = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**config, "bos_token": "<|endoftext|>"}))
        (folder / "chat_template.jinja").write_text(template)
        return folder

    return make


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_qwen2"])
def pair(
    request: pytest.FixtureRequest, with_pairs: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A checkpoint and its GGUF."""
    folder = tmp_path_factory.mktemp("pair")
    checkpoint = with_pairs(request.getfixturevalue(request.param), folder / "checkpoint")
    write_gguf(checkpoint, folder / "model.gguf")
    return checkpoint, folder / "model.gguf"


@pytest.fixture(scope="module")
def loaded(pair: tuple[Path, Path]) -> Iterator[tuple[JsonTokenizer, Model]]:
    model = Model(pair[1], context_tokens=64, threads=1, batch_tokens=64)
    yield JsonTokenizer(pair[0]), model
    model.close()


def texts(shop: Path) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(shop.rglob("articles/*.md"))]


def test_the_pieces_of_chatml(tiny_llama: Path) -> None:
    assert chat_pieces(tiny_llama) == ChatPieces(
        system_open="<|im_start|>system\n",
        system_close="<|im_end|>\n",
        user_open="<|im_start|>user\n",
        user_close="<|im_end|>\n",
        assistant_open="<|im_start|>assistant\n",
        assistant_close="<|im_end|>\n",
        stop=("<|im_end|>",),
    )


def test_a_begin_token_belongs_to_the_system_text_alone(with_template: WithTemplate, tiny_llama: Path) -> None:
    pieces = chat_pieces(with_template("{{ bos_token }}" + CHATML))
    plain = chat_pieces(tiny_llama)
    assert pieces == plain.model_copy(update={"system_open": "<|endoftext|>" + plain.system_open})


def test_what_opens_every_message_alike_is_not_taken_for_the_end_of_one(with_template: WithTemplate) -> None:
    """In Llama 3's template the end token is followed at once by the next header."""
    pieces = chat_pieces(with_template(LLAMA3))
    assert pieces.stop == ("<|im_end|>",)
    assert pieces.assistant_close == "<|im_end|>"
    assert pieces.assistant_open == "<|start_header_id|>assistant<|end_header_id|>\n\n"


@pytest.mark.parametrize("template", [CHATML, "{{ bos_token }}" + CHATML, LLAMA3, ZEPHYR])
def test_pieces_put_together_are_what_the_template_writes(template: str, with_template: WithTemplate) -> None:
    from transformers import AutoTokenizer

    folder = with_template(template)
    said = ["Be kind.", "能退吗？", "30 days.", "And on Sunday?", "No.", "Thanks"]
    roles = ["system", *["user", "assistant"] * 3]
    messages = [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    wanted = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    p = chat_pieces(folder)
    around = {
        "system": (p.system_open, p.system_close),
        "user": (p.user_open, p.user_close),
        "assistant": (p.assistant_open, p.assistant_close),
    }
    text = "".join(around[m["role"]][0] + m["content"] + around[m["role"]][1] for m in messages) + p.assistant_open
    assert text == wanted
    assert all(stop and stop in p.assistant_close for stop in p.stop)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (CHATML.replace("<|im_start|>'", "<|im_start|>' + loop.index|string"), "changes with the turn"),
        (MISTRAL, "mark where a message ends|changes with the turn"),
        (CHATML.replace("<|im_end|>", ""), "mark where a message ends|changes with the turn"),
        (CHATML.replace("in messages", "in messages if message['role'] != 'system'"), "every message once"),
        (CHATML.replace("message['content']", "message['content'] + message['content']"), "every message once"),
        ("{{ raise_exception('System role not supported') }}", "System role not supported"),
        ("{% for message in %}", "chat template fails"),
        ("", "no chat template|every message once"),
    ],
    ids=["numbered", "roles in one", "no end", "no system", "twice", "refuses", "broken", "empty"],
)
def test_a_template_that_is_no_frame_around_messages_is_refused(
    template: str, reason: str, with_template: WithTemplate
) -> None:
    with pytest.raises(ModelError, match=reason):
        chat_pieces(with_template(template))


def test_parity_is_tried_on_hundreds_of_strings_of_both_languages(shop: Path) -> None:
    strings = parity_strings(texts(shop))
    assert len(strings) == 400
    assert strings == parity_strings(reversed(texts(shop)))
    assert sum(any("\u4e00" <= char <= "\u9fff" for char in text) for text in strings) > 100
    assert len(parity_strings([])) == 400


def test_llama_cpp_cuts_text_as_the_checkpoint_does(pair: tuple[Path, Path], shop: Path) -> None:
    checkpoint, gguf = pair
    strings = parity_strings(texts(shop))
    assert prove_parity(JsonTokenizer(checkpoint), gguf, strings) == len(strings) >= 300


def test_a_broken_pre_tokenizer_is_caught(pair: tuple[Path, Path], shop: Path, tmp_path: Path) -> None:
    checkpoint, gguf = pair
    broken = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    broken["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(broken))
    with pytest.raises(ModelError, match=r"cut '.*\d.*' differently"):
        prove_parity(JsonTokenizer(tmp_path), gguf, parity_strings(texts(shop)))


def test_a_lost_control_token_is_caught(pair: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, gguf = pair
    broken = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    broken["added_tokens"] = [token for token in broken["added_tokens"] if token["content"] != "<|im_end|>"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(broken))
    with pytest.raises(ModelError, match=r"im_end"):
        prove_parity(JsonTokenizer(tmp_path), gguf, parity_strings([]))


class Letters:
    """A tokenizer of code points that reads `shift` more where control tokens count."""

    def __init__(self, shift: int) -> None:
        self.shift = shift

    def encode(self, text: str, *, control: bool) -> list[int]:
        return [ord(char) + self.shift * control for char in text]


def test_a_difference_in_control_tokens_only_is_one() -> None:
    assert same_tokens(Letters(1), Letters(1), ["a", "退"]) == 2
    with pytest.raises(ModelError, match="'退'"):
        same_tokens(Letters(0), Letters(1), ["", "退"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(CONTROL) | st.text(max_size=8), max_size=6).map("".join))
def test_plain_text_never_becomes_a_control_token(loaded: tuple[JsonTokenizer, Model], text: str) -> None:
    ours, model = loaded
    control = {token for name in CONTROL for token in ours.encode(name, control=True)}
    assert len(control) == len(CONTROL)
    for tokenizer in (ours, model.vocab):
        assert control.isdisjoint(tokenizer.encode(text, control=False))
