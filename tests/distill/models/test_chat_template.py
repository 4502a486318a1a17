"""The chat template as plain pieces."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from distill.models.chat_template import TEMPLATE_DATE, chat_pieces
from runtime.errors import ModelError
from runtime.prompting.json_tokenizer import JsonTokenizer
from runtime.prompting.prompt_spec import ChatPieces
from tests.conftest import LLAMA2

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


@pytest.mark.parametrize(
    "payload",
    [
        "{{ self.__init__.__globals__.__builtins__.__import__('os').system('touch PLACE') }}",
        "{{ cycler.__init__.__globals__.os.popen('touch PLACE').read() }}",
        (
            "{% for c in ().__class__.__base__.__subclasses__() %}{% if c.__name__ == 'Popen' %}"
            "{{ c(['touch', 'PLACE']) }}{% endif %}{% endfor %}"
        ),
    ],
)
def test_a_template_that_runs_code_is_stopped(
    payload: str, with_template: WithTemplate, tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S6: at head office it runs, in a sandbox (CVE-2024-34359 is the same without one)."""
    place = tmp_path / "ran"
    folder = with_template(payload.replace("PLACE", str(place)) + CHATML)
    with contextlib.suppress(ModelError):  # a template may also come to nothing in the sandbox
        chat_pieces(folder)
    assert not place.exists()
    count_trials("S6", 1)


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


@pytest.mark.parametrize("template", [MISTRAL, LLAMA2], ids=["mistral", "llama 2"])
def test_frames_without_a_common_end_are_kept_whole_and_answers_lose_their_first_space(
    template: str, with_template: WithTemplate
) -> None:
    from transformers import AutoTokenizer

    folder = with_template(template)
    said = ["Be kind.", "能退吗？", "30 days.", "And on Sunday?", "No.", "Thanks"]
    roles = ["system", *["user", "assistant"] * 3]
    messages = [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]
    wanted = AutoTokenizer.from_pretrained(folder).apply_chat_template(messages, tokenize=False)
    p = chat_pieces(folder)
    text = p.system_open + said[0] + p.system_close
    for question, answer in zip(said[1::2], said[2::2], strict=False):
        text += p.user_open + question + p.user_close + p.assistant_open + answer + p.assistant_close
    text += said[5] + p.user_close
    assert text.replace("[/INST]", "[/INST] ").removesuffix(" ") == wanted
    assert p.stop == ("<|im_end|>",)


def test_a_tokenizer_that_puts_spaces_itself_gets_none_twice(tiny_llama2: Path) -> None:
    """What the pieces and texts give token by token is what Llama 2's template gives, but for line ends."""
    p, ours = chat_pieces(tiny_llama2), JsonTokenizer(tiny_llama2)
    assert (p.user_close, p.assistant_close) == ("[/INST]", "</s><s>[INST]")
    spans = [("<s>[INST]", True), ("多久 退", False), (p.user_close, True), ("30 days.", False), ("</s>", True)]
    parts = [token for text, control in spans for token in ours.encode(text, control=control)]
    assert parts == ours.encode("<s>[INST] 多久 退 [/INST] 30 days.</s>", control=True)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (CHATML.replace("<|im_start|>'", "<|im_start|>' + loop.index|string"), "depends on the turn"),
        (CHATML.replace("<|im_end|>", ""), "mark where a message ends|depends on the turn"),
        (CHATML.replace("in messages", "in messages if message['role'] != 'system'"), "every message once"),
        (CHATML.replace("message['content']", "message['content'] + message['content']"), "every message once"),
        ("{{ raise_exception('System role not supported') }}", "System role not supported"),
        ("{% for message in %}", "chat template fails"),
        ("{{ range(1000000) | random }}" + CHATML, "chat template fails: Range too big"),
        ("{{ 1 / 0 }}" + CHATML, "chat template fails"),
        ("", "no chat template|every message once"),
    ],
    ids=["numbered", "no end", "no system", "twice", "refuses", "broken", "overflow", "by zero", "empty"],
)
def test_a_template_that_is_no_frame_around_messages_is_refused(
    template: str, reason: str, with_template: WithTemplate
) -> None:
    with pytest.raises(ModelError, match=reason):
        chat_pieces(with_template(template))


DATED = "{{ strftime_now('%d %B %Y') }}\n"


def test_chat_template_with_a_clock_writes_the_documented_date(with_template: WithTemplate, tiny_llama: Path) -> None:
    """Whatever the day of the build: a branch would repeat that day in every prompt."""
    pieces = chat_pieces(with_template(DATED + CHATML))
    plain = chat_pieces(tiny_llama)
    assert (
        pieces.system_open == f"{TEMPLATE_DATE:%d %B %Y}\n{plain.system_open}" == f"26 July 2024\n{plain.system_open}"
    )


@pytest.mark.parametrize("chance", ["{{ range(99999) | random }}", "{{ lipsum(1, html=false) }}"])
def test_chat_template_that_writes_something_else_each_time_is_refused(
    chance: str, with_template: WithTemplate
) -> None:
    with pytest.raises(ModelError, match="something else each time") as error:
        chat_pieces(with_template(chance + CHATML))
    assert "prompt.template" in error.value.hint
