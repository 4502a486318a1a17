"""Opens the desk of a home: bundle, journal, search index, engine, and beside them the model an experiment tries.

Promises: a candidate that cannot be served keeps nobody from being answered; everything is closed in the end. Knows
nothing of how answers are made.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.base.collector import collector_paused
from runtime.base.progress import ProgressCallback
from runtime.base.settings import Settings
from runtime.bundle.generations import current_bundle, installed_bundle
from runtime.desk.ab_test import read_trial
from runtime.desk.compile_articles import all_sections, compiling, order_sections
from runtime.desk.desk import Desk
from runtime.desk.open_engine import engine_ahead, open_engine
from runtime.desk.policy import outbox_cap, personal_rules, retention
from runtime.errors import EdgedeskError
from runtime.journal.encryption import read_key
from runtime.journal.journal import FILE_NAME, Journal
from runtime.journal.outbox_queue import drop_over_cap
from runtime.journal.retention import RetentionReport, forget_files
from runtime.journal.retention import apply_retention as forget_old
from runtime.text.redaction import Redactor

if TYPE_CHECKING:
    from runtime.bundle.bundle import Bundle
    from runtime.engine.core.interface import TextEngine
    from runtime.retrieval.retriever import Retriever

CANDIDATE = "candidate"
"""What the model on trial keeps in the home: index, compiled articles. Deleted when none is tried."""


def for_one_question(settings: Settings) -> Settings:
    """The settings of a desk that is opened for one answer: one slot, and nothing is compiled ahead of other questions.

    What a question needs is compiled all the same, and kept for the next.
    """
    return settings.model_copy(update={"slots": 1, "compile": "off", "conversations_mib": 0})


@contextmanager
def open_desk(
    home: Path, settings: Settings, *, one_question: bool = False, progress: ProgressCallback | None = None
) -> Iterator[Desk]:
    """The desk of a home, everything loaded; the caller holds the home's lock (`runtime.base.home.hold`).

    `one_question`: as `for_one_question`, and the engine loads while the articles are opened.
    """
    if one_question:
        settings = for_one_question(settings)
    with ExitStack() as stack:
        bundle = current_bundle(home)
        trial = read_trial(home)
        number = trial.experiment.generation if trial else None
        tried = installed_bundle(home, number) if number else None
        if tried and tried.root == bundle.root:  # it has become everybody's
            trial = tried = None
        if tried and settings.memory_mib:
            settings = settings.model_copy(update={"memory_mib": max(1, settings.memory_mib // 2)})
        journal = stack.enter_context(Journal(home / FILE_NAME, key=read_key(settings.journal_key, home)))
        stack.enter_context(_retention_at_start(journal, bundle, home))
        # The current model first: a candidate takes of the memory what is left.
        retriever, engine = _open_parts(stack, bundle, home, journal, settings, progress, one_question=one_question)
        candidate, error = None, ""
        if tried:
            try:
                with ExitStack() as own:
                    place = home / CANDIDATE
                    parts = _open_parts(own, tried, place, journal, settings, progress, one_question=one_question)
                    candidate = Desk(tried, parts[1], parts[0], journal, settings, trial=trial)
                    stack.push(own.pop_all())
            except EdgedeskError as failed:
                error = str(failed)
        else:
            shutil.rmtree(home / CANDIDATE, ignore_errors=True)
        yield Desk(
            bundle, engine, retriever, journal, settings, trial=trial, candidate=candidate, candidate_error=error
        )


def _open_parts(
    stack: ExitStack,
    bundle: Bundle,
    place: Path,
    journal: Journal,
    settings: Settings,
    progress: ProgressCallback | None,
    *,
    one_question: bool,
) -> tuple[Retriever, TextEngine]:
    """What a desk needs of one bundle, its files in `place`, what must be closed on the stack."""
    waiting = stack.enter_context(engine_ahead(bundle, place, settings)) if one_question else None
    # Inside: chromadb takes a second to import, which a command that only reads a home must not pay.
    from runtime.retrieval.retriever import Retriever

    with collector_paused():
        retriever = stack.enter_context(
            Retriever.open(
                bundle,
                place / "index",
                threads=settings.threads,
                rerank=settings.rerank,
                exact=one_question,
                progress=progress,
            )
        )
    engine = waiting() if waiting else stack.enter_context(open_engine(bundle, place, settings))
    if settings.compile == "off":
        return retriever, engine
    wanted = order_sections(all_sections(bundle), settings.compile, journal.count_citations())
    stack.enter_context(compiling(engine, bundle, wanted))
    return retriever, engine


def apply_retention(
    journal: Journal, bundle: Bundle, home: Path | None = None, stop: threading.Event | None = None
) -> RetentionReport:
    """Delete and redact what the bundle's policies do not let the branch keep, and with `home` the copies in its files.

    May be called again after it failed, as on a full disk: each conversation has a transaction of its own.
    """
    cap = outbox_cap(bundle)
    # First: what no longer waits to leave may be forgotten at its age.
    dropped = drop_over_cap(journal, cap.max_turns, cap.drop)
    rule = retention(bundle)
    if not (rule.keep_days or rule.redact_after_days):
        return RetentionReport(dropped=dropped)
    public, rules = bundle.public_text(), personal_rules(bundle)
    report = forget_old(
        journal,
        keep_days=rule.keep_days,
        redact_after_days=rule.redact_after_days,
        redactor=lambda: Redactor(public, rules).redact,
        stop=stop,
    )
    report = replace(report, dropped=dropped)
    if home is None or report.paused:
        return report
    files = forget_files(home, journal.now(), keep_days=rule.keep_days, redact_after_days=rule.redact_after_days)
    return replace(report, files=files)


@contextmanager
def _retention_at_start(journal: Journal, bundle: Bundle, home: Path) -> Iterator[None]:
    """Forget in the background while the block begins: a long journal must not keep the first question waiting."""
    stop = threading.Event()

    def work() -> None:
        # What fails here (a full disk) is tried again, and reported, by the server's next sweep.
        with suppress(EdgedeskError, OSError):
            apply_retention(journal, bundle, home, stop)

    thread = threading.Thread(target=work, name="retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
