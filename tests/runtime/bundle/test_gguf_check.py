from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from runtime.base.child_process import child_environment, module_command
from runtime.bundle import gguf_check, gguf_header_reader
from runtime.bundle.gguf_check import GgufHeader, check_gguf
from runtime.errors import MissingError, ModelError
from tests.support.branch import make_gguf
from tests.support.gguf_files import (
    ARRAY,
    BOOL,
    F32,
    I32,
    STRING,
    U32,
    U64,
    Gguf,
    array,
    load_in_children,
    mutate,
    text,
    tiny_gguf,
    u32,
)


def check(path: Path, data: bytes) -> GgufHeader:
    path.write_bytes(data)
    return check_gguf(path)


@pytest.mark.parametrize("tokenizer", ["gpt2", "llama"])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_gguf_header_of_a_sound_model_is_read(tmp_path: Path, tokenizer: str, architecture: str) -> None:
    model = tiny_gguf(tokenizer, architecture)
    found = check(tmp_path / "m.gguf", bytes(model))
    assert (found.version, found.architecture, found.layers) == (3, architecture, 1)
    assert found.tensors == tuple(name for name, *_ in model.tensors)
    assert found.data_start % 32 == 0


def test_gguf_header_agrees_with_the_reference_reader(tmp_path: Path) -> None:
    path = make_gguf(tmp_path / "m.gguf", script="Sure. 好的。", template="{{ messages }}")
    found, oracle = check_gguf(path), gguf.GGUFReader(path)
    assert found.tensors == tuple(tensor.name for tensor in oracle.tensors)
    assert found.data_start == oracle.data_offset
    assert found.tokens == len(oracle.fields["tokenizer.ggml.tokens"].data)


def test_gguf_tensor_sizes_are_those_of_the_reference() -> None:
    for number, sizes in gguf_check._TENSOR_TYPES.items():
        assert sizes == gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(number)]


Change = Callable[[Gguf], Gguf]


def entry(name: str, kind: int, value: bytes) -> Change:
    return lambda model: model.with_entry(name, kind, value)


def tensor(place: int, **change: object) -> Change:
    def apply(model: Gguf) -> Gguf:
        tensors = list(model.tensors)
        parts = dict(zip(("name", "shape", "kind", "offset"), tensors[place], strict=True)) | change
        tensors[place] = tuple(parts.values())  # type: ignore[call-overload]
        return replace(model, tensors=tuple(tensors))

    return apply


TOKENS = "tokenizer.ggml.tokens"
WRONG: list[tuple[str, Change]] = [
    ("not a GGUF file", lambda model: replace(model, magic=b"FUGG")),
    ("version 1,", lambda model: replace(model, version=1)),
    ("version 50,331,648", lambda model: replace(model, version=3 << 24)),
    ("0 tensors", lambda model: replace(model, counts=(0, len(model.entries)))),
    ("tensors: .* more than any model", lambda model: replace(model, counts=(2**63, len(model.entries)))),
    ("entries: .* more than any model", lambda model: replace(model, counts=(12, 2**64 - 1))),
    ("is there twice", lambda model: replace(model, entries=(*model.entries, model.entries[0]))),
    ("an entry is called", entry("a\x1b[31m", *u32(1))),
    ("unknown type 99", entry("general.x", 99, b"")),
    ("list of the unknown type 9", entry("general.x", ARRAY, struct.pack("<IQ", ARRAY, 1) + bytes(12))),
    ("'general.x'", entry("general.x", ARRAY, struct.pack("<IQ", U32, 2**62))),
    ("strings|'general.x'", entry("general.x", ARRAY, struct.pack("<IQ", STRING, 2**40))),
    ("length in bytes", entry("general.x", STRING, struct.pack("<Q", 2**63))),
    ("not UTF-8", entry("general.x", STRING, text(b"\xff\xfe"))),
    ("neither true nor false", entry("general.x", BOOL, b"\x02")),
    ("is nan", entry("general.x", F32, struct.pack("<f", float("nan")))),
    ("alignment of 24", entry("general.alignment", *u32(24))),
    ("alignment of 0", entry("general.alignment", *u32(0))),
    ("wrong type", entry("general.alignment", U64, struct.pack("<Q", 32))),
    ("'general.architecture' is missing", lambda model: model.without_entry("general.architecture")),
    ("kind 'adapter', not a model", entry("general.type", STRING, text("adapter"))),
    (r"shard 1 of 3 of a split model", lambda m: m.with_entry("split.count", *u32(3)).with_entry("split.no", *u32(1))),
    ("known are gpt2", entry("tokenizer.ggml.model", STRING, text("t5"))),
    ("'tokenizer.ggml.tokens' is missing", lambda model: model.without_entry(TOKENS)),
    ("'tokenizer.ggml.tokens' has the wrong type", entry(TOKENS, *array(U32, [bytes(4)] * 130))),
    ("a vocabulary of 3 tokens", entry(TOKENS, *array(STRING, [text(one) for one in "abc"]))),
    ("two tokens are equal", entry(TOKENS, *array(STRING, [text("a")] * 130))),
    ("not UTF-8", entry(TOKENS, *array(STRING, [text(b"\xc3")] * 130))),
    ("is empty", entry(TOKENS, *array(STRING, [text(""), *(text(f"t{n}") for n in range(129))]))),
    ("'tokenizer.ggml.scores' has 129 values", entry("tokenizer.ggml.scores", *array(F32, [bytes(4)] * 129))),
    ("'tokenizer.ggml.token_type' has 131", entry("tokenizer.ggml.token_type", *array(I32, [bytes(4)] * 131))),
    ("unknown type", entry("tokenizer.ggml.token_type", *array(I32, [b"\x63\0\0\0"] * 130))),
    ("not spelt <0x00>", entry("tokenizer.ggml.token_type", *array(I32, [b"\x06\0\0\0"] * 130))),
    ("'tokenizer.ggml.eos_token_id' is 130", entry("tokenizer.ggml.eos_token_id", *u32(130))),
    ("names a token that is not there", entry("tokenizer.ggml.suppress_tokens", *array(U32, [b"\xff\0\0\0"]))),
    ("'tokenizer.ggml.merges' is missing", lambda model: model.without_entry("tokenizer.ggml.merges")),
    ("'llama.block_count' is 0", entry("llama.block_count", *u32(0))),
    ("'llama.block_count' is 513", entry("llama.block_count", *u32(513))),
    ("head_count' is outside", entry("llama.attention.head_count", *u32(0))),
    ("multiple of key-value heads", entry("llama.attention.head_count_kv", *u32(3))),
    ("rotations of 4", entry("llama.rope.dimension_count", *u32(4))),
    ("is -1", entry("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", -1))),
    ("known are none", entry("llama.rope.scaling.type", STRING, text("circular"))),
    ("0 of 4 experts", entry("llama.expert_count", *u32(4))),
    ("not a causal model", entry("llama.attention.causal", BOOL, b"\0")),
    ("5 dimensions", tensor(0, shape=(1, 1, 1, 1, 1))),
    ("has the shape", tensor(0, shape=(0, 130))),
    ("has the shape", tensor(0, shape=(2**62, 4))),
    ("unknown type 15", tensor(0, kind=15)),
    ("in blocks of 256", tensor(0, kind=12)),
    ("a vector that is not f32", tensor(1, kind=1)),
    ("begins at 64", tensor(0, offset=64)),
    ("is there twice", tensor(1, name="token_embd.weight")),
    ("length in bytes", tensor(0, name="x" * 64)),
    ("ends? behind the file's end", lambda model: replace(model, data=model.data[:-64])),
    ("is called b''", lambda model: replace(model, tensors=(), counts=(12, len(model.entries)))),
]


@pytest.mark.parametrize(
    ("message", "change"), WRONG, ids=[f"{i}-{message[:30]}" for i, (message, _) in enumerate(WRONG)]
)
def test_gguf_header_that_is_wrong_is_refused_naming_what(tmp_path: Path, message: str, change: Change) -> None:
    """Part of S5: every rule by itself."""
    path = tmp_path / "模型.gguf"
    with pytest.raises(ModelError, match=message) as caught:
        check(path, bytes(change(tiny_gguf())))
    assert caught.value.where == str(path)
    assert caught.value.what.isprintable()


def test_gguf_vocabulary_of_sentencepiece_needs_its_bytes(tmp_path: Path) -> None:
    model = tiny_gguf("llama").without_entry("tokenizer.ggml.token_type")
    (tokens,) = (value for name, _, value in model.entries if name == TOKENS)
    with pytest.raises(ModelError, match="256 byte tokens"):
        check(tmp_path / "m.gguf", bytes(model.with_entry(TOKENS, ARRAY, tokens.replace(b"<0x41>", b"<0xZZ>"))))


@pytest.mark.parametrize("left", [0, 3, 23, 24, 100, 1000, 3000])
def test_gguf_that_was_cut_is_refused(tmp_path: Path, left: int) -> None:
    with pytest.raises(ModelError, match=r"not a GGUF file|ends in the middle"):
        check(tmp_path / "m.gguf", bytes(tiny_gguf())[:left])


def test_gguf_shard_is_told_how_to_be_joined(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        check(tmp_path / "m.gguf", bytes(tiny_gguf().with_entry("split.count", *u32(2))))
    assert "llama-gguf-split --merge" in caught.value.hint


def test_gguf_that_is_not_there_is_missing(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(MissingError):
            check_gguf(path)


def small_vocabulary() -> Gguf:
    """Without the lists that must be as long as the vocabulary, which is replaced."""
    return tiny_gguf().without_entry("tokenizer.ggml.scores").without_entry("tokenizer.ggml.token_type")


def hostile() -> dict[str, bytes]:
    """Files that ask for as much work and memory as their size allows."""
    room = gguf_header_reader.MAX_HEADER_BYTES
    many = room // 9
    model = small_vocabulary()
    return {
        "merges": bytes(
            model.with_entry(
                "tokenizer.ggml.merges", *array(STRING, [text("a")] * (gguf_header_reader.MAX_STRINGS - 200))
            )
        ),
        "too many strings": bytes(model.with_entry("general.x", *array(STRING, [text("a")] * many))),
        "tokens": bytes(
            model.with_entry(TOKENS, *array(STRING, [text(f"token {n}") for n in range(gguf_header_reader.MAX_TOKENS)]))
        ),
        "numbers": bytes(model.with_entry("general.x", *array(U64, [bytes(8)] * (room // 8 - 4000)))),
        "one text": bytes(model.with_entry("general.x", STRING, text("a" * (room + 100)))),
        "entries": bytes(replace(model, entries=(*model.entries, *((f"general.x{n}", *u32(n)) for n in range(4050))))),
    }


MEASURED = """
import sys, time
from pathlib import Path
from runtime.bundle.gguf_check import check_gguf
from runtime.errors import ModelError

def kilobytes(name):
    # Of this program alone: what getrusage tells begins with what the parent had.
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

before, began = kilobytes("VmRSS"), time.process_time()
try:
    check_gguf(Path(sys.argv[1]))
except ModelError:
    pass
print(time.process_time() - began, (kilobytes("VmHWM") - before) / 1024)
"""


def test_gguf_check_is_bounded_in_memory_and_time(tmp_path: Path) -> None:
    """Part of S5: at most 50 MB, and no longer than a small multiple of what a large real vocabulary takes."""
    words = [text(f"word {number}") for number in range(262_144)]
    # A vocabulary of Gemma's size is the measure of time: ratios within one run hold on any machine.
    merges = array(STRING, words * 2)
    real = small_vocabulary().with_entry(TOKENS, *array(STRING, words)).with_entry("tokenizer.ggml.merges", *merges)
    seconds = {}
    for name, data in {"real": bytes(real), **hostile()}.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(data)
        command = [*module_command("runtime")[:2], "-c", MEASURED, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=True)
        seconds[name], megabytes = map(float, done.stdout.split())
        sys.stderr.write(f"{name}: {len(data) / 1e6:.0f} MB file, {seconds[name]:.2f} s, {megabytes:.0f} MB\n")
        assert megabytes <= 50, name
        path.unlink()
    assert max(seconds.values()) <= 4 * seconds["real"]


def test_gguf_check_reads_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(bytes(tiny_gguf()))
    os.truncate(path, 1 << 40)
    assert check_gguf(path).tokens == 130


TRIALS = 10_000


def test_gguf_files_that_pass_the_check_never_end_llama_cpp(
    tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S5: mutated headers are refused before C code sees them, or load in a child without its end."""
    chance = random.Random(20261130)
    models = [tiny_gguf("gpt2"), tiny_gguf("llama")]
    accepted = []
    for number in range(TRIALS):
        path = tmp_path / f"{number}.gguf"
        try:
            check(path, mutate(models[number % 2], chance))
        except ModelError as error:
            assert error.what.isprintable()  # noqa: PT017 - of every refusal
            path.unlink()
        else:
            accepted.append(path)
    outcomes = load_in_children(accepted)
    count = Counter(outcome.partition(":")[0] for outcome in outcomes.values())
    sys.stderr.write(
        f"S5: {TRIALS} mutated headers, {TRIALS - len(accepted)} refused by the check, the others: {dict(count)}\n"
    )
    assert outcomes.keys() == set(accepted)
    assert [path for path, outcome in outcomes.items() if outcome.startswith("died")] == []
    # The trials are worth something only where both sides are well filled, and files that were accepted are used.
    assert len(accepted) >= TRIALS // 20
    assert count["decoded"] >= len(accepted) // 2
    count_trials("S5", TRIALS)
