from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.events import Citation
from tui.base.i18n import Catalogue
from tui.state import ConsoleTurn, Labels, Phase, acceptance_doubts
from tui.state.acceptance import UNLIKELY
from tui.widgets.assist import turn_warnings

SOURCE = Citation(article="a", section="s", title="A", heading="S", text="t", lang="en")
GOOD = ConsoleTurn(
    number=1, question="?", asked_at=0.0, phase=Phase.DONE, draft="It costs €4.90.", citations=(SOURCE,),
    decided="model", answerable=0.6,
)  # fmt: skip
BAD = {
    "unsupported": replace(GOOD, unsupported=("€9",)),
    "unsourced": replace(GOOD, citations=()),
    "internal": replace(GOOD, citations=(SOURCE.model_copy(update={"audience": "internal"}),)),
    "unlikely": replace(GOOD, answerable=UNLIKELY / 2),
    "disputed": replace(GOOD, disputed=("b#s",)),
    "unasked": replace(GOOD, special_case="Delivery of a washing machine"),
    "unfamiliar": replace(GOOD, labels=Labels("warranty", "low", unfamiliar=True)),
}


@pytest.mark.parametrize(("doubt", "turn"), BAD.items())
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_acceptance_line_says_in_words_why_a_draft_is_not_safe(doubt: str, turn: ConsoleTurn, lang: str) -> None:
    words = Catalogue(lang)
    assert acceptance_doubts(turn) == (doubt,)
    (line,) = turn_warnings(turn, words)
    assert "\n" not in line
    items = {"unsupported": "€9", "disputed": "b#s", "unasked": "Delivery of a washing machine"}
    assert words(f"accept.{doubt}", items=items.get(doubt, "")) in line


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_acceptance_line_says_when_nothing_speaks_against_a_draft(lang: str) -> None:
    words = Catalogue(lang)
    assert turn_warnings(GOOD, words) == [words("accept.safe")]
    assert turn_warnings(replace(GOOD, answerable=None), words) == [words("accept.safe")]


def test_acceptance_line_joins_every_reason_weightiest_first() -> None:
    turn = replace(GOOD, unsupported=("€9",), citations=(), answerable=0.01)
    assert acceptance_doubts(turn) == ("unsupported", "unsourced", "unlikely")
    assert len(turn_warnings(turn, Catalogue("en"))) == 1


def test_acceptance_line_is_gone_once_the_draft_is_offered_no_longer() -> None:
    for turn in (replace(GOOD, verdict="accepted"), replace(GOOD, retired="newer"), replace(GOOD, phase=Phase.WRITING)):
        assert turn_warnings(turn, Catalogue("en")) == []


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_sections_found_beside_a_hand_off_are_called_a_help_and_no_answer(lang: str) -> None:
    words = Catalogue(lang)
    turn = replace(GOOD, handoff="no_article", decided="no_article", answerable=0.01)
    assert turn_warnings(turn, words)[1:] == [words("accept.may_help")]
    assert words("accept.safe") not in turn_warnings(turn, words)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_hand_off_for_articles_that_disagree_names_them(lang: str) -> None:
    words = Catalogue(lang)
    turn = replace(GOOD, handoff="articles_disagree", decided="rule:articles_disagree", disputed=("b#s", "c#t"))
    assert words("turn.disputed", items="b#s, c#t") in turn_warnings(turn, words)
    assert words("handoff.articles_disagree") in turn_warnings(turn, words)[0]
