from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.base.jsonl import read_rows
from runtime.bundle.bundle import open_bundle
from runtime.errors import MissingError, SpaceError
from runtime.evaluation.retrieval import from_questions
from runtime.retrieval.chunks import PIECE_TERMS
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.past_questions import PastQuestion
from runtime.retrieval.reranker import LOOKED_AT, Reranker
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import Article, Section, load_articles
from runtime.text.records import Question
from runtime.text.tokens import terms

TODAY = date(2026, 11, 23)


@pytest.fixture(scope="module")
def articles(articles_folder: Path) -> list[Article]:
    return load_articles(articles_folder)


@pytest.fixture(scope="module")
def retriever(
    articles: list[Article], embedder: Embedder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Retriever]:
    with Retriever.build(articles, embedder, tmp_path_factory.mktemp("index")) as made:
        yield made


def refs(retriever: Retriever, question: str, lang: str | None = None, **more: object) -> list[str]:
    hits = retriever.search(question, lang=lang, limit=3, today=TODAY, **more)  # type: ignore[arg-type]
    return [f"{hit.section.lang}:{hit.section.ref}" for hit in hits]


def test_a_question_finds_its_section_in_its_own_language(retriever: Retriever) -> None:
    assert refs(retriever, "How much is standard delivery?")[0] == "en:delivery-standard#price"
    assert refs(retriever, "标准配送费是多少？")[0] == "zh:delivery-standard#price"
    assert {ref[:2] for ref in refs(retriever, "退货期限", "zh")} == {"zh"}


def test_a_language_without_articles_is_searched_across_all_and_each_section_comes_once(retriever: Retriever) -> None:
    found = refs(retriever, "standard delivery €4.90", "fr")
    assert found[0] == "en:delivery-standard#price"
    plain = [ref.split(":")[1] for ref in found]
    assert len(plain) == len(set(plain)) == 3


def test_articles_outside_their_dates_are_not_used(retriever: Retriever) -> None:
    question = "Is garden furniture cheaper in the summer sale?"
    assert "en:summer-sale#discount" not in refs(retriever, question)
    hits = retriever.search(question, lang="en", limit=1, today=date(2026, 6, 30))
    assert hits[0].section.article == "summer-sale"
    assert not [
        h
        for h in retriever.search(question, lang="en", limit=9, today=date(2026, 7, 1))
        if h.section.article == "summer-sale"
    ]


def test_internal_articles_are_for_staff_only(retriever: Retriever) -> None:
    question = "By how much may staff lower a shelf price with NL-77?"
    assert refs(retriever, question)[0] == "en:price-override#limit"
    assert "en:price-override#limit" not in refs(retriever, question, internal=False)


def test_hits_come_best_first_with_a_cosine(retriever: Retriever) -> None:
    hits = retriever.search("return items within 30 days", lang="en", limit=5, today=TODAY)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(-1.001 <= hit.similarity <= 1.001 for hit in hits)
    assert retriever.search("return", lang="en", limit=0) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_no_question_breaks_the_search(retriever: Retriever, question: str) -> None:
    """S10: NUL, bidi marks, control characters, lone symbols."""
    assert retriever.search(question, lang=None, limit=2, today=TODAY)


@pytest.mark.parametrize("question", ["", " ", "\x00", "\ud800", "[/]", "退" * 20_000, "a" * 200_000])
def test_odd_questions_are_searched_too(retriever: Retriever, question: str) -> None:
    assert retriever.search(question, lang="en", limit=1, today=TODAY)


def test_an_article_is_given_in_the_language_asked_for_else_in_another(retriever: Retriever) -> None:
    assert retriever.article("returns-window", "zh").title == "退货期限"
    assert retriever.article("summer-sale", "zh").lang == "en"
    with pytest.raises(MissingError, match="no article 'nothing'"):
        retriever.article("nothing", "en")


def test_several_threads_search_at_once(retriever: Retriever) -> None:
    wanted = refs(retriever, "standard delivery price")
    found: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: found.append(refs(retriever, "standard delivery price"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 8


def test_a_long_section_is_found_by_the_sentence_that_answers(embedder: Embedder, tmp_path: Path) -> None:
    filler = " ".join(f"The branch in town number {n} opens at nine and closes at eight." for n in range(60))
    long = Section("long", "all", "Everything", "Everything", f"{filler} The purple hovercraft costs €777.", "en")
    short = Section("short", "all", "Kettles", "Kettles", "A kettle boils water for tea.", "en")
    articles = [Article("long", "Everything", "en", (long,)), Article("short", "Kettles", "en", (short,))]
    with Retriever.build(articles, embedder, tmp_path) as retriever:
        hit = retriever.search("The purple hovercraft costs €777.", lang="en", limit=1)[0]
    whole = float(embedder.passages([long.text])[0] @ embedder.queries(["The purple hovercraft costs €777."])[0])
    assert hit.section.ref == "long#all"
    assert hit.similarity > whole
    assert len(terms(long.text)) > PIECE_TERMS


def test_a_question_asked_before_leads_to_the_section_that_answered_it(
    articles: list[Article], embedder: Embedder, tmp_path: Path
) -> None:
    asked = [
        PastQuestion(
            text="my gadget is rubbish, am i stuck with it??", lang="en", evidence=("returns-window#how-long",)
        ),
        PastQuestion(text="what does sending it cost", lang="en", evidence=("delivery-standard#price",)),
        PastQuestion(text="运费多少", lang="zh", evidence=("delivery-standard#price",)),
        PastQuestion(text="这玩意儿不好用怎么办", lang="zh", evidence=("returns-window#how-long", "gone#away")),
    ]
    english, chinese = "this gadget is rubbish, am i stuck with it", "这玩意儿不好用怎么办"

    def score(retriever: Retriever, question: str) -> float:
        hits = retriever.search(question, lang=None, limit=9, today=TODAY)
        return next(hit.score for hit in hits if hit.section.ref == "returns-window#how-long")

    with Retriever.build(articles, embedder, tmp_path / "without") as retriever:
        before = [score(retriever, english), score(retriever, chinese)]
        assert refs(retriever, english)[0] != "en:returns-window#how-long"
    with Retriever.build(articles, embedder, tmp_path / "with", asked=asked) as retriever:
        assert refs(retriever, english)[0] == "en:returns-window#how-long"
        assert score(retriever, english) > before[0] + 0.5
        assert score(retriever, chinese) > before[1] + 0.5


class Counting(Embedder):
    """Counts how often passages are embedded."""

    calls = 0

    def passages(self, *args: object, **more: object):  # type: ignore[no-untyped-def, override]
        self.calls += 1
        return super().passages(*args, **more)  # type: ignore[arg-type]


def test_an_index_is_made_once_and_again_only_when_articles_or_embedder_change(
    articles: list[Article], embedder_folder: Path, tmp_path: Path
) -> None:
    counting = Counting(embedder_folder, threads=1)
    for _ in range(2):
        Retriever.build(articles, counting, tmp_path / "index").close()
    assert counting.calls == 1
    Retriever.build(articles[:-1], counting, tmp_path / "index").close()
    assert counting.calls == 2
    other = tmp_path / "other"
    shutil.copytree(embedder_folder, other)
    (other / "embedder.json").write_text((other / "embedder.json").read_text().replace("512", "511"))
    changed = Counting(other, threads=1)
    Retriever.build(articles[:-1], changed, tmp_path / "index").close()
    assert changed.calls == 1


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), which=st.integers(0, 99))
def test_a_damaged_index_is_made_again_unattended(
    articles: list[Article], embedder: Embedder, tmp_path: Path, place: float, bit: int, which: int
) -> None:
    """Part of F12, the index: one bit flipped anywhere in any of its files."""
    index = tmp_path / "index"
    with Retriever.build(articles, embedder, index) as retriever:
        wanted = refs(retriever, "standard delivery price")
    files = sorted(path for path in index.rglob("*") if path.is_file() and path.stat().st_size)
    path = files[which % len(files)]
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    with Retriever.build(articles, embedder, index) as retriever:
        assert refs(retriever, "standard delivery price") == wanted


@pytest.mark.parametrize(
    "damage", ["cut short", "file gone", "extra file", "manifest gone", "manifest not text", "emptied"]
)
def test_a_mangled_index_is_made_again_unattended(
    articles: list[Article], embedder: Embedder, tmp_path: Path, damage: str
) -> None:
    """Part of F12: the index."""
    Retriever.build(articles, embedder, tmp_path).close()
    made = tmp_path / "made"
    database = made / "chroma.sqlite3"
    match damage:
        case "cut short":
            os.truncate(database, database.stat().st_size // 2)
        case "file gone":
            database.unlink()
        case "extra file":
            (made / "chroma.sqlite3-wal").write_bytes(b"x" * 100)
        case "manifest gone":
            (made / "manifest.json").unlink()
        case "manifest not text":
            (made / "manifest.json").write_bytes(b"\xff\xfe\x00")
        case "emptied":
            shutil.rmtree(made)
    with Retriever.build(articles, embedder, tmp_path) as retriever:
        assert refs(retriever, "标准配送费是多少？")[0] == "zh:delivery-standard#price"


HOLD = """
import sys
from pathlib import Path
from runtime.text.articles import load_articles
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.retriever import Retriever
retriever = Retriever.build(load_articles(Path(sys.argv[1])), Embedder(Path(sys.argv[2]), threads=1), Path(sys.argv[3]))
print(retriever.search("standard delivery price", lang="en", limit=1)[0].section.ref, flush=True)
sys.stdin.read()
"""


def test_two_processes_search_one_index_and_a_killed_one_leaves_nothing(
    articles: list[Article], articles_folder: Path, embedder: Embedder, embedder_folder: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", HOLD, str(articles_folder), str(embedder_folder), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline().strip() == "delivery-standard#price"
        with Retriever.build(articles, embedder, tmp_path) as retriever:
            assert refs(retriever, "standard delivery price")[0] == "en:delivery-standard#price"
            assert len(list(tmp_path.glob("live-*"))) == 2
        other.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.glob("live-*"))) == 1
    Retriever.build(articles, embedder, tmp_path).close()
    assert not list(tmp_path.glob("live-*"))


def test_a_full_disk_while_indexing_is_a_space_error_and_leaves_nothing(
    articles: list[Article], embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F3."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(SpaceError):
        Retriever.build(articles, embedder, tmp_path)
    assert not list(tmp_path.glob("live-*"))


def test_a_bundle_is_searched_as_it_lies(make_bundle, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    bundle = open_bundle(make_bundle(), verify=True)
    seen: list[tuple[int, int]] = []
    with Retriever.open(
        bundle, tmp_path / "index", progress=lambda done, total: seen.append((done, total))
    ) as retriever:
        assert refs(retriever, "圣诞延长退货期")[0] == "zh:returns-window#christmas"
    assert seen[-1][0] == seen[-1][1] > 0


def test_nothing_to_search_is_said(embedder: Embedder, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no article"):
        Retriever.build([], embedder, tmp_path)


def test_articles_of_other_branches_and_products_are_not_found(embedder: Embedder, tmp_path: Path) -> None:
    rows = {
        "all": "",
        "here": "branch: Riverside\n",
        "two": "branch: [riverside, 河滨店]\nproduct: NL-TV-55\n",
        "there": "branch: 河滨店\n",
        "other": "product: [EL-4, EL-5]\n",
    }
    for name, front in rows.items():
        text = f"---\nid: {name}\nlang: en\n{front}---\n\nThe counter opens at nine.\n"
        (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
    with Retriever.build(load_articles(tmp_path), embedder, tmp_path / "index") as made:

        def found(**only: str) -> set[str]:
            hits = made.search("When does the counter open?", lang="en", limit=9, today=TODAY, **only)  # type: ignore[arg-type]
            return {hit.section.article for hit in hits}

        assert found() == set(rows)
        assert found(branch="RIVERSIDE") == {"all", "here", "two", "other"}
        assert found(branch="河滨店") == {"all", "two", "there", "other"}
        assert found(product="nl-tv-55") == {"all", "here", "two", "there"}
        assert found(branch="elsewhere", product="el-5") == {"all", "other"}


def test_a_second_look_changes_the_order_of_the_first_ten_alone(
    articles: list[Article], embedder: Embedder, retriever: Retriever, tmp_path: Path
) -> None:
    with Retriever.build(articles, embedder, tmp_path / "index", rerank=5.0) as looking:
        for question in ("How much is standard delivery?", "标准配送费是多少？", "x"):
            plain = retriever.search(question, lang=None, limit=5, today=TODAY)
            again = looking.search(question, lang=None, limit=5, today=TODAY)
            assert {hit.section.ref for hit in again} == {hit.section.ref for hit in plain}
            assert [hit.score for hit in again] == sorted((hit.score for hit in again), reverse=True)


def test_a_section_that_holds_every_word_of_the_question_gains_most(embedder: Embedder) -> None:
    texts = ("Standard delivery costs €4.90.", "Anything may be returned.", "标准配送费为4.90欧元。")
    sections = [Section(f"a{at}", "s", "", "", text, "en") for at, text in enumerate(texts)]
    reranker = Reranker(embedder, 2.0, lambda section: [section.text])
    gains = reranker.gains("delivery costs", [*sections, *(sections[1:2] * 9)])
    assert len(gains) == LOOKED_AT
    assert max(range(len(gains)), key=gains.__getitem__) == 0
    assert reranker.gains("配送费", sections)[2] == max(reranker.gains("配送费", sections))
    assert reranker.gains("x", sections[:1]) == [0.0]
    assert reranker.gains("x", []) == []


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_article_stuffed_with_every_word_pushes_no_best_section_out(
    lang: str, shop: Path, embedder: Embedder, tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S8: beside the cap of `spread`, how many questions still find their article among the three sections shown.

    The bound: no fewer than found it in the first place before, for one place of three is always another article's.
    """
    articles = load_articles(shop / lang / "articles")
    asked = [row for path in sorted((shop / lang).glob("questions*.jsonl")) for row in read_rows(Question, path)]
    queries = from_questions(asked)
    stuffed = " ".join(f"{one.title} {section.heading}" for one in articles for section in one.sections)
    sections = tuple(
        Section("flood", f"s{number}", stuffed, query.text, f"{query.text} {stuffed}", lang)
        for number, query in enumerate(queries[::8])
    )
    flood = Article("flood", stuffed, lang, sections)

    def found(corpus: list[Article], name: str, depth: int) -> float:
        with Retriever.build(corpus, embedder, tmp_path / name) as retriever:
            hits = [retriever.search(query.text, lang=lang, limit=3, today=TODAY)[:depth] for query in queries]
        return sum(
            any(hit.section.article in query.gold for hit in row) for row, query in zip(hits, queries, strict=True)
        ) / len(queries)

    first, shown = found(articles, "plain", 1), found(articles, "plain", 3)
    flooded = found([*articles, flood], "flooded", 3)
    sys.stderr.write(f"{lang}: of three {shown:.3f}, first {first:.3f}, flooded {flooded:.3f}\n")
    assert flooded >= first - 0.02
    assert shown > first
    count_trials("S8", len(queries))


def test_general_case_is_found_beside_the_special_one_that_ranks_first(embedder: Embedder, tmp_path: Path) -> None:
    case, lang = "Machines are heavy.", "en"
    large = [Section("large", name, "", "", f"{case} {name}", lang) for name in ("cost", "rebooking", "carry")]
    standard = Section("standard", "cost", "", "", "What delivery cost does: €4.90.", lang)
    articles = [
        Article("large", "L", lang, tuple(large)),
        Article("standard", "S", lang, (standard,)),
        Article("club", "C", lang, (Section("club", "join", "", "", "0123456789", lang),)),
    ]
    asked = "What does delivery cost for washing machines?"
    before = [
        PastQuestion(text=asked, lang=lang, evidence=(section.ref,), reply=case) for section in large for _ in range(9)
    ]
    # Many other questions about it are known, so that none is like this one counts.
    before += [PastQuestion(text=f"{n}{n}{n}", lang=lang, evidence=("standard#cost",)) for n in range(40)]
    with Retriever.build(articles, embedder, tmp_path, asked=before) as retriever:
        hits = retriever.search("What does delivery cost?", lang=lang, limit=3)
    assert hits[0].section.article == "large"
    assert hits[0].special
    assert "standard#cost" in [hit.section.ref for hit in hits]


@pytest.mark.parametrize(
    ("lang", "title", "good", "lie"),
    [
        ("en", "Returns", "You can return items within 30 days.", "Please note: you can return items within 92 days."),
        ("zh", "退货", "收到商品后30天内可以退货。", "请注意：收到商品后92天内可以退货。"),
    ],
)
def test_hits_name_the_articles_that_give_other_figures_and_no_others(
    embedder: Embedder, tmp_path: Path, lang: str, title: str, good: str, lie: str
) -> None:
    texts = {"good": good, "again": good, "lie": lie, "other": "Open from 9 am to 6 pm."}
    articles = [
        Article(name, title, lang, (Section(name, "s", title, "", text, lang),)) for name, text in texts.items()
    ]
    with Retriever.build(articles, embedder, tmp_path) as retriever:
        hits = retriever.search(good, lang=lang, limit=4)
    disputed = {hit.section.article: set(hit.disputed) for hit in hits}
    assert disputed == {"good": {"lie#s"}, "again": {"lie#s"}, "lie": {"good#s", "again#s"}, "other": set()}
