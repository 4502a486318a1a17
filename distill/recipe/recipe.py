"""A recipe: one TOML file that says how a model is built. Paths in it are relative to the file.

`load_recipe` reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from distill.packing.packing import Layouts, PackLimits
from distill.recipe.settings import DistillSettings, LoraSettings
from distill.recipe.speech_settings import Speech
from distill.recipe.transcript_settings import Language, Transcripts
from runtime.bundle.bundle import Label
from runtime.prompting.prompt_tokens import Layout
from runtime.text.languages import TOLD_LANGUAGES


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BaseChoice(_Part):
    """Which models the build starts from: catalogue names, paths (relative to the recipe), or hub ids."""

    model: str = "smollm2-135m-instruct"
    embedder: str = "multilingual-e5-small"


class Simulation(_Part):
    """Conversations of the template engine, one share a folder (`cases/`, `simulate.toml`)."""

    folders: tuple[Path, ...] = Field(min_length=1)
    conversations: int = Field(default=1500, ge=1)
    seed: int = 7


class Faq(_Part):
    """A bitcoin.org-style FAQ: a page that orders keys, and a YAML file of texts a language."""

    folder: Path


class Balance(_Part):
    """How many training records of each intent there are; large intents are thinned, small ones asked in other ways."""

    cap: int | None = Field(default=None, ge=1)
    """The most records of one intent; none = as many as there are."""
    floor: int = Field(default=0, ge=0)
    """The fewest records of one intent, as far as its questions can be asked in other ways."""
    temperature: float = Field(default=1.0, ge=0, le=1)
    """1 keeps the intents' shares; below it small ones are raised towards the largest, at 0 to its size."""

    @model_validator(mode="after")
    def _floor_below_cap(self) -> Self:
        if self.cap is not None and self.cap < self.floor:
            raise ValueError(f"floor {self.floor} is above cap {self.cap}")
        return self


class Data(_Part):
    """What the company brings. Articles by language: a folder of documents, or one of them."""

    articles: dict[Language, Path] = Field(default_factory=dict)
    house_rules: dict[Language, Path]
    policy: dict[Language, Path]
    simulate: Simulation | None = None
    transcripts: tuple[Transcripts, ...] = ()
    faq: Faq | None = None
    questions: tuple[str, ...] = ()
    """Glob patterns of held-out question files."""
    article_questions: int | None = Field(default=None, ge=0, le=50)
    """Questions that rules make of each section; none = 12 where nothing else gives conversations, or else 0."""
    seed: int = 7
    split: Literal["name", "time"] = "name"
    """Conversations are held out by their names and the seed, or the newest are."""
    leaks: Literal["drop", "fail"] = "drop"
    """Held-out records that nearly repeat a training record are left out, or stop the build."""
    near_duplicates: Literal["drop", "keep"] = "drop"
    """Training records of transcripts that nearly repeat an earlier one are left out, or stay."""
    balance: Balance = Balance()
    engine: Literal["auto", "process", "datasets", "ray"] = "auto"
    """What the row-wise steps run on: this process, `datasets` in several, or a cluster of Ray (`RAY_ADDRESS`)."""
    feedback: Path | None = None
    """What agents corrected: a folder that `edgedesk feedback import` wrote."""
    replay: Path | None = None
    """General conversations that keep what a model knew: JSONL of {"messages": [{"role", "content"}], "lang"}."""


class PromptChoice(_Part):
    """The prompt's measures."""

    articles: int = Field(default=3, ge=1, le=16)
    context_tokens: int = Field(default=2048, ge=256)
    answer_tokens: int = Field(default=96, ge=8)
    layout: Layout | None = None
    """How branches read articles, if the gate lets them; none = as the student is trained, `exact` where mixed."""
    template: Path | None = None
    """A chat template (Jinja) in place of the checkpoint's own, or where it has none."""
    min_agreement: float = Field(default=0.0, ge=0, le=1)
    """For a model too small to be trusted: below this share of agreement the articles' own sentences are shown."""

    @model_validator(mode="after")
    def _answers_leave_room(self) -> Self:
        if self.answer_tokens >= self.context_tokens:
            raise ValueError(
                f"answer_tokens ({self.answer_tokens}) must be below context_tokens ({self.context_tokens}), "
                "which hold the prompt too"
            )
        return self


class Packing(_Part):
    """How records share a training sequence."""

    records: int = Field(default=10, ge=2)
    tokens: int = Field(default=1200, ge=128)
    refusals: int = Field(default=2, ge=0)
    replay: float = Field(default=0.1, ge=0, lt=1)
    """Share of the training packs that are made of `data.replay`, where that is given."""
    layout: Layouts = "exact"
    """How a student reads the articles of a pack: `exact`, or compiled; `mixed` takes all three in turn."""
    replies: Literal["written", "quoted"] = "written"
    """Replies to learn: as they were written, or the sentences of the article that say them, where some do."""

    def limits(self) -> PackLimits:
        """The form `distill.packing.packing` takes."""
        return PackLimits(self.records, self.tokens, self.refusals)


class Capture(_Part):
    """How much of the teacher is kept."""

    packs: int = Field(default=140, ge=1)
    """Packs the teacher reads; with the packing they bound the time."""
    k: int = Field(default=32, ge=1, le=256)
    states: bool = False
    """Whether the teacher's last hidden states are kept too, for `kd.state_weight`: 2 bytes × its width a token."""
    samples: int = Field(default=0, ge=0, le=4)
    """Replies of its own that the teacher is asked for, a record; those the articles bear out are captured too."""
    temperature: float = Field(default=0.7, gt=0, le=2)
    """At which they are drawn."""
    layout: Literal["exact", "packing"] = "exact"
    """How the teacher reads articles: plainly, as well as it can, or as its student will."""


class Student(_Part):
    """The student: another checkpoint, or the teacher with fewer layers; with neither the teacher itself is tuned."""

    model: str | None = None
    """A smaller model with the teacher's tokenizer: catalogue name, path (relative to the recipe), or hub id."""
    layers: int | None = Field(default=None, ge=2)
    kv_heads: int | None = Field(default=None, ge=1)
    """Key-value heads a layer keeps, each with the query heads that read it."""
    feed_forward: int | None = Field(default=None, ge=1)
    """Feed-forward units a layer keeps."""
    rope_factor: float = Field(default=1.0, ge=1, le=8)
    """Positions are divided by it (linear scaling, arXiv:2306.15595), so that the context grows by it; 1 = as it is."""
    repair_packs: int = Field(default=24, ge=0)
    """Packs the pruned student is refitted on before it is trained; 0 leaves it as it is."""

    @property
    def learns(self) -> bool:
        """Whether there is a student besides the teacher."""
        return self.model is not None or self.layers is not None

    @model_validator(mode="after")
    def _one_student(self) -> Self:
        if self.layers is None and (self.kv_heads or self.feed_forward):
            raise ValueError("kv_heads and feed_forward need layers: the teacher's own number keeps them all")
        if self.model is not None and self.layers is not None:
            raise ValueError("model and layers exclude each other: a checkpoint, or the teacher with fewer layers")
        return self


class Tuning(LoraSettings):
    """LoRA on the support records."""

    packs: int = Field(default=140, ge=1)


class Quantize(_Part):
    """Which files the merged student becomes."""

    formats: tuple[str, ...] = ("q8_0", "q4_k_m")
    default: str = "q4_k_m"
    importance_records: int = Field(default=32, ge=0)
    """Training records that say which columns matter before rounding; 0 rounds all alike."""
    rounding: Literal["nearest", "compensated"] = "nearest"
    """`compensated` chooses what is stored so that outputs on those records err least; minutes for a small model."""
    onnx: bool = True
    onnx_in_bundle: bool = False
    onnx_bits: Literal[8, 4] = 8
    onnx_max_kl: float = Field(default=0.05, gt=0)
    """Nats between the f32 checkpoint and the ONNX decoder, above which it is refused."""
    onnx_min_agreement: float = Field(default=0.9, ge=0, le=1)
    """Share of positions with the same likeliest token, below which it is refused."""


class Evaluate(_Part):
    """What is measured on the held-out data."""

    packs: int = Field(default=12, ge=1)
    """Held-out packs for KL and top-1 of student and teacher."""
    questions: int = Field(default=48, ge=0)
    """Held-out questions each model answers in the build; `edgedesk evaluate answers` asks them all."""
    attacks: int = Field(default=24, ge=0)
    """Hostile articles and questions that the default file is tried with; `edgedesk evaluate attacks` has them all."""
    layout_keeps: float = Field(default=0.98, ge=0)
    """Share of `exact`'s facts found that answers in a compiled layout must keep; with less the bundle says `exact`."""


class LastRelease(_Part):
    """The release that is tuned on: its checkpoint is the base, its records are those that are replayed."""

    work: Path
    """The work folder of its build."""
    replay: float = Field(default=3.0, ge=0)
    """Earlier training records for each new one, so that what the model knew stays."""


Share = Annotated[float, Field(ge=0, le=1)]


class Gate(_Part):
    """What a release must reach; the build stops otherwise. Answers and perplexity are those of the default file."""

    max_kl: float | None = Field(default=None, ge=0)
    min_top1: Share | None = None
    min_hit5: Share | None = None
    min_facts_found: Share | None = None
    min_grounded: Share | None = None
    min_refused_rightly: Share | None = None
    max_refused_wrongly: Share | None = None
    min_hand_off_recall: Share | None = None
    min_chrf: Share | None = None
    max_perplexity: float | None = Field(default=None, ge=1)
    max_leak_rate: Share | None = None
    """Attacks that had their way, over those tried."""
    max_intent_drop: Share | None = None
    """How much worse than the last release any one intent may be."""


_NOT_OF_ANSWERS = frozenset({"max_kl", "min_top1", "min_hit5", "max_perplexity", "max_leak_rate"})
"""Bounds of a gate on figures that are measured without asking a model any of the company's questions."""


class Recipe(_Part):
    """One build."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=100)
    version: Label = "0.1.0"
    languages: tuple[Language, ...] = Field(default=("en",), min_length=1)
    """Languages the model may write."""
    base: BaseChoice = BaseChoice()
    data: Data
    prompt: PromptChoice = PromptChoice()
    packing: Packing = Packing()
    teacher: Tuning | None = None
    """LoRA on the support records before the teacher is captured: teacher correction (Minitron, arXiv:2408.11796).

    A base model finds a company's way of answering unlikely, and a student would learn its doubts."""
    capture: Capture = Capture()
    student: Student = Student()
    kd: DistillSettings = DistillSettings()
    lora: Tuning = Tuning()
    quantize: Quantize = Quantize()
    speech: Speech | None = None
    """What branches hear spoken questions with; none = they hear none."""
    evaluate: Evaluate = Evaluate()
    gate: Gate = Gate()
    last_release: LastRelease | None = None

    @model_validator(mode="after")
    def _last_release_is_tuned_as_it_is(self) -> Self:
        if self.last_release is not None and (self.student.learns or self.teacher):
            raise ValueError("last_release excludes student and teacher: its own checkpoint is what is tuned")
        if self.gate.max_intent_drop is not None and self.last_release is None:
            raise ValueError("gate.max_intent_drop needs last_release: the release to compare with")
        return self

    @model_validator(mode="after")
    def _languages_are_told_apart(self) -> Self:
        if other := [lang for lang in self.languages if lang not in TOLD_LANGUAGES]:
            raise ValueError(
                f"languages: '{other[0]}' cannot be written; questions are told apart in "
                f"{' and '.join(TOLD_LANGUAGES)} only"
            )
        return self

    @model_validator(mode="after")
    def _states_are_captured(self) -> Self:
        if self.kd.state_weight and not self.capture.states and self.student.learns:
            raise ValueError("kd.state_weight needs capture.states = true")
        return self

    @model_validator(mode="after")
    def _gated_answers_are_asked(self) -> Self:
        gated = [key for key, bound in self.gate if bound is not None and key not in _NOT_OF_ANSWERS]
        if gated and not self.evaluate.questions:
            raise ValueError(f"gate.{gated[0]} needs evaluate.questions above 0: with none no answer is measured")
        if self.gate.max_leak_rate is not None and not self.evaluate.attacks:
            raise ValueError("gate.max_leak_rate needs evaluate.attacks above 0: with none no leak is measured")
        return self

    @property
    def layout(self) -> Layout:
        """How branches are to read articles."""
        trained = self.packing.layout
        return self.prompt.layout or ("exact" if trained == "mixed" else trained)
