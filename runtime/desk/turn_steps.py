"""The steps of a turn: each takes the state of the turn and returns the next one.

    BEFORE_MODEL   understand -> apply_first_rules -> retrieve -> withhold_injected -> apply_rules -> lay_out_prompt
                   (the model writes, where there is a prompt)
    AFTER_MODEL    check_draft -> quote_section

A step that sets `answer` ends the turn. Reading ahead runs `BEFORE_MODEL` for a question that is still being typed and
takes the prompt; nothing here writes to the journal, so a question that is never asked leaves no trace. Knows nothing
of journals, engines and sockets; searches and embeds through `TurnTools.retriever`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from runtime.base.settings import Settings
from runtime.desk.history import earlier_questions, shown_turns
from runtime.desk.intent_and_emotion import confident_labels, understand_question
from runtime.desk.policy import WITHHELD, Decision, decide
from runtime.desk.turn_state import Answer, TurnState
from runtime.events import Citation, SectionsFound
from runtime.grounding.citations import cite, source_text
from runtime.grounding.claim_check import unsupported_claims
from runtime.grounding.extractive_answer import best_sentences, extractive_fallback, render_quote
from runtime.journal.turn_details import NO_ARTICLE, FoundSection
from runtime.prompting.prompt_spec import PromptSpec, Tokenizer
from runtime.prompting.truncate import truncate_prompt
from runtime.text.articles import Section
from runtime.text.records import Turn
from runtime.text.tables import split_items
from runtime.understanding.desk_classifiers import DeskClassifiers
from runtime.understanding.dialogue_context import find_entities, rewrite_follow_up
from runtime.understanding.injection_filter import without_injected
from runtime.understanding.linear_classifier import KINDS
from runtime.understanding.prompt_injection import is_injection, leaks_system_prompt

if TYPE_CHECKING:
    from runtime.retrieval.retriever import Retriever

WHOLE_ITEMS = 5
"""Sentences, list items or rows of a section that is quoted whole; nobody at a counter reads thirteen."""
MAX_QUOTE_CHARS = 4000
"""Of what is quoted: a table's row may hold any number, and goes into journal, search index and outbox."""


@dataclass(frozen=True)
class TurnTools:
    """What the steps need of a bundle; the same for every turn of a desk."""

    spec: PromptSpec
    tokenizer: Tokenizer
    retriever: Retriever
    classifiers: DeskClassifiers
    settings: Settings
    prompt_tokens: int
    """The longest prompt after which a whole answer still fits."""


Step = Callable[[TurnTools, TurnState], TurnState]


def understand(tools: TurnTools, state: TurnState) -> TurnState:
    """Intent, emotion and rule of the question; an emotion that is certain decides what is said first."""
    question, policy = state.request.words, state.active.policy
    guesses = dict.fromkeys(KINDS)
    answerable: float | None = None
    familiar: float | None = None
    asked = tools.classifiers
    if asked.embed_question:
        vector = tools.retriever.embedder.queries([question])[0]
        # A follow-up is judged by what it refers to, which has been judged.
        if rewrite_follow_up(question, earlier_questions(state.request, state.before)) == question:
            answerable = asked.answerable.level(vector, state.lang) if asked.answerable else None
            familiar = asked.kinds["intent"].familiarity(vector) if "intent" in asked.kinds else None
        guesses |= {kind: head.guess(question, vector) for kind, head in asked.kinds.items()}
    understood = understand_question(policy, question, guesses["intent"], guesses["emotion"], familiar)
    lead = ""
    tone = policy.tone.get(understood.emotion or "")
    if tone and understood.emotion_confidence == "high":
        lead = tone.say + ("" if state.lang == "zh" else " ")
    state = replace(state, understood=understood, answerable=answerable, lead=lead, events=(*state.events, understood))
    known = None if answerable is None else round(answerable, 4)
    return state.with_details(**understood.model_dump(exclude={"event"}), answerable=known)


def apply_first_rules(tools: TurnTools, state: TurnState) -> TurnState:
    """Rules that need no search: hand-offs and fixed answers by phrase or by a certain intent."""
    return _apply(tools, state, _decide(tools, state, None))


def retrieve(tools: TurnTools, state: TurnState) -> TurnState:
    """Search for the question, a follow-up together with what it refers to."""
    earlier = earlier_questions(state.request, state.before)
    query = rewrite_follow_up(state.request.words, earlier)
    hits = tools.retriever.search(
        query,
        lang=state.lang,
        limit=tools.spec.articles,
        branch=tools.settings.branch,
        internal=not state.public_only,
    )
    found = SectionsFound(citations=tuple(Citation.of(hit.section, hit.score) for hit in hits))
    state = replace(state, query=query, hits=tuple(hits), events=(*state.events, found))
    return state.with_details(
        query=query,
        entities=find_entities([*earlier, state.request.question], state.active.policy.personal),
        found=tuple(
            FoundSection(ref=hit.section.ref, score=round(hit.score, 4), similarity=round(hit.similarity, 4))
            for hit in hits
        ),
        disputed=tuple(dict.fromkeys(ref for hit in hits for ref in hit.disputed)),
        special_case=hits[0].section.title if hits and hits[0].special else "",
    )


def withhold_injected(tools: TurnTools, state: TurnState) -> TurnState:
    """Keep sentences that give orders or dictate answers from the model and from quotes; agents still see them."""
    look = tools.classifiers.dictation.dictated
    pairs = [(hit, without_injected(hit.section, look)) for hit in state.hits]
    return replace(state, safe=tuple(replace(hit, section=section) for hit, section in pairs if section))


def apply_rules(tools: TurnTools, state: TurnState) -> TurnState:
    """Rules over what was found: a fixed answer near enough, manipulation, nothing found, not answerable."""
    asked = tools.classifiers.answerable
    nearest = max(state.hits, key=lambda hit: hit.similarity, default=None)
    # An article of today may answer what none did when the classifier learned which questions are answered.
    if asked and nearest and not asked.knew(nearest.section):
        state = replace(state, answerable=None).with_details(answerable=None)
    return _apply(tools, state, _decide(tools, state, [hit.similarity for hit in state.safe]))


def lay_out_prompt(tools: TurnTools, state: TurnState) -> TurnState:
    """The prompt, where the model writes this language and a section fits into its context."""
    if state.lang not in tools.spec.languages:
        return state
    turns = _without_orders(shown_turns(state.request, state.before, tools.settings.history_turns))
    sections = [hit.section for hit in state.safe]
    prompt, fitted = truncate_prompt(
        tools.spec, tools.tokenizer, state.lang, sections, turns, state.request.question, tools.prompt_tokens
    )
    if not fitted:
        return state
    read = {section.ref for section in fitted}
    found = tuple(one.model_copy(update={"shown": one.ref in read}) for one in state.details.found)
    return replace(state, prompt=prompt).with_details(found=found)


def check_draft(tools: TurnTools, state: TurnState) -> TurnState:
    """Hold what the model wrote against the sections it read, and cite them."""
    written = state.draft.strip()
    if not written:
        return state  # it had nothing to say: the next step quotes
    if _contains_refusal(written, tools.spec.refusal.get(state.lang, "")):
        return replace(state, answer=Answer(written, "model", handoff=NO_ARTICLE))
    shown = {one.ref for one in state.details.found if one.shown}
    read = [hit for hit in state.safe if hit.section.ref in shown]
    sections = [hit.section for hit in read]
    scores = {hit.section.ref: hit.score for hit in read}
    if leaks_system_prompt(written, tools.spec.system.get(state.lang, ""), sections):
        if tools.spec.min_agreement and state.safe:
            return quote_section(tools, state)  # a model whose weak drafts are replaced anyway: this is one
        return replace(state, answer=Answer(_refusal_text(tools, state), WITHHELD, handoff=WITHHELD))
    cosines = partial(tools.retriever.cosines, state.query)
    if lines := extractive_fallback(written, read, cosines, tools.spec.min_agreement):
        quote = f"{state.active.policy.quote_text(state.lang)}\n{_bounded(render_quote(lines))}"
        cited = list(dict.fromkeys(line.section for line in lines))
        return replace(state, answer=Answer(state.lead + quote, "extract", _citations(cited, scores)))
    # What the customer said may be repeated: an order number, a date.
    unsupported = tuple(unsupported_claims(written, [*map(source_text, sections), state.request.question]))
    citations = _citations(cite(written, sections), scores)
    return replace(state, answer=Answer(written, "model", citations, unsupported=unsupported))


def quote_section(tools: TurnTools, state: TurnState) -> TurnState:
    """Quote the best section: the model does not write this language, no section fits, or it wrote nothing.

    A long one, or one about a case that the question does not name, is quoted by its sentences that answer.
    """
    best = state.safe[0]
    quote, cited = best.section.text, [best.section]
    if best.special or len(split_items(quote)) > WHOLE_ITEMS:
        lines = best_sentences(state.safe, partial(tools.retriever.cosines, state.query))
        if lines:
            quote, cited = render_quote(lines), list(dict.fromkeys(line.section for line in lines))
    text = f"{state.active.policy.quote_text(state.lang)}\n{_bounded(quote)}"
    scores = {hit.section.ref: hit.score for hit in state.safe}
    return replace(state, answer=Answer(state.lead + text, "section", _citations(cited, scores)))


BEFORE_MODEL: tuple[Step, ...] = (
    understand,
    apply_first_rules,
    retrieve,
    withhold_injected,
    apply_rules,
    lay_out_prompt,
)
AFTER_MODEL: tuple[Step, ...] = (check_draft, quote_section)


def prepare_prompt(tools: TurnTools, state: TurnState) -> TurnState:
    """The state after `BEFORE_MODEL`, or after the step that answered."""
    for step in BEFORE_MODEL:
        state = step(tools, state)
        if state.answer:
            break
    return state


def _decide(tools: TurnTools, state: TurnState, similarities: Sequence[float] | None) -> Decision:
    """The policy's decision, before the search (`similarities` None) or after it."""
    question, searched = state.request.words, similarities is not None
    return decide(
        state.active.policy,
        question=question,
        lang=state.lang,
        languages=tools.spec.languages,
        similarities=similarities,
        orders=searched and is_injection(state.request.question),  # also what a picture says
        curated=state.active.fixed_answers.nearest(question) if searched else None,
        confident=confident_labels(state.understood),
        answerable=state.answerable,
        unfamiliar=state.understood.unfamiliar,
        disputed=bool(state.safe and state.safe[0].disputed),
    )


def _apply(tools: TurnTools, state: TurnState, decision: Decision) -> TurnState:
    policy, reason = state.active.policy, decision.reason or ""
    if decision.action == "hand_off":
        text = state.lead + policy.hand_off_text(state.lang)
        return replace(state, answer=Answer(text, f"rule:{reason}", handoff=reason))
    if decision.action == "refuse":
        text = state.lead + _refusal_text(tools, state)
        return replace(state, answer=Answer(text, reason or NO_ARTICLE, handoff=reason or NO_ARTICLE))
    if decision.action == "fixed":
        fixed = next(one for one in policy.answer if one.id == reason)
        cited = tuple(Citation.of(section) for section in _evidence(tools, state, fixed.evidence))
        return replace(state, answer=Answer(state.lead + fixed.text, f"fixed:{reason}", cited))
    return state


def _evidence(tools: TurnTools, state: TurnState, references: Sequence[str]) -> list[Section]:
    """The sections a fixed answer cites; those the articles no longer have, or the asker may not read, are left out."""
    found = (tools.retriever.section(reference, state.lang) for reference in references)
    return [
        section
        for section in found
        if section and section.lang == state.lang and not (state.public_only and section.audience != "public")
    ]


def _without_orders(turns: Sequence[Turn]) -> list[Turn]:
    """Earlier messages without those that give the model orders, and without what was said to them.

    A question that does is refused, and must not have its way with the next one.
    """
    kept: list[Turn] = []
    refused = False
    for turn in turns:
        orders = is_injection(turn.content)
        refused = orders if turn.role == "user" else refused
        if not (orders or refused):
            kept.append(turn)
    return kept


def _bounded(quote: str) -> str:
    return quote if len(quote) <= MAX_QUOTE_CHARS else quote[: MAX_QUOTE_CHARS - 1].rstrip() + "…"


def _refusal_text(tools: TurnTools, state: TurnState) -> str:
    refusals = tools.spec.refusal
    return state.active.policy.refusal.text or refusals.get(state.lang) or next(iter(refusals.values()))


def _citations(sections: Sequence[Section], scores: Mapping[str, float]) -> tuple[Citation, ...]:
    return tuple(Citation.of(section, scores[section.ref]) for section in sections)


def _contains_refusal(answer: str, refusal: str) -> bool:
    return bool(refusal) and " ".join(refusal.split()).casefold() in " ".join(answer.split()).casefold()
