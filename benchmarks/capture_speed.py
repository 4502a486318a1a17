"""Claim: distillation from a capture trains at least twice the tokens a second of TRL's GKD trainer.

Both teach the same student (SmolLM2-135M cut to 20 of its 30 layers) on the same records with the same loss, forward
KL on reply tokens; TRL's trainer keeps the teacher in memory and asks it at every step, the project reads what the
teacher said once. Two comparisons, in turns within one run:

    same records     a step is some eight records about the same articles, the batch of a build: TRL reads each with its
                     articles as a sequence of its own, the project reads the articles once; the bar is on this one
    same sequences   a step is one record, one sequence, alike token by token: what the capture alone brings

Tokens are those of the records' own prompts and replies, counted alike for both. Reading the teacher once is left out
of the project's time and printed beside it, in seconds a token.

    python benchmarks/capture_speed.py [--steps 6] [--threads 2] [--quick] [--json]

The peer comes with `pip install trl==1.16.0` (the group `bench` of pyproject.toml).
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from _harness import SHOP, Bar, Run, begin, in_turns, main, median, spread

from distill.compute.device import bf16_is_faster, go_offline
from distill.models.catalogue import open_base
from distill.models.chat_template import chat_pieces
from distill.packing.packing import Pack, PackLimits, pack_records
from distill.recipe.settings import DistillSettings
from distill.student.depth_pruning import prune_depth
from distill.student.training import distill
from distill.teacher.capture import Captured, capture, read_capture
from runtime.base.files import read_text
from runtime.base.progress import say
from runtime.errors import MissingError
from runtime.prompting.json_tokenizer import JsonTokenizer
from runtime.prompting.prompt_spec import PromptSpec
from runtime.text.articles import load_articles
from runtime.text.records import Record

BARS = {"same records": Bar(least=2.0)}
LAYERS = 20
IGNORED = -100
"""TRL's label of tokens that are not learned."""


def rate(ends: Sequence[float], packs: Sequence[Pack]) -> float:
    """Tokens a second from the ends of steps, one a pack; the first step, in which kernels are made, is not counted.

    The order of the packs is the trainer's own, so each counts as the mean of all.
    """
    steps = len(ends) - 1
    return steps / len(packs) * sum(map(own_tokens, packs)) / (ends[-1] - ends[0])


def own_tokens(pack: Pack) -> int:
    """Tokens of a pack's records when each stands alone."""
    return sum(pack.prefix + end - start for start, _, end in pack.branches)


def sequences(pack: Pack) -> list[tuple[list[int], int]]:
    """Each record of a pack alone: its tokens and where its reply starts."""
    prefix = list(pack.tokens[: pack.prefix])
    return [([*prefix, *pack.tokens[start:end]], pack.prefix + reply - start) for start, reply, end in pack.branches]


def make_packs(checkpoint: Path, steps: int) -> tuple[list[Pack], list[Pack]]:
    """`steps` packs of one record, and as many of several, out of the example shop's articles."""
    sections = {s.ref: s for article in load_articles(SHOP / "en" / "articles") for s in article.sections}
    spec = PromptSpec(
        pieces=chat_pieces(checkpoint),
        system={"en": read_text(SHOP / "en" / "house-rules.md").strip()},
        refusal={"en": ""},
        languages=("en",),
    )
    refs = list(sections)
    records = [
        Record(
            id=f"{ref}/{n}", conversation=ref, turn=0, lang="en", query=f"{ask} {section.heading}?",
            response=section.text.split("\n")[0][:200], evidence=(ref,), source="simulated", split="train",
        )
        for ref, section in sections.items()
        for n, ask in enumerate(("What about", "Please tell me about", "I would like to know about"))
    ]  # fmt: skip

    def following(ref: str) -> list[str]:
        return refs[refs.index(ref) + 1 :][:4]

    def packs(count: int) -> list[Pack]:
        limits = PackLimits(records=count, tokens=1200, refusals=0)
        made = pack_records(records, sections, spec, JsonTokenizer(checkpoint), neighbours=following, limits=limits)
        return [pack for pack in made if len(pack.records) >= count // 2 + 1][:steps]

    return packs(1), packs(8)


def load(checkpoint: Path) -> Any:
    """A checkpoint in f32."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
    )


def student_of(checkpoint: Path) -> Any:
    """The first and the last layers of the teacher; which ones does not matter for speed."""
    model = load(checkpoint)
    prune_depth(model, [*range(LAYERS // 2), *range(30 - LAYERS // 2, 30)])
    return model


def project(checkpoint: Path, captured: Sequence[Captured]) -> float:
    """Train on the capture; tokens a second."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        distill(
            student_of(checkpoint),
            captured,
            DistillSettings(learning_rate=1e-4),
            Path(scratch),
            lambda _tokens: ends.append(time.monotonic()),
        )
    return rate(ends, [row.pack for row in captured])


def gkd(checkpoint: Path, packs: Sequence[Pack]) -> float:
    """Train with the teacher in memory, a pack's records a batch, on gold replies (lmbda 0), forward KL (beta 0)."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.monotonic())

    def collate(rows: list[dict[str, int]]) -> dict[str, torch.Tensor]:
        alone = sequences(packs[rows[0]["pack"]])
        longest = max(len(tokens) for tokens, _ in alone)
        batch = [(tokens, [0] * (longest - len(tokens)), reply) for tokens, reply in alone]
        return {
            "input_ids": torch.tensor([[*tokens, *fill] for tokens, fill, _ in batch]),
            "attention_mask": torch.tensor([[*[1] * len(tokens), *fill] for tokens, fill, _ in batch]),
            "labels": torch.tensor(
                [[*[IGNORED] * reply, *tokens[reply:], *[IGNORED] * len(fill)] for tokens, fill, reply in batch]
            ),
        }

    with tempfile.TemporaryDirectory() as scratch:
        trainer = GKDTrainer(
            model=student_of(checkpoint),
            teacher_model=load(checkpoint),
            args=GKDConfig(
                output_dir=scratch,
                lmbda=0.0,
                beta=0.0,
                per_device_train_batch_size=1,
                max_steps=len(packs),
                learning_rate=1e-4,
                bf16=bf16_is_faster(),
                gradient_checkpointing=False,
                use_cpu=not torch.cuda.is_available(),
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            data_collator=collate,
            train_dataset=Dataset.from_dict({"pack": list(range(len(packs)))}),
            processing_class=tokenizer,
            callbacks=[Clock()],
        )
        trainer.train()
    return rate(ends, packs)


def _turn(train: Callable[[Path, Any], float], checkpoint: Path, rows: Any, _round: int) -> float:
    return train(checkpoint, rows)


def work(run: Run) -> None:
    """Both comparisons."""
    import torch

    try:
        import trl
    except ImportError:
        raise MissingError("TRL is not installed", where="the peer", hint="pip install trl==1.16.0") from None
    torch.set_num_threads(run.options.threads)
    steps = 3 if run.options.quick else run.options.steps
    checkpoint = open_base("smollm2-135m-instruct", say).checkpoint
    one, many = make_packs(checkpoint, steps)
    run.details |= {"trl": trl.__version__, "steps": steps, "threads": run.options.threads, "bf16": bf16_is_faster()}
    run.row("", f"TRL {trl.__version__}, tokens/s", "project, tokens/s", "ratio")
    for name, packs in (("same sequences", one), ("same records", many)):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "capture.parquet"
            began = time.monotonic()
            capture(load(checkpoint), packs, out)
            once = (time.monotonic() - began) / sum(own_tokens(pack) for pack in packs)
            captured = list(read_capture(out))
        found = in_turns(
            1 if run.options.quick else run.options.rounds or 2,
            {"TRL": partial(_turn, gkd, checkpoint, packs), "project": partial(_turn, project, checkpoint, captured)},
            say,
        )
        theirs, ours = found["TRL"], found["project"]
        run.figures[name] = round(median(ours) / median(theirs), 3)
        run.details |= {f"{name}, tokens/s": {"TRL": theirs, "project": ours}, f"{name}, capture s/token": once}
        run.row(name, spread(theirs), spread(ours), f"{run.figures[name]:.2f}")
        run.row("", "", f"capture once: {once * 1000:.1f} ms a token")


def options(parser: ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--steps", type=int, default=6, help="steps of each trainer; the first is not timed")


if __name__ == "__main__":
    go_offline()
    sys.exit(main(begin("capture_speed", __doc__, BARS, options), work))
