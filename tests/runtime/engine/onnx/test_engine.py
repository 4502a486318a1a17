"""The second runtime: onnxruntime behind the engine's own line, from a question to its answer, without llama.cpp."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.base.home import lock_home
from runtime.base.manifest import write_manifest
from runtime.base.settings import Settings
from runtime.bundle.generations import install
from runtime.desk.open_desk import open_desk
from runtime.engine.core.generation import Place
from runtime.engine.core.interface import TextEngine
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.onnx.engine import OnnxEngine
from runtime.engine.onnx.model import OnnxModel
from runtime.engine.onnx.runner import SLICE_TOKENS
from runtime.engine.onnx.sampler import NumpySampler
from runtime.engine.onnx.vocab import JsonVocabulary, byte_alphabet
from runtime.errors import InputError, MissingError, ModelError, UnavailableError
from runtime.events import AskRequest, Done
from runtime.prompting.prompt_tokens import Prompt

NEVER = threading.Event()
CONTROL = ("<|im_start|>", "<|im_end|>")
SPLIT = ("退货".encode()[:2], "退货".encode()[2:])
"""One token ends in the middle of a character, the next goes on."""
WIDTH = 8


def make_student(folder: Path, *, endless: bool = False) -> Path:
    """A decoder with a past whose logits depend on every token and its position, and a byte-level vocabulary."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True)
    chars = {byte: char for char, byte in byte_alphabet().items()}
    words = [chars[byte] for byte in range(256)] + ["".join(chars[byte] for byte in piece) for piece in SPLIT]
    tokenizer = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in CONTROL])
    tokenizer.save(str(folder / "tokenizer.json"))

    size, rng = len(words) + len(CONTROL), np.random.default_rng(5)
    table = rng.normal(size=(size, size)).astype(np.float32)
    shown = [*range(ord("a"), ord("z") + 1), ord(" "), 256, *([] if endless else [size - 1])]
    table[:, [number for number in range(size) if number not in shown]] -= 100
    table[256, 257] = 1000  # the second half of the characters follows the first
    parts = {
        "embedding": rng.normal(size=(size, WIDTH)).astype(np.float32),
        "positions": rng.normal(size=(70000, WIDTH)).astype(np.float32),
        "table": table,
        "output": rng.normal(size=(WIDTH, size)).astype(np.float32),
        "one": np.array([1], dtype=np.int64),
        "two": np.array([2], dtype=np.int64),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["embedding", "input_ids"], ["words"]),
            helper.make_node("Gather", ["positions", "position_ids"], ["places"]),
            helper.make_node("Mul", ["words", "places"], ["both"]),
            helper.make_node("Unsqueeze", ["both", "one"], ["keys"]),
            helper.make_node("Concat", ["past_key_values.0.key", "keys"], ["present.0.key"], axis=2),
            helper.make_node("ReduceMean", ["present.0.key", "two"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "output"], ["seen"]),
            helper.make_node("Gather", ["table", "input_ids"], ["next"]),
            helper.make_node("Add", ["next", "seen"], ["logits"]),
        ],
        "student",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "n"]),
            helper.make_tensor_value_info("position_ids", TensorProto.INT64, [1, "n"]),
            helper.make_tensor_value_info("past_key_values.0.key", TensorProto.FLOAT, [1, 1, "past", WIDTH]),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "n", size]),
            helper.make_tensor_value_info("present.0.key", TensorProto.FLOAT, [1, 1, "all", WIDTH]),
        ],
        [numpy_helper.from_array(value, name) for name, value in parts.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / "model.onnx"))
    return folder


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_student(tmp_path_factory.mktemp("student") / "onnx")


@pytest.fixture
def engine(student: Path) -> Iterator[OnnxEngine]:
    with OnnxEngine(student, context_tokens=2048, threads=1, queue_limit=2) as opened:
        yield opened


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[OnnxEngine]:
    with OnnxEngine(make_student(tmp_path / "onnx", endless=True), context_tokens=60000, threads=1) as opened:
        yield opened


def greedy(folder: Path, tokens: list[int], count: int) -> str:
    """What the model's own logits say, each computed from the whole of what is before."""
    words, written = JsonVocabulary(folder), list(tokens)
    model = OnnxModel(folder, threads=1)
    for _ in range(count):
        model.clear()
        token = int(np.argmax(model.read(written)))
        if token == words.control_token(CONTROL[1]):
            break
        written.append(token)
    return b"".join(words.piece(token) for token in written[len(tokens) :]).decode("utf-8", "ignore")


def write(engine: TextEngine, text: str, **params: object) -> str:
    stop = frozenset({engine.vocab.control_token(CONTROL[1])})
    generation = engine.generate(
        engine.vocab.encode(text, control=True),
        SamplingParams(stop=stop, **params),
        NEVER,  # type: ignore[arg-type]
    )
    return "".join(piece.text for piece in generation)


@pytest.mark.parametrize("text", ["?", "多长时间内可以退货？" * 20, "x" * (3 * SLICE_TOKENS + 1)])
def test_onnx_answer_is_what_the_logits_say(engine: OnnxEngine, student: Path, text: str) -> None:
    wanted = greedy(student, engine.vocab.encode(text, control=True), 60)
    assert write(engine, text, max_tokens=60) == wanted
    assert write(engine, text, max_tokens=60) == wanted  # its beginning is in memory now
    assert "\ufffd" not in wanted


def test_onnx_answer_has_whole_characters(engine: OnnxEngine) -> None:
    texts = [write(engine, f"{number}", max_tokens=80) for number in range(20)]
    assert any("退货" in text for text in texts)


def test_onnx_prompt_prefix_is_not_read_again(engine: OnnxEngine) -> None:
    first = engine.vocab.encode("What was asked before, and is asked again. ", control=False)
    for more, reused in (("One", 0), ("Two", len(first))):
        asked = engine.generate(
            [*first, *engine.vocab.encode(more, control=False)], SamplingParams(max_tokens=1), NEVER
        )
        list(asked)
        assert asked.stats.reused_tokens == reused
        assert (asked.stats.layout, asked.stats.layout_reason) == ("exact", "")


def test_onnx_prefetch_leaves_the_last_words_and_can_be_forgotten(engine: OnnxEngine) -> None:
    def encode(text: str) -> tuple[int, ...]:
        return tuple(engine.vocab.encode(text, control=False))

    typed = Prompt(encode("Rules."), (encode("Article."),), encode("How long may"))
    for forget in (False, True):
        list(engine.prefetch(typed, NEVER, conversation="c"))
        if forget:
            engine.forget("c")
        asked = engine.generate(
            Prompt(typed.system, typed.articles, encode("How long may I?")), SamplingParams(max_tokens=1), NEVER,
            conversation="c",
        )  # fmt: skip
        list(asked)
        assert (asked.stats.reused_tokens >= len(typed) - 1) != forget


def test_onnx_engine_queues_refuses_and_cancels_like_llama_cpp(endless: OnnxEngine) -> None:
    """Places, refusals and cancels are `runtime.engine.core.scheduler`'s, as for llama.cpp."""
    tokens = endless.vocab.encode("?", control=False)
    first = endless.generate(tokens, SamplingParams(max_tokens=50_000), NEVER)
    next(iter(first))
    waiting = [endless.generate(tokens, SamplingParams(max_tokens=1), NEVER) for _ in range(endless.queue_limit)]
    with pytest.raises(UnavailableError, match="waiting already"):
        endless.generate(tokens, SamplingParams(max_tokens=1), NEVER)
    assert next(waiting[0].updates()) == Place(1, pytest.approx(0, abs=1e9))
    late = waiting.pop()
    late.close()
    first.close()
    list(first)
    assert first.stats.finish == "cancelled"
    assert 0 < first.stats.answer_tokens < 50_000
    for one in waiting:
        list(one)
        assert one.stats.answer_tokens == 1
    with pytest.raises(InputError, match="the context holds 60000"):
        endless.generate([1] * 60_000, SamplingParams(), NEVER)


def test_onnx_refuses_what_it_cannot_do_by_name(engine: OnnxEngine, tmp_path: Path, student: Path) -> None:
    compiled = engine.compile(Prompt((1,), ((2,),), ()), NEVER)
    assert list(compiled) == []
    with pytest.raises(ModelError, match="cannot end an answer"):
        engine.vocab.control_token("ab")
    (tmp_path / "tokenizer.json").write_bytes((student / "tokenizer.json").read_bytes())
    with pytest.raises(MissingError, match=r"model\.onnx"):
        OnnxEngine(tmp_path, context_tokens=64, threads=1)
    (tmp_path / "model.onnx").write_bytes(os.urandom(200))
    with pytest.raises(ModelError, match="onnxruntime"):
        OnnxEngine(tmp_path, context_tokens=64, threads=1)
    told = json.loads((student / "tokenizer.json").read_text()) | {"decoder": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match="pieces of bytes"):
        OnnxEngine(tmp_path, context_tokens=64, threads=1)


rows = st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=30).map(lambda row: np.array(row, np.float32))


@given(rows, st.floats(0.1, 2), st.floats(0.05, 0.99), st.integers(0, 99))
def test_numpy_sampler_draws_within_top_p_and_by_its_seed(
    logits: np.ndarray, temperature: float, top_p: float, seed: int
) -> None:
    order = np.argsort(-logits.astype(np.float64), kind="stable")
    shares = np.exp(logits.astype(np.float64) - logits.max())
    shares /= shares.sum()
    kept = order[: int(np.searchsorted(np.cumsum(shares[order]), top_p)) + 1]
    params = SamplingParams(temperature=temperature, top_p=top_p, seed=seed)
    one, other = NumpySampler(params), NumpySampler(params)
    drawn = [one.next(logits) for _ in range(8)]
    assert drawn == [other.next(logits) for _ in range(8)]
    assert set(drawn) <= set(kept.tolist())
    assert NumpySampler(SamplingParams()).next(logits) == int(np.argmax(logits))


def test_numpy_sampler_draws_by_the_probabilities() -> None:
    draw = NumpySampler(SamplingParams(temperature=1.0))
    counts = np.bincount([draw.next(np.log(np.array([0.5, 0.3, 0.2], np.float32))) for _ in range(4000)])
    assert np.abs(counts / 4000 - [0.5, 0.3, 0.2]).max() < 0.03


@pytest.mark.parametrize("question", ["How long can I return an item?", "大多数商品多长时间内可以退货？"])
def test_a_branch_answers_with_it_and_says_how_its_prompts_are_read(
    make_bundle: Callable[..., Path], student: Path, tmp_path: Path, question: str
) -> None:
    import shutil

    root = make_bundle()
    spec = json.loads((root / "prompt.json").read_text(encoding="utf-8"))
    spec |= {"layout": "parallel", "languages": ["en", "zh"], "answer_tokens": 40}
    (root / "prompt.json").write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
    write_manifest(root, "bundle", {}, {"name": "shop", "version": "1"})
    home, settings = tmp_path / "home", Settings(threads=1, runtime="onnx")
    install(root, home)
    with pytest.raises(MissingError, match="no ONNX student"), lock_home(home, "test"), open_desk(home, settings):
        pass
    shutil.copytree(student, root / "onnx")
    write_manifest(root, "bundle", {}, {"name": "shop", "version": "2"})
    install(root, home)
    with lock_home(home, "test"), open_desk(home, settings) as desk:
        done = list(desk.ask(AskRequest(question=question, conversation="talk"), NEVER))[-1]
        (turn,) = desk.journal.turns("talk")
        assert (desk.engine.layout, desk.engine.layout_reason) == ("exact", "onnxruntime reads prompts exactly")
    assert isinstance(done, Done)
    assert done.model == "shop-1/onnx"
    assert done.layout == "exact"
    assert done.answer_tokens > 0
    assert done.decided == "model"
    assert turn.details.layout_reason == "onnxruntime reads prompts exactly"


def test_llama_cpp_is_not_needed(student: Path) -> None:
    code = (
        "import sys, threading; sys.modules['llama_cpp'] = None\n"
        "from pathlib import Path\nfrom runtime.engine.core.sampling_params import SamplingParams\n"
        "from runtime.engine.onnx.engine import OnnxEngine\n"
        "with OnnxEngine(Path(sys.argv[1]), context_tokens=99, threads=1) as engine:\n"
        "    for piece in engine.generate([65], SamplingParams(max_tokens=5), threading.Event()): print(piece.text)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(student)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
