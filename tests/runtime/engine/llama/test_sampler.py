"""How tokens are chosen, with real models."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.engine.core.generation import TextPiece
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.errors import InputError, MissingError, ModelError

NEVER = threading.Event()


def make_adapter(path: Path, *, hidden: int = 64, rank: int = 4, seed: int = 1) -> Path:
    """A LoRA file that turns the output of `random_gguf`'s first layers."""
    import gguf

    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    for layer in range(2):
        for name in ("attn_q", "attn_output"):
            a, b = rng.normal(size=(rank, hidden)), rng.normal(size=(hidden, rank))
            writer.add_tensor(f"blk.{layer}.{name}.weight.lora_a", a.astype(np.float32))
            writer.add_tensor(f"blk.{layer}.{name}.weight.lora_b", b.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def engine(random_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaEngine]:
    adapters = {"shop": make_adapter(tmp_path_factory.mktemp("lora") / "shop.gguf")}
    with LlamaEngine(random_gguf, context_tokens=512, threads=1, batch_tokens=32, slots=3, adapters=adapters) as opened:
        yield opened


def write(engine: LlamaEngine, text: str, **params: object) -> str:
    tokens = engine.vocab.encode(text, control=False)
    return "".join(piece.text for piece in engine.generate(tokens, SamplingParams(**params), NEVER))  # type: ignore[arg-type]


def test_a_stop_string_ends_the_answer_wherever_it_lies_in_the_tokens(scripted_gguf: Path) -> None:
    with LlamaEngine(scripted_gguf, context_tokens=512, threads=1) as engine:
        for stops, answer in (
            (("days of",), "You can return most items within 30 "),
            (("大多数", " 30"), "You can return most items within"),
            (
                ("nowhere",),
                "You can return most items within 30 days of delivery or collection. 大多数商品可在30天内退货。",
            ),
        ):
            assert write(engine, "?\n", stop_strings=stops) == answer


def test_a_grammar_decides_what_can_be_written(engine: LlamaEngine) -> None:
    grammar = 'root ::= "yes" | "no" | "退货"'
    assert {write(engine, text, grammar=grammar) for text in ("a", "b", "c")} <= {"yes", "no", "退货"}
    drawn = {write(engine, "a", grammar=grammar, temperature=2.0, seed=seed) for seed in range(20)}
    assert len(drawn) > 1
    assert drawn <= {"yes", "no", "退货"}


def test_an_answer_follows_its_json_schema(engine: LlamaEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"days": {"type": "integer"}, "ok": {"enum": ["yes", "否"]}},
        "required": ["days", "ok"],
        "additionalProperties": False,
    }
    for seed in range(4):
        text = write(engine, "?", json_schema=json.dumps(schema), temperature=1.5, seed=seed, max_tokens=120)
        value = json.loads(text)
        assert list(value) == ["days", "ok"]
        assert isinstance(value["days"], int)
        assert value["ok"] in ("yes", "否")


@pytest.mark.parametrize(
    "params",
    [{"grammar": "root ::= ("}, {"json_schema": "{"}, {"json_schema": "[]"}, {"json_schema": '{"type": "colour"}'}],
)
def test_a_grammar_or_schema_that_cannot_be_used_is_refused_at_once(
    engine: LlamaEngine, params: dict[str, str]
) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        engine.generate([65], SamplingParams(**params), NEVER)  # type: ignore[arg-type]
    assert write(engine, "a", max_tokens=2)


def test_min_p_and_a_penalty_change_the_draw_as_they_should(engine: LlamaEngine) -> None:
    greedy = write(engine, "a", max_tokens=30)
    assert write(engine, "a", max_tokens=30, temperature=1.5, min_p=1.0, seed=5) == greedy
    plain = engine.generate(engine.vocab.encode("aa", control=False), SamplingParams(max_tokens=60, logprobs=0), NEVER)
    tokens = [one.token for piece in plain for one in piece.scored]
    params = SamplingParams(max_tokens=60, logprobs=0, repeat_penalty=1e6, repeat_tokens=100)
    other = engine.generate(engine.vocab.encode("aa", control=False), params, NEVER)
    unlike = [one.token for piece in other for one in piece.scored]
    assert len(set(unlike)) > len(set(tokens))


def test_log_probabilities_come_with_the_text_and_add_up(engine: LlamaEngine) -> None:
    tokens = engine.vocab.encode("你好", control=False)
    size = engine.vocab.size
    generation = engine.generate(tokens, SamplingParams(max_tokens=12, logprobs=size), NEVER)
    pieces = list(generation)
    scored = [one for piece in pieces for one in piece.scored]
    assert len(scored) == generation.stats.answer_tokens > 3
    for one in scored:
        assert one.top[0][0] == one.token  # greedy takes the likeliest
        assert one.logprob == one.top[0][2]
        assert sum(np.exp(logprob) for _, _, logprob in one.top) == pytest.approx(1, abs=1e-4)
    whole = b"".join(one.text for one in scored)
    assert "".join(piece.text for piece in pieces) == whole.decode(errors="ignore")
    assert all(
        isinstance(piece, TextPiece) and not piece.scored for piece in engine.generate(tokens, SamplingParams(), NEVER)
    )


def test_each_request_is_computed_with_the_adapter_it_names(engine: LlamaEngine) -> None:
    plain, tuned = write(engine, "abc", max_tokens=20), write(engine, "abc", max_tokens=20, adapter="shop")
    assert plain != tuned
    tokens = engine.vocab.encode("abc", control=False)
    names = ["", "shop", "shop", "", "shop"]
    asked = [engine.generate(tokens, SamplingParams(max_tokens=20, adapter=name), NEVER) for name in names]
    texts = ["".join(piece.text for piece in one) for one in asked]
    assert texts == [tuned if name else plain for name in names]
    with pytest.raises(InputError, match="no adapter 'other'"):
        engine.generate(tokens, SamplingParams(adapter="other"), NEVER)


def test_an_adapter_of_another_model_is_refused_by_name(random_gguf: Path, tmp_path: Path) -> None:
    wrong = make_adapter(tmp_path / "wrong.gguf", hidden=32)
    with pytest.raises(ModelError, match=r"wrong\.gguf: not a LoRA adapter"):
        LlamaEngine(random_gguf, context_tokens=256, threads=1, adapters={"x": wrong})
    with pytest.raises(MissingError):
        LlamaEngine(random_gguf, context_tokens=256, threads=1, adapters={"x": tmp_path / "none.gguf"})
