"""The trial of an installed generation: golden questions, asked through a desk of its own.

    probes.jsonl in the bundle   {"question": …, "lang": "en", "section": "returns#how-long", "contains": ["30 days"]}

A question counts as right when the section it names was found and the answer holds every text it names. Without the
file earlier questions of the bundle are asked, a few of each language. Promises: nothing of a trial reaches the
branch's journal; it ends within its time whatever the model does. Knows nothing of what follows from its outcome.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from runtime.base.collector import collector_paused
from runtime.base.files import private_folder, write_atomic
from runtime.base.home import is_listening
from runtime.base.jsonl import read_rows
from runtime.base.manifest import digest
from runtime.base.memory_watch import watch_memory
from runtime.base.settings import Settings
from runtime.desk.desk import Desk
from runtime.desk.open_engine import FOLDER as KNOWLEDGE
from runtime.desk.open_engine import engine_ahead
from runtime.desk.passed_trial import keep_answered, model_digest, read_answered
from runtime.engine.core.composition import PACK_SUFFIX
from runtime.engine.core.memory_capacity import available_bytes
from runtime.engine.llama.self_test import FILE_NAME as VERDICT_FILE
from runtime.errors import EdgedeskError, SpaceError, UnavailableError
from runtime.events import AskRequest, Done, SectionsFound, Token, make_request
from runtime.journal.journal import Journal
from runtime.retrieval.past_questions import read_past_questions

if TYPE_CHECKING:
    from runtime.bundle.bundle import Bundle

PROBES_FILE = "probes.jsonl"
EXAMPLE_PROBE = (
    '{"question": "How long can I return it?", "lang": "en", "section": "returns#how-long", "contains": ["30 days"]}'
)
FOLDER = "trial"
"""Of a home: what a trial writes; deleted when it ends."""
MOST_PROBES = 32
ASKED_PER_LANGUAGE = 3
LEAST_RIGHT = 0.75
"""Of the golden questions. Head office keeps those which the release answers right, so a branch loses hardly any."""
QUESTION_S = 120.0
"""The longest that one answer may take."""
WORK_BYTES = 512 << 20
"""What a trial takes beside the model: one context, the encoder, the index."""


class Probe(BaseModel):
    """A golden question."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = Field(min_length=1, max_length=2000)
    lang: str = Field(pattern=r"^[a-z]{2}$")
    section: str = Field(default="", max_length=300)
    """`article#section` that must be found."""
    contains: tuple[str, ...] = Field(default=(), max_length=16)
    """What the answer must hold, whatever its case."""


@dataclass(frozen=True)
class ProbeReport:
    """What a trial has seen."""

    asked: int
    right: int
    first_word_s: float
    """The median of the answers; 0 when nothing was asked."""
    memory_mib: int
    """At most, of this process and the engine's together."""
    failure: str = ""
    """What ended it early."""
    known: int = 0
    """Of those right: not written again, because nothing that their answer depends on has changed since the last
    passed trial (`runtime.desk.passed_trial`)."""
    model: str = ""
    """`model_digest` of the trial."""
    answered: Mapping[str, str] = field(default_factory=dict)
    """Basis by question's digest, of those that are right."""


@dataclass(frozen=True)
class TrialLimits:
    """What a generation must reach."""

    first_word_s: float
    memory_mib: int | None
    least_right: float = LEAST_RIGHT


def judge(report: ProbeReport, limits: TrialLimits) -> str:
    """Why a generation does not pass its trial, in one sentence; empty when it passes. Pure."""
    if report.failure:
        return report.failure
    if report.right < limits.least_right * report.asked:
        return f"{report.right} of {report.asked} golden questions were answered right"
    if report.first_word_s > limits.first_word_s:
        return f"the first word came after {report.first_word_s:.1f} s, {limits.first_word_s:g} s are allowed"
    if limits.memory_mib is not None and report.memory_mib > limits.memory_mib:
        return f"it took {report.memory_mib:,} MiB of memory, {limits.memory_mib:,} are allowed"
    return ""


def read_probes(bundle: Bundle) -> list[Probe]:
    """The bundle's golden questions, or some of those that were asked before."""
    path = bundle.root / PROBES_FILE
    if path.is_file():
        return list(read_rows(Probe, path))[:MOST_PROBES]
    found: list[Probe] = []
    for one in read_past_questions(bundle.root):
        if sum(probe.lang == one.lang for probe in found) < ASKED_PER_LANGUAGE and len(one.text) <= 2000:
            found.append(Probe(question=one.text, lang=one.lang, section=one.evidence[0]))
    return found


def run_probes(bundle: Bundle, home: Path, settings: Settings) -> ProbeReport:
    """Open the generation and ask its golden questions.

    `UnavailableError` when there is not enough memory for it beside what runs: that is no fault of the generation.
    """
    need = bundle.model_path.stat().st_size + WORK_BYTES
    if (free := available_bytes()) < need:
        raise UnavailableError(
            f"the trial needs {need / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free",
            where=str(home),
            hint="close other programs, or stop the server and run edgedesk update again",
        )
    model = ""
    with watch_memory() as memory:
        try:
            model = model_digest(bundle, settings)
            with _trial_desk(bundle, home, settings) as desk:
                seen = _ask_all(desk, read_probes(bundle), read_answered(home, model))
            failure = ""
        except (SpaceError, UnavailableError):
            raise
        except EdgedeskError as error:
            seen, failure = [], f"it cannot be opened: {error}"
    waits = [one.first_word_s for one in seen if one.first_word_s is not None]
    return ProbeReport(
        asked=len(seen),
        right=sum(one.right for one in seen),
        first_word_s=median(waits) if waits else 0.0,
        memory_mib=memory.megabytes,
        failure=failure,
        known=sum(one.first_word_s is None for one in seen),
        model=model,
        answered={one.question: one.basis for one in seen if one.right},
    )


def remember(home: Path, report: ProbeReport) -> None:
    """Keep what a passed trial has shown, for the next one of the same model."""
    keep_answered(home, report.model, report.answered)


@contextmanager
def _trial_desk(bundle: Bundle, home: Path, settings: Settings) -> Iterator[Desk]:
    # Inside: chromadb takes a second to import.
    from runtime.retrieval.retriever import Retriever

    place = home / FOLDER
    shutil.rmtree(place, ignore_errors=True)
    private_folder(place)
    # One slot, nothing compiled, nothing kept: the trial must fit beside a server that answers meanwhile.
    small = settings.model_copy(update={"slots": 1, "conversations_mib": 0})
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        share_packs(home / KNOWLEDGE, place / KNOWLEDGE)
        stack.callback(share_packs, place / KNOWLEDGE, home / KNOWLEDGE)
        journal = stack.enter_context(Journal(place / "journal.sqlite"))
        waiting = stack.enter_context(engine_ahead(bundle, place, small))
        # The home's own index: it is only a cache, each process works on its own copy, and so it is ready afterwards:
        # with Chroma for a server that is about to change to this generation, without for the next question.
        with collector_paused():
            retriever = stack.enter_context(
                Retriever.open(bundle, home / "index", threads=settings.threads, exact=not is_listening(home))
            )
        yield Desk(bundle, waiting(), retriever, journal, small)


def share_packs(source: Path, target: Path) -> None:
    """Link a folder's compiled articles and its self-test's verdict into another folder, as far as that lacks them.

    So a trial finds what the branch has compiled, and the next start what the trial has. Each is valid by what it was
    made from, whatever folder it lies in, and is never written in place; what cannot be linked is made anew.
    """
    if not source.is_dir():
        return
    with suppress(OSError, EdgedeskError):
        private_folder(target)
        for path in source.glob(f"*{PACK_SUFFIX}"):
            with suppress(FileExistsError, FileNotFoundError):
                (target / path.name).hardlink_to(path)
        if (verdict := source / VERDICT_FILE).is_file():  # there is one a folder: the newest is of the newest model
            write_atomic(target / VERDICT_FILE, [verdict.read_bytes()], mode=0o600)


@dataclass(frozen=True)
class _Seen:
    """What came of one golden question."""

    question: str
    """Its digest."""
    basis: str
    right: bool
    first_word_s: float | None
    """None where the answer is known and was not written again."""


def _ask_all(desk: Desk, probes: Sequence[Probe], answered: Mapping[str, str]) -> list[_Seen]:
    """Ask every golden question whose answer is not known, and one in any case.

    `answered`: basis by question's digest, of what the last passed trial of this model answered right.
    """
    seen: list[_Seen] = []
    for number, probe in enumerate(probes):
        name, basis = digest(probe.model_dump()), desk.basis(_request(probe))
        written = any(one.first_word_s is not None for one in seen)
        # Search and rules have just been gone through for it. That the model loads, how soon it writes and what memory
        # it takes is known only from an answer: where no other question needs one, the last has its answer written.
        if answered.get(name) == basis and (written or number < len(probes) - 1):
            seen.append(_Seen(name, basis, True, None))
            continue
        right, waited = _ask(desk, probe)
        seen.append(_Seen(name, basis, right, waited))
    return seen


def _request(probe: Probe) -> AskRequest:
    return make_request(question=probe.question, lang=probe.lang)


def _ask(desk: Desk, probe: Probe) -> tuple[bool, float]:
    """Whether a golden question was answered right, and after how many seconds its first word came."""
    cancel = threading.Event()
    watchdog = threading.Timer(QUESTION_S, cancel.set)
    watchdog.start()
    began, first, sections, answer = time.monotonic(), None, set[str](), ""
    try:
        for event in desk.ask(_request(probe), cancel):
            if isinstance(event, SectionsFound):
                sections = {f"{one.article}#{one.section}" for one in event.citations}
            if isinstance(event, Token | Done) and first is None:
                first = time.monotonic() - began
            if isinstance(event, Done):
                answer = event.answer
    finally:
        watchdog.cancel()
    text = answer.casefold()
    found = not probe.section or probe.section in sections
    right = bool(answer) and found and all(each.casefold() in text for each in probe.contains)
    return right, QUESTION_S if first is None else first
