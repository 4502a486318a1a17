"""Which sections a search may find, and that it finds them however few or many of the corpus they are."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from runtime.retrieval.chunks import ChunkTable
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.filters import KEPT, Filter, FilterIndex
from runtime.retrieval.past_questions import PastQuestion
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import Article, Section

DAY = date(2026, 11, 1)


def article(
    number: int, lang: str = "en", audience: str = "public", branch: str = "", until: date | None = None
) -> Article:
    text = (
        f"Fact {number}: shelf {number * 7 % 31} holds {number}." if lang == "en" else f"第{number}条：货架{number}。"
    )
    name = f"a{number}"
    section = Section(name, "s", name, "", text, lang, audience)
    return Article(
        name, name, lang, (section,), audience=audience, branch=(branch,) if branch else (), valid_until=until
    )


def rows(articles: list[Article]) -> list[tuple[Article, Section]]:
    return [(one, section) for one in articles for section in one.sections]


def test_language_day_branch_and_audience_each_leave_out_what_they_must() -> None:
    found = FilterIndex(
        rows(
            [
                article(0),
                article(1, "zh"),
                article(2, audience="internal"),
                article(3, branch="Leeds"),
                article(4, until=date(2026, 10, 31)),
            ]
        )
    )
    assert found.allowed(Filter("en", DAY)).tolist() == [True, False, True, True, False]
    assert found.allowed(Filter("en", DAY, internal=False)).tolist() == [True, False, False, True, False]
    assert found.allowed(Filter("en", DAY, branch="York")).tolist() == [True, False, True, False, False]
    assert found.allowed(Filter("zh", DAY)).tolist() == [False, True, False, False, False]
    assert found.allowed(Filter("fr", DAY)).tolist() == [True, True, True, True, False]  # nobody writes French here


def test_a_new_day_is_looked_at_anew_and_few_days_are_remembered() -> None:
    found = FilterIndex(rows([article(0, until=DAY)]))
    assert found.allowed(Filter("en", DAY)).all()
    assert not found.allowed(Filter("en", date(2026, 11, 2))).any()
    first = found.allowed(Filter("en", DAY))
    assert found.allowed(Filter("en", DAY)) is first
    for day in range(1, KEPT + 2):
        found.allowed(Filter("en", date(2026, 12, day)))
    assert found.allowed(Filter("en", DAY)) is not first


@pytest.mark.parametrize("elsewhere", [0, 20, 280])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_is_nearest_is_found_whether_a_few_or_most_are_left_out(
    lang: str, elsewhere: int, embedder: Embedder, tmp_path: Path
) -> None:
    """A part of the index that is allowed whole, one nearly so, and one of which little is."""
    everything = [article(number, lang, branch="Leeds" if number < elsewhere else "") for number in range(300)]
    asked = [
        PastQuestion(text=f"{one.sections[0].text} ?", lang=lang, evidence=(one.sections[0].ref,)) for one in everything
    ]
    here = everything[elsewhere:]
    question = here[7].sections[0].text
    with Retriever.build(everything, embedder, tmp_path / "all", asked=asked) as big:
        found = big.search(question, lang=lang, limit=20, branch="York")
    with Retriever.build(here, embedder, tmp_path / "here", asked=asked[elsewhere:]) as small:
        wanted = small.search(question, lang=lang, limit=20)
    assert len(found) == len(wanted) == 20
    assert {hit.section.article for hit in found} <= {one.id for one in here}
    assert max(hit.similarity for hit in found) == pytest.approx(max(hit.similarity for hit in wanted), abs=1e-4)
    assert found[0].section == wanted[0].section


def test_an_article_that_becomes_internal_is_still_found_by_staff_and_no_longer_by_customers(
    embedder: Embedder, tmp_path: Path
) -> None:
    """The index made before the change is made again, though not one text is another."""
    for audience in ("public", "internal"):
        articles = [article(0, audience=audience), article(1), article(2, audience="internal")]
        with Retriever.build(articles, embedder, tmp_path) as retriever:
            staff = retriever.search("zzz", lang="en", limit=3)
            customers = retriever.search("zzz", lang="en", limit=3, internal=False)
        assert {hit.section.article for hit in staff} == {"a0", "a1", "a2"}
        assert {hit.section.article for hit in customers} == ({"a0", "a1"} if audience == "public" else {"a1"})


def test_a_passage_knows_its_section_and_its_part() -> None:
    sections = [section for _, section in rows([article(0), article(1, "zh"), article(2, audience="internal")])]
    asked = [
        PastQuestion(text="货架？", lang="zh", evidence=("a1#s",)),
        PastQuestion(text="gone?", lang="en", evidence=("b#s",)),
    ]
    found = ChunkTable(sections, asked)
    assert found.parts == ["section-en-public", "section-zh-public", "section-en-internal", "asked-zh-public"]
    assert found.section.tolist() == [0, 1, 2, 1]
    assert (found.pieces, found.answered) == (3, asked[:1])
    assert list(found.pieces_of(2)) == [2]
    assert [(part, own.tolist()) for part, own in found.rows_of("asked")] == [("asked-zh-public", [3])]
