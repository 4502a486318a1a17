"""Training: the student comes nearer to its teacher, nothing moves that must not, and a broken run says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.compute.checkpoints import last_checkpoint
from distill.packing.forward import forward
from distill.packing.packing import Pack
from distill.recipe.settings import DistillSettings, LoraSettings
from distill.student.depth_pruning import prune_depth
from distill.student.divergence import hold_out, measure_divergence
from distill.student.losses import topk_kl
from distill.student.merge_lora import save_checkpoint
from distill.student.training import DistillationLoss, distill, tune
from distill.teacher.capture import Captured, capture, read_capture
from runtime.errors import ModelError, SpaceError, UsageError
from tests.distill.conftest import disk_of

OpenModel = Callable[..., Any]


def ignore(_tokens: int) -> None:
    pass


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.fixture(scope="module")
def teacher(tiny_llama: Path, open_model: OpenModel) -> Any:
    return open_model(tiny_llama)


@pytest.fixture(scope="module")
def captured(teacher: Any, packs: list[Pack], tmp_path_factory: pytest.TempPathFactory) -> list[Captured]:
    path = tmp_path_factory.mktemp("capture") / "c.parquet"
    capture(
        teacher, packs, path, k=256, states=True, precision="f32"
    )  # a random teacher is sure of nothing: 32 hold little of it
    return list(read_capture(path))


@pytest.fixture
def student(tiny_llama: Path, open_model: OpenModel) -> Any:
    return prune_depth(open_model(tiny_llama), [0, 1, 3])


def test_distilling_brings_the_student_nearer_to_its_teacher(
    student: Any, teacher: Any, captured: list[Captured], packs: list[Pack], tmp_path: Path, capfd: Any
) -> None:
    held_out = tmp_path / "held_out.safetensors"
    hold_out(teacher, packs, held_out, precision="f32")
    before = measure_divergence(student, packs, held_out, precision="f32")
    seen: list[int] = []
    settings = DistillSettings(learning_rate=2e-3, epochs=8, ce_weight=0, precision="f32")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    figures = distill(student, captured, settings, scratch, seen.append)
    after = measure_divergence(student, packs, held_out, precision="f32")
    assert after["kl"] < 0.5 * before["kl"]
    assert figures["loss_last_quarter"] < 0.7 * figures["loss_first_quarter"]
    assert figures["steps"] == figures["packs"] == 8 * len(packs)
    assert sum(seen) == 8 * sum(len(pack.tokens) for pack in packs)
    assert capfd.readouterr().out == ""  # stdout is data
    assert list(scratch.iterdir()) == []


def test_distilling_leaves_the_embeddings_as_they_are(student: Any, captured: list[Captured], tmp_path: Path) -> None:
    before = weights(student)
    distill(student, captured[:2], DistillSettings(learning_rate=1e-2, precision="f32"), tmp_path, ignore)
    changed = {name for name, weight in student.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == set(before) - {"model.embed_tokens.weight"}


@pytest.mark.parametrize("chunk", [7, 10_000])
def test_distillation_loss_is_the_one_described_however_positions_are_cut(
    chunk: int, student: Any, captured: list[Captured]
) -> None:
    """KL on replies + state_weight × error of the states + ce_weight × cross-entropy on replies."""
    (row, *_) = captured
    with torch.no_grad():
        states = forward(student, row.pack)
        logits = student.lm_head(states[row.index.tolist()])
    kl = topk_kl(logits, torch.from_numpy(row.ids).long(), torch.from_numpy(row.logprobs))
    words = torch.tensor([row.pack.tokens[place + 1] for place in row.index])
    ce = torch.nn.functional.cross_entropy(logits, words)
    theirs = torch.from_numpy(row.states).float()
    error = ((states - theirs) ** 2).sum(-1) / (theirs**2).sum(-1)
    wanted = kl.mean() + 0.7 * error.mean() + 0.2 * ce
    loss = DistillationLoss(DistillSettings(state_weight=0.7, ce_weight=0.2), chunk=chunk)
    assert loss(student, row).item() == pytest.approx(wanted.item(), abs=2e-4)


def test_states_that_were_not_captured_cannot_be_matched(
    student: Any, captured: list[Captured], tmp_path: Path
) -> None:
    bare = [replace(row, states=None) for row in captured]
    with pytest.raises(UsageError, match="state_weight"):
        distill(student, bare, DistillSettings(state_weight=1), tmp_path, ignore)


def test_another_layout_learns_no_states_of_articles(
    student: Any, captured: list[Captured], tmp_path: Path, capfd: Any
) -> None:
    """They see other tokens than the teacher's did; questions and replies behind them see all of them in both."""
    row = captured[0]
    assert row.pack.articles
    assert row.states is not None
    other = row.laid_out(replace(row.pack, layout="sequential"))
    assert other.states is not None
    assert (other.states == row.states[row.pack.prefix :]).all()
    assert row.laid_out(row.pack) == row
    with torch.no_grad():
        wanted = torch.from_numpy(other.states).float()
        error = (forward(student, other.pack)[row.pack.prefix :] - wanted).square().sum(-1) / wanted.square().sum(-1)
    far = DistillSettings(learning_rate=1e-9, state_weight=1e6, precision="f32")
    figures = distill(student, [other], far, tmp_path, ignore)
    assert figures["loss_first_quarter"] == pytest.approx(1e6 * float(error.mean()), rel=1e-3)


def test_steps_are_packs_over_what_is_accumulated(student: Any, captured: list[Captured], tmp_path: Path) -> None:
    settings = DistillSettings(accumulate=2, precision="f32", epochs=2)
    figures = distill(student, captured[:3], settings, tmp_path, ignore)
    assert figures["steps"] == 3


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("f32", torch.float32)])
def test_the_precision_asked_for_is_the_one_that_runs(
    precision: str, dtype: torch.dtype, student: Any, captured: list[Captured], tmp_path: Path
) -> None:
    seen = set()
    student.model.layers[1].mlp.down_proj.register_forward_hook(lambda _m, _i, out: seen.add(out.dtype))
    distill(student, captured[:1], DistillSettings(precision=precision), tmp_path, ignore)
    assert seen == {dtype}
    assert {weight.dtype for weight in student.parameters()} == {torch.float32}


def test_a_loss_that_is_no_number_stops_the_run(student: Any, captured: list[Captured], tmp_path: Path) -> None:
    settings = DistillSettings(learning_rate=1e30, max_grad_norm=1e30, warmup=0, precision="f32", epochs=4)
    with pytest.raises(ModelError, match=r"the loss became (nan|inf)") as error:
        distill(student, captured, settings, tmp_path, ignore)
    assert "learning_rate" in error.value.hint


def test_the_same_seed_trains_the_same_student(
    tiny_llama: Path, open_model: OpenModel, captured: list[Captured], tmp_path: Path
) -> None:
    def trained(seed: int) -> dict[str, torch.Tensor]:
        model = prune_depth(open_model(tiny_llama), [0, 3])
        distill(model, captured, DistillSettings(precision="f32", seed=seed), tmp_path, ignore)
        return weights(model)

    first, second, other = trained(1), trained(1), trained(2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_tuning_moves_adapters_only_and_learns_the_replies(
    student: Any, packs: list[Pack], tmp_path: Path, capfd: Any
) -> None:
    before = weights(student)
    settings = LoraSettings(learning_rate=5e-3, rank=8, epochs=6, precision="f32")
    wrapped, figures = tune(student, packs, settings, tmp_path, ignore)
    assert figures["loss_last_quarter"] < 0.7 * figures["loss_first_quarter"]
    assert capfd.readouterr().out == ""
    base, adapters = {}, {}
    for name, weight in wrapped.get_base_model().named_parameters():
        if ".lora_" in name:
            adapters[name] = weight
        else:
            base[name.replace(".base_layer", "")] = weight
    assert base.keys() == before.keys()
    assert all(torch.equal(weight, before[name]) for name, weight in base.items())
    assert {name.split(".")[-4] for name in adapters if "lora_A" in name} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert all(weight.abs().max() > 0 for name, weight in adapters.items() if "lora_B" in name)


def test_the_same_seed_tunes_the_same_adapters(
    tiny_llama: Path, open_model: OpenModel, packs: list[Pack], tmp_path: Path
) -> None:
    def tuned(seed: int, state: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(state)
        settings = LoraSettings(rank=2, precision="f32", seed=seed)
        return weights(tune(open_model(tiny_llama), packs, settings, tmp_path, ignore)[0])

    first, second, other = tuned(1, 10), tuned(1, 20), tuned(2, 10)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first if "lora_A" in name)


def test_tuning_teaches_no_word_of_a_question(
    tiny_llama: Path, open_model: OpenModel, packs: list[Pack], tmp_path: Path
) -> None:
    """Another last question token changes what is predicted, never what is to be predicted: replies only."""
    (pack, *_) = packs
    start, reply, end = pack.branches[0]
    alone = Pack(pack.tokens[:end], pack.prefix, ((start, reply, end),), pack.records[:1])
    settings = LoraSettings(learning_rate=1e-2, rank=8, epochs=30, precision="f32")
    wrapped, _ = tune(open_model(tiny_llama), [alone], settings, tmp_path, ignore)
    with torch.no_grad():
        logits = wrapped.get_base_model()(torch.tensor([alone.tokens])).logits[0].argmax(-1)
    hits = [bool(logits[index] == alone.tokens[index + 1]) for index in range(end - 1)]
    assert all(hits[reply - 1 :])
    assert sum(hits[: reply - 1]) < len(hits[: reply - 1]) / 2


def test_every_loss_by_name_brings_the_student_nearer(
    tiny_llama: Path, open_model: OpenModel, teacher: Any, captured: list[Captured], packs: list[Pack], tmp_path: Path
) -> None:
    held_out = tmp_path / "held_out.safetensors"
    hold_out(teacher, packs, held_out, precision="f32")
    for loss in ("forward_kl", "reverse_kl", "jsd"):
        student = prune_depth(open_model(tiny_llama), [0, 1, 3])
        before = measure_divergence(student, packs, held_out, precision="f32")
        settings = DistillSettings(loss=loss, learning_rate=2e-3, epochs=4, precision="f32")
        distill(student, captured, settings, tmp_path, ignore)
        assert measure_divergence(student, packs, held_out, precision="f32")["kl"] < 0.8 * before["kl"], loss


def test_without_a_loss_only_the_replies_teach(
    tiny_llama: Path, open_model: OpenModel, captured: list[Captured], tmp_path: Path
) -> None:
    """`none` does not look at the teacher: another one gives the same student, and the replies get likelier."""
    settings = DistillSettings(loss="none", ce_weight=1, learning_rate=2e-3, epochs=4, precision="f32")
    lost = [replace(row, ids=row.ids * 0, logprobs=row.logprobs * 0) for row in captured]
    learned = [prune_depth(open_model(tiny_llama), [0, 1, 3]) for _ in range(2)]
    figures = [
        distill(student, rows, settings, tmp_path, ignore)
        for student, rows in zip(learned, (captured, lost), strict=True)
    ]
    assert figures[0] == figures[1]
    assert figures[0]["loss_last_quarter"] < 0.9 * figures[0]["loss_first_quarter"]
    assert weights(learned[0]).keys() == weights(learned[1]).keys()
    assert all(torch.equal(one, weights(learned[1])[name]) for name, one in weights(learned[0]).items())


def test_with_a_rank_adapters_learn_and_end_up_in_the_weights(
    student: Any, captured: list[Captured], tmp_path: Path
) -> None:
    before = weights(student)
    settings = DistillSettings(rank=4, modules=("q_proj", "down_proj"), learning_rate=1e-2, epochs=2, precision="f32")
    figures = distill(student, captured, settings, tmp_path, ignore)
    assert figures["packs"] == 2 * len(captured)
    after = weights(student)
    assert after.keys() == before.keys()
    changed = {name.split(".")[-2] for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"q_proj", "down_proj"}


def test_adapters_on_a_layer_there_is_not_are_refused(student: Any, packs: list[Pack], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no layer 'query'") as error:
        tune(student, packs, LoraSettings(modules=("query",)), tmp_path, ignore)
    assert "q_proj" in error.value.hint


def test_a_pack_that_does_not_fit_into_memory_is_an_error_that_says_what_to_do(
    student: Any, packs: list[Pack], tmp_path: Path
) -> None:
    def full(*_: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    student.model.layers[0].register_forward_pre_hook(full)
    with pytest.raises(ModelError, match="out of memory at a pack of") as error:
        tune(student, packs, LoraSettings(precision="f32"), tmp_path, ignore)
    assert "packing.tokens" in error.value.hint


def test_a_disk_that_fills_up_is_said_and_the_checkpoint_before_stays(
    tiny_llama: Path, open_model: OpenModel, packs: list[Pack], tmp_path: Path
) -> None:
    settings = LoraSettings(precision="f32", checkpoint_every=1, rank=2)
    tune(open_model(tiny_llama), packs[:1], settings, tmp_path / "kept", ignore)
    there = last_checkpoint(tmp_path / "kept")
    seen: list[int] = []
    for limit in (4_000, 60_000):  # the weights do not fit; they do, and the optimizer's state does not
        with disk_of(limit), pytest.raises(SpaceError, match="disk is full"):
            tune(open_model(tiny_llama), packs, settings, tmp_path / "full", seen.append)
    assert seen
    assert there is not None
    assert last_checkpoint(tmp_path / "kept") == there
    with disk_of(4_000), pytest.raises(SpaceError, match="disk is full"):
        save_checkpoint(open_model(tiny_llama), tiny_llama, tmp_path / "merged")


def test_frozen_weights_in_bf16_teach_adapters_and_stay_as_they_were(
    tiny_llama: Path, captured: list[Captured], packs: list[Pack], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    def load() -> Any:
        return AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.bfloat16, attn_implementation="sdpa")

    student, before = load(), load().state_dict()
    settings = DistillSettings(rank=4, alpha=64, learning_rate=0.05, frozen="bf16", modules=("v_proj",), epochs=4)
    figures = distill(student, captured, settings, tmp_path, ignore)
    assert figures["loss_last_quarter"] < figures["loss_first_quarter"]
    changed = {name.split(".")[-2] for name, weight in student.state_dict().items() if not weight.equal(before[name])}
    assert changed == {"v_proj"}
    wrapped, _ = tune(load(), packs, LoraSettings(rank=2, frozen="bf16"), tmp_path / "tuned", ignore)
    assert {weight.dtype for weight in wrapped.parameters()} == {torch.float32}  # merged and compared in f32
    with pytest.raises(ValueError, match="needs a rank"):
        DistillSettings(frozen="bf16")


def test_adapters_of_a_distillation_may_drop_inputs(
    tiny_llama: Path, open_model: OpenModel, captured: list[Captured], tmp_path: Path
) -> None:
    ends = []
    for name, dropout in (("all", 0.0), ("again", 0.0), ("some", 0.5)):
        student = open_model(tiny_llama)
        settings = DistillSettings(rank=2, learning_rate=0.01, modules=("v_proj",), precision="f32", dropout=dropout)
        distill(student, captured[:2], settings, tmp_path / name, ignore)
        ends.append(student.model.layers[0].self_attn.v_proj.weight.detach().clone())
    everything, again, some = ends
    assert torch.equal(everything, again)
    assert not torch.equal(everything, some)


def test_the_best_weights_on_what_is_held_back_come_out_and_a_run_that_only_gets_worse_stops(
    tiny_llama: Path, open_model: OpenModel, captured: list[Captured], tmp_path: Path
) -> None:
    student = prune_depth(open_model(tiny_llama), [0, 3])
    rows = captured * 8
    settings = DistillSettings(
        learning_rate=0.3, max_grad_norm=1e9, warmup=0, precision="f32", checkpoint_every=1, validation=1, patience=2
    )
    figures = distill(student, rows, settings, tmp_path, ignore)
    assert figures["steps"] < len(rows) - 1
    again = DistillSettings(learning_rate=1e-30, precision="f32")
    after = distill(student, rows[-1:], again, tmp_path / "again", ignore)["loss_first_quarter"]
    assert after == pytest.approx(figures["validation_loss"], abs=1e-3)


def test_validation_needs_checkpoints_and_something_left_to_learn_from(
    student: Any, packs: list[Pack], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="checkpoint_every"):
        LoraSettings(validation=1)
    with pytest.raises(UsageError, match="none left"):
        tune(student, packs, LoraSettings(validation=len(packs), checkpoint_every=1), tmp_path, ignore)
