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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from runtime.base.files import private_folder
from runtime.base.jsonl import read_rows
from runtime.base.memory_watch import watch_memory
from runtime.base.settings import Settings
from runtime.desk.desk import Desk
from runtime.desk.open_engine import open_engine
from runtime.engine.core.memory_capacity import available_bytes
from runtime.errors import EdgedeskError, SpaceError, UnavailableError
from runtime.events import Done, SectionsFound, Token, make_request
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
    with watch_memory() as memory:
        try:
            with _trial_desk(bundle, home, settings) as desk:
                right, waits = _ask_all(desk, read_probes(bundle))
            failure = ""
        except (SpaceError, UnavailableError):
            raise
        except EdgedeskError as error:
            right, waits, failure = [], [], f"it cannot be opened: {error}"
    return ProbeReport(len(right), sum(right), median(waits) if waits else 0.0, memory.megabytes, failure)


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
        journal = stack.enter_context(Journal(place / "journal.sqlite"))
        # The home's own index: it is only a cache, each process works on its own copy, and so it is ready afterwards.
        retriever = stack.enter_context(Retriever.open(bundle, home / "index", threads=settings.threads))
        engine = stack.enter_context(open_engine(bundle, place, small))
        yield Desk(bundle, engine, retriever, journal, small)


def _ask_all(desk: Desk, probes: Sequence[Probe]) -> tuple[list[bool], list[float]]:
    """For every question whether it was answered right, and for every first word how long it took."""
    right, waits = [], []
    for probe in probes:
        cancel = threading.Event()
        watchdog = threading.Timer(QUESTION_S, cancel.set)
        watchdog.start()
        began, first, sections, answer = time.monotonic(), None, set[str](), ""
        try:
            for event in desk.ask(make_request(question=probe.question, lang=probe.lang), cancel):
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
        right.append(bool(answer) and found and all(each.casefold() in text for each in probe.contains))
        waits.append(QUESTION_S if first is None else first)
    return right, waits
