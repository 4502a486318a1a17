from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import EdgedeskError, InputError, MissingError
from runtime.text.articles import Article, guess_language, is_han, load_articles, parse_article, slug

PATH = Path("退货.md")


def parse(text: str) -> Article:
    return parse_article(text, PATH)


def test_an_article_is_cut_at_its_headings() -> None:
    article = parse(
        "---\nid: returns\ntitle: Returns\nlang: en\nvalid_from: 2026-01-01\nvalid_until: 2026-12-31\n---\n\n"
        "## How long {#how-long}\n\nThirty days.\n\n### Detail\n\nstays.\n\n## Gifts\n\nWith receipt.\n"
    )
    assert [section.ref for section in article.sections] == ["returns#how-long", "returns#gifts"]
    assert article.sections[0].text == "Thirty days.\n\n### Detail\n\nstays."
    assert article.sections[1].heading == "Gifts"
    assert [article.valid_on(date(y, 12, 31)) for y in (2025, 2026, 2027)] == [False, True, False]


def test_a_chinese_article_without_front_matter_is_read_whole() -> None:
    article = parse("# 退货期限\n\n大多数商品可退。\n\n## 多长时间？\n\n30天内。\n\n## 多长时间？\n\n圣诞更长。\n")
    assert (article.id, article.title, article.lang) == ("退货", "退货期限", "zh")
    assert [section.anchor for section in article.sections] == ["overview", "多长时间", "多长时间-2"]


def test_two_headings_never_share_an_anchor() -> None:
    article = parse("## A {#a-2}\n\nx\n\n## A\n\ny\n\n## A\n\nz\n")
    refs = [section.ref for section in article.sections]
    assert len(refs) == len(set(refs)) == 3


def test_windows_line_ends_and_an_indented_rule_do_no_harm() -> None:
    article = parse("---\r\nid: a\r\ntitle: A\r\n---\r\n\r\n## H {#h}\r\n\r\ntext\r\n")
    assert article.sections[0].text == "text"


def test_a_heading_inside_a_code_block_is_text() -> None:
    article = parse("## Setup {#setup}\n\n```\n## not a heading\n```\n\nend\n")
    assert [section.anchor for section in article.sections] == ["setup"]
    assert "## not a heading" in article.sections[0].text


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("---\nid: a\n## H\n\nx", "no closing '---'", ":1"),
        ("---\nid: [\n---\nx", "not YAML", ":2"),
        ("---\n- a\n- b\n---\nx", "not 'key: value' lines", ":2"),
        ("---\njust words\n---\nx", "not 'key: value' lines", ":2"),
        ("---\nvalid_untill: 2026-01-01\n---\nx", "unknown front matter key 'valid_untill'", ""),
        ("---\naudience: all\n---\nx", "audience 'all'", ""),
        ("---\naudience: [public]\n---\nx", "audience", ""),
        ("---\nid: ../../etc\n---\nx", "id '../../etc'", ""),
        ("---\nid: ..\n---\nx", "id '..'", ""),
        ("---\nvalid_from: soon\n---\nx", "valid_from 'soon' is not a date", ""),
        ("---\nvalid_from: 2026-02-30\n---\nx", "date|not YAML", ""),
        ("---\nvalid_until: 20260131\n---\nx", "valid_until", ""),
        ("---\nlang: Klingon\n---\nx", "lang 'klingon'", ""),
        ("---\nid: a\n---\n\n## H\n\n## I\n", "no text", ""),
        ("# Title only\n", "no text", ""),
    ],
)
def test_a_malformed_article_is_refused_naming_the_place(text: str, message: str, where: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse(text)
    assert str(PATH) in caught.value.where
    assert caught.value.where.endswith(where)


def test_a_time_of_day_is_no_obstacle_to_a_date() -> None:
    article = parse("---\nvalid_from: 2026-01-31 10:00:00\n---\nx")
    assert article.valid_on(date(2026, 1, 31))


@pytest.mark.parametrize("key", ["id", "title", "topic"])
def test_a_number_or_nothing_as_a_value_is_read_as_its_text(key: str) -> None:
    assert str(getattr(parse(f"---\n{key}: 42\n---\nx"), key)) == "42"
    assert getattr(parse(f"---\n{key}:\n---\nx"), key) != "None"


@given(st.text())
def test_any_text_is_an_article_or_an_error(text: str) -> None:
    with suppress(EdgedeskError):
        article = parse(text)
        assert all(section.text.strip() for section in article.sections)
        refs = [section.ref for section in article.sections]
        assert len(refs) == len(set(refs))


@given(st.text())
def test_any_front_matter_is_read_or_refused(text: str) -> None:
    with suppress(EdgedeskError):
        parse(f"---\n{text}\n---\nwords")


def test_a_folder_is_read_in_order_in_both_languages(articles_folder: Path) -> None:
    articles = load_articles(articles_folder)
    assert [(a.lang, a.id) for a in articles] == sorted((a.lang, a.id) for a in articles)
    assert {"en", "zh"} == {article.lang for article in articles}


def test_an_id_used_twice_in_one_language_is_refused_naming_both(tmp_path: Path) -> None:
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text("---\nid: same\n---\nwords\n")
    with pytest.raises(InputError, match=r"a\.md") as caught:
        load_articles(tmp_path)
    assert "b.md" in caught.value.where


def test_a_folder_without_articles_or_without_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no article"):
        load_articles(tmp_path)
    with pytest.raises(MissingError):
        load_articles(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        ("退货".encode("gb18030"), "not UTF-8"),
        ("退货".encode("utf-16"), "not UTF-8"),
        (b"x" * 2_000_000, "KiB"),
    ],
    ids=["empty", "GB18030", "UTF-16", "2 MB"],
)
def test_one_bad_file_in_a_folder_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "good.md").write_text("words\n")
    (tmp_path / "坏.md").write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        load_articles(tmp_path)
    assert "坏.md" in caught.value.where


def test_languages_are_told_apart_by_script() -> None:
    assert guess_language("How much is it?") == "en"
    assert guess_language("NL-17多少钱？") == "zh"
    assert guess_language("") == guess_language("123 !?") == "en"
    assert all(is_han(char) for char in "退㐀豈𠀀")
    assert not any(is_han(char) for char in "aé、。１ア")


def test_an_anchor_is_made_of_any_script() -> None:
    assert slug("  How long?! ") == "how-long"
    assert slug("多长时间（天）") == "多长时间-天"
    assert len(slug("x" * 500)) == 60


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ("## Till\n\n```till --restart```\n\n## Next\n\nwords\n", ["```till --restart```", "words"]),
        ("## A\n\n````\n```\n## no\n```\n````\n\n## B\n\nwords\n", ["````\n```\n## no\n```\n````", "words"]),
        ("## A\n\n~~~ sh\n```\n~~~\n\n## B\n\nwords\n", ["~~~ sh\n```\n~~~", "words"]),
        ("## A\n\n```\n## no\n`````\n## B\n\nwords\n", ["```\n## no\n`````", "words"]),
        ("## A\n\n    ```\n\n## B\n\nwords\n", ["```", "words"]),
        ("## A ##\n\none\n\n##B\n\n   ## C\n\nwords\n", ["one\n\n##B", "words"]),
    ],
    ids=["one line", "longer outside", "other character", "closed by more", "indented", "closing marks"],
)
def test_article_fences_and_headings_follow_commonmark(body: str, texts: list[str]) -> None:
    assert [section.text for section in parse(body).sections] == texts


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("---\nid: a\n---\n\n## A\n\n```sh\nx\n\n## B\n\nwords\n", "the code block is not closed", 7),
        ("## A\n\nwords\n\n<!-- todo\n\n## B\n\nwords\n", "the comment is not closed", 5),
        ("## A\r\n\r\n~~~~\r\n~~~\r\n", "the code block is not closed", 3),
    ],
)
def test_article_with_an_open_block_is_refused_with_its_line(text: str, what: str, line: int) -> None:
    with pytest.raises(InputError, match=what) as caught:
        parse(text)
    assert caught.value.where == f"{PATH}:{line}"


def test_article_comments_never_leave_the_file() -> None:
    article = parse(
        "---\ntitle: Prices <!-- draft -->\n---\n# Old <!-- margin -->\n\n"
        "## Price <!-- margin 40 percent --> {#price}\n\n"
        "It costs 5 EUR<!-- goodwill up to 80 EUR -->.<!-->\n<!-- two\n## Secret\nlines --> End.\n\n"
        "<!-- alone -->\n\n## 退货<!-- 毛利 -->\n\n30天<!-- 可放宽 -->。\n"
    )
    assert article.title == "Prices"
    assert [(s.anchor, s.heading, s.text) for s in article.sections] == [
        ("price", "Price", "It costs 5 EUR.\n End."),
        ("退货", "退货", "30天。"),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "5&nbsp;EUR &amp; more, A&T, R&D; &unknown; &#27;[2J &#x1F600;",
            "5 EUR & more, A&T, R&D; &unknown; [2J \U0001f600",
        ),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("| a<br>b | <b>c</b> |", "| a b | c |"),
        ('<p class="x">Open <b>daily</b>, <i>9</i> to <em>18</em></p>', "Open daily, 9 to 18"),
        ('<img src="a.png" alt="The lid"> opens', "The lid opens"),
        ("Write <your name>, not <EMAIL_1> & 3 < 4 > 2", "Write <your name>, not <EMAIL_1> & 3 < 4 > 2"),
        ("Type `<b>` and ``&amp;`` here", "Type `<b>` and ``&amp;`` here"),
        ("&lt;b&gt; is a tag", "<b> is a tag"),
        ("满&nbsp;60&nbsp;欧元<br>免运费", "满 60 欧元\n免运费"),
    ],
)
def test_article_tags_and_entities_read_as_text(line: str, expected: str) -> None:
    assert parse(f"## A\n\n{line}\n").sections[0].text == expected


def test_article_code_keeps_its_tags() -> None:
    assert parse("## A\n\n```html\n<b>&amp;</b>\n```\n").sections[0].text == "```html\n<b>&amp;</b>\n```"


def test_article_front_matter_cannot_grow(tmp_path: Path) -> None:
    bomb = "a: &a [x,x]\n" + "".join(f"b{n}: &b{n} [*a,*a]\n" for n in range(9))
    for front in (bomb, "title: &x words\ntopic: *x", "<<: &m {a: 1}\ntitle: *m"):
        with pytest.raises(InputError, match="not YAML") as caught:
            parse(f"---\n{front}\n---\nwords")
        assert "aliases" in caught.value.hint
    for front, what in (
        ("title: [a, b]", "title is not one value"),
        ("topic: {a: b}", "topic is not one value"),
        ("branch: [[a]]", "branch is not one value"),
        ("id: {a: b}", "id is not one value"),
        (f"title: {'x' * 600}", "title has more than 500 characters"),
        ("topic: x\n" * 300, "no closing"),
    ):
        with pytest.raises(InputError, match=what):
            parse(f"---\n{front}\n---\nwords")


def test_article_that_is_a_link_is_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("root words\n")
    folder = tmp_path / "articles"
    folder.mkdir()
    (folder / "a.md").write_text("words\n")
    (folder / "x.md").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="a link") as caught:
        load_articles(folder)
    assert "x.md" in caught.value.where


def test_articles_without_text_are_named_and_the_others_read(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Only a heading\n")
    (tmp_path / "b.md").write_text("## Price\n\n5 EUR\n")
    (tmp_path / "c.md").write_text("---\nid: c\n---\n\n## H\n")
    said: list[str] = []
    assert [article.id for article in load_articles(tmp_path, warn=said.append)] == ["b"]
    assert ["a.md" in said[0], "c.md" in said[1], len(said)] == [True, True, 2]
    (tmp_path / "b.md").unlink()
    with pytest.raises(InputError, match="no article has any text"):
        load_articles(tmp_path, warn=said.append)


def test_articles_of_a_folder_are_refused_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\nid: [\n---\nx")
    (tmp_path / "b.md").write_text("---\naudience: red\n---\nx")
    (tmp_path / "c.md").write_text("words\n")
    with pytest.raises(InputError, match="2 of 3 articles") as caught:
        load_articles(tmp_path)
    assert all(name in str(caught.value) for name in ("a.md:2", "b.md", "red"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Write `<!--` and then `-->`.", "Write `<!--` and then `-->`."),
        ("写 `<!--` 再写 `-->`。", "写 `<!--` 再写 `-->`。"),
        ("Type ``a ` <!-- b -->`` here<!-- secret -->.", "Type ``a ` <!-- b -->`` here."),
        ("one ` stray\nand `<!-- secret -->` more", "one ` stray\nand `` more"),
        ("a \\` b `<!-- secret -->` c", "a \\` b `` c"),
        ("```html\n<!-- shown -->\n[//]: # (shown)\n```", "```html\n<!-- shown -->\n[//]: # (shown)\n```"),
        ('words\n\n[//]: # (margin 40 percent)\n[comment]: <> (goodwill)\n[//]: # "note"\nend', "words\n\nend"),
        ("正文\n\n[//]: # (毛利40%)\n[注释]: <> (可放宽)\n[备注]: # (可放宽)\n结束", "正文\n\n结束"),
        ("See [faq].\n\n[faq]: https://a.example", "See [faq].\n\n[faq]: https://a.example"),
        ("It is <?php echo $margin; ?>here<![CDATA[ 40 ]]>.", "It is here."),
        ("在<script>\n// 毛利\n# no\n</script>这里<style>p {}</style>。", "在\n这里。"),
        ("Use the <script> tag, or <?xml.", "Use the <script> tag, or <?xml."),
        ('See <a href="x"\n   title="y">the list</a>.', "See the list."),
        ("满<span\nclass='x'>60</span>欧元", "满60欧元"),
        ("3 <b\n\n4 > 2", "3 <b\n\n4 > 2"),
    ],
)
def test_article_hides_what_is_no_text_and_keeps_code(body: str, expected: str) -> None:
    assert [section.text for section in parse(f"## A\n\n{body}\n").sections] == [expected]


def test_article_with_an_open_note_is_refused() -> None:
    with pytest.raises(InputError, match="the comment is not closed") as caught:
        parse("## A\n\nwords\n\n[//]: # (margin\n40 percent)\n")
    assert caught.value.where == f"{PATH}:5"


@pytest.mark.parametrize(
    "code",
    [
        "- ```sh\n  ## no\n  <!-- shown -->\n  ```",
        "* ~~~\n  ## no\n  ~~~",
        "- 做：\n  - ```\n    ## 不是标题\n    ```",
        "10. Do this:\n\n    ```sh\n    ## no\n    <!-- shown -->\n    ```",
        "10. ```sh\n    ## no\n    ```\n11. next",
        "-\t```sh\n\t## no\n\t```",
        "- ```sh\n  never closed\n\nwords",
    ],
)
def test_article_fences_in_lists_are_code(code: str) -> None:
    article = parse(f"## A\n\n{code}\n\n## B\n\nwords\n")
    assert [section.text for section in article.sections] == [code, "words"]


@pytest.mark.parametrize("number", ["0x" + "f" * 9000, "59" + ":59" * 3000, "1" * 9000], ids=["hex", "base 60", "ones"])
@pytest.mark.parametrize("front", ["title: {}", "valid_from: {}", "audience: {}"])
def test_article_front_matter_with_a_number_beyond_bounds_is_refused(number: str, front: str) -> None:
    with pytest.raises(InputError):
        parse(f"---\n{front.format(number)}\n---\nwords")


@pytest.mark.parametrize(
    ("front", "wanted"),
    [
        ("lang: no", ("no", "a", "Words")),
        ("lang: zh-CN\ntitle: 12:30", ("zh", "a", "12:30")),
        ("lang: 中文\nid: 010", ("zh", "010", "Words")),
        ('lang: "EN"\nlayout: page\ntags: [a, b]', ("en", "a", "Words")),
        ('valid_from: "2026-01-31"', ("en", "a", "Words")),
        ("title: yes", ("en", "a", "yes")),
    ],
)
def test_article_front_matter_of_other_systems_is_read_as_it_was_written(
    front: str, wanted: tuple[str, str, str]
) -> None:
    """A4."""
    article = parse_article(f"---\n{front}\n---\n# Words\n\ntext\n", Path("a.md"))
    assert (article.lang, article.id, article.title) == wanted
    assert article.valid_from in (None, date(2026, 1, 31))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("Return policy (2026).md", "return-policy-2026"), ("退货 [新].markdown", "退货-新"), ("A.MD", "A")],
)
def test_article_file_of_any_name_is_read(name: str, wanted: str, tmp_path: Path) -> None:
    """A4."""
    (tmp_path / name).write_text("words\n", encoding="utf-8")
    assert [article.id for article in load_articles(tmp_path)] == [wanted]


def test_article_headings_are_sections_however_they_are_marked() -> None:
    """A2."""
    text = "Guide\n=====\n\nIntro.\n\nReturns\n-------\n\n30 days.\n\n# Delivery\n\n5 euros.\n\n---\n\n"
    article = parse(f"{text}Two\nlines\n---\n\nend\n")
    assert article.title == "Guide"
    assert [(each.heading, each.text.split("\n")[0]) for each in article.sections] == [
        ("Guide", "Intro."), ("Returns", "30 days."), ("Delivery", "5 euros."),
    ]  # fmt: skip
    assert "Two\nlines" in article.sections[-1].text
