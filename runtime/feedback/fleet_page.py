"""All branches on one page, made from their exports: what they run, how it is used, what fails, what is missing.

One HTML file without script, font or picture from elsewhere; it may be opened from a stick. Promises: whatever a
branch, a bundle or a customer is called or writes is shown as text; the page is in English or Chinese throughout. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from runtime.feedback.export_file import SHOWN_UNREADABLE, ExportHeader, FeedbackExport, newest_turns
from runtime.feedback.html_tables import html_mark, html_page, html_table, html_text
from runtime.feedback.learning import KnowledgeGap, gaps_of
from runtime.feedback.use import Use, measure_use
from runtime.journal.outbox import OutboxRow

SILENT_AFTER = timedelta(days=14)
"""A branch that has not exported for so long is marked."""
SHOWN_GAPS = 100
WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Fleet",
        "about": "{branches} branches, {turns} questions, {releases} releases in use. As of {now}.",
        "unreadable": "{count} files could not be read and are not counted: {names}",
        "branches": "Branches",
        "releases": "Releases",
        "gaps": "What no article answers",
        "no_gaps": "No question was handed over for want of an article.",
        "no_branches": "No branch has exported anything.",
        "branch": "branch",
        "release": "release",
        "exported": "last export",
        "turns": "questions",
        "helped": "helped",
        "unchanged": "sent unchanged",
        "rewritten": "rewritten",
        "handed_off": "handed over",
        "failed": "failed",
        "rating": "rating",
        "left": "not exported",
        "asked": "asked",
        "question": "question",
        "answers": "agents' answers",
        "silent": "silent",
        "behind": "not the newest",
        "aside": "{count} set aside",
        "dropped": "{count} dropped",
        "legend": "Helped: accepted, or less than half of the draft rewritten, of all judged drafts. Rewritten: mean"
        " edit distance of accepted and edited drafts.",
    },
    "zh": {
        "title": "门店总览",
        "about": "{branches} 家门店，{turns} 个问题，在用版本 {releases} 个。截至 {now}。",
        "unreadable": "有 {count} 个文件无法读取，未计入：{names}",
        "branches": "门店",
        "releases": "版本",
        "gaps": "没有文章能回答的问题",
        "no_gaps": "没有因缺少文章而转人工的问题。",
        "no_branches": "还没有门店导出数据。",
        "branch": "门店",
        "release": "版本",
        "exported": "最近导出",
        "turns": "问题数",
        "helped": "有帮助",
        "unchanged": "原样发送",
        "rewritten": "改写程度",
        "handed_off": "转人工",
        "failed": "失败",
        "rating": "评分",
        "left": "未导出",
        "asked": "次数",
        "question": "问题",
        "answers": "客服的回答",
        "silent": "无音讯",
        "behind": "非最新版本",
        "aside": "搁置 {count} 条",
        "dropped": "丢弃 {count} 条",
        "legend": "有帮助：在已评价的草稿中，被直接采用或改动不到一半的比例。"
        "改写程度：采用和修改过的草稿的平均编辑距离。",
    },
}


@dataclass(frozen=True)
class BranchSummary:
    """One branch as its exports show it."""

    header: ExportHeader
    """Of the newest."""
    use: Use

    @property
    def release(self) -> str:
        """Name and version of its bundle."""
        return f"{self.header.bundle} {self.header.version}"


def summarise(exports: Iterable[FeedbackExport]) -> list[BranchSummary]:
    """Branches by name."""
    by_name: defaultdict[str, list[FeedbackExport]] = defaultdict(list)
    for export in exports:
        by_name[export.header.branch].append(export)
    return [
        BranchSummary(
            max((one.header for one in own), key=lambda header: header.exported),
            measure_use(newest_turns(own).values()),
        )
        for _, own in sorted(by_name.items())
    ]


def fleet_page(
    exports: Sequence[FeedbackExport], *, now: datetime, lang: str = "en", unreadable: Sequence[str] = ()
) -> str:
    """The page; `now` tells which branches are silent, `unreadable` names the files that it is not about."""
    words = WORDS[lang]
    branches = summarise(exports)
    turns = newest_turns(exports)
    newest = max(branches, key=lambda one: (one.header.generation, one.header.exported), default=None)
    releases = sorted({one.release for one in branches})
    said = words["about"].format(
        branches=len(branches), turns=len(turns), releases=len(releases), now=f"{now:%Y-%m-%d %H:%M}"
    )
    parts = [f"<h1>{html_text(words['title'])}</h1>", f"<p>{html_text(said)}</p>"]
    if unreadable:
        names = "、".join(unreadable[:SHOWN_UNREADABLE]) if lang == "zh" else ", ".join(unreadable[:SHOWN_UNREADABLE])
        more = " …" if len(unreadable) > SHOWN_UNREADABLE else ""
        parts.append(f"<p>{html_mark(words['unreadable'].format(count=len(unreadable), names=names + more))}</p>")
    if branches:
        parts += [f"<h2>{html_text(words['branches'])}</h2>", f"<p>{html_text(words['legend'])}</p>"]
        parts.append(_branch_table(branches, newest.release if newest else "", now, words))
        parts += [f"<h2>{html_text(words['releases'])}</h2>", _release_table(turns.values(), words)]
        parts += [f"<h2>{html_text(words['gaps'])}</h2>", _gap_table(gaps_of(turns.values()), words)]
    else:
        parts.append(f"<p>{html_text(words['no_branches'])}</p>")
    return html_page(words["title"], parts, lang=lang)


def _branch_table(branches: Sequence[BranchSummary], newest: str, now: datetime, words: Mapping[str, str]) -> str:
    rows = []
    for one in branches:
        header = one.header
        marks = [words["behind"]] if one.release != newest else []
        late = [words["silent"]] if _is_silent(header.exported, now) else []
        left = [words["aside"].format(count=header.aside)] if header.aside else []
        left += [words["dropped"].format(count=header.dropped)] if header.dropped else []
        rows.append(
            [
                html_text(header.branch),
                html_text(one.release) + "".join(map(html_mark, marks)),
                html_text(header.exported[:10]) + "".join(map(html_mark, late)),
                *_use_cells(one.use),
                html_text(", ".join(left) or "–"),
            ]
        )
    names = ("branch", "release", "exported", *_USE, "left")
    return html_table([words[name] for name in names], rows)


_USE = ("turns", "helped", "unchanged", "rewritten", "handed_off", "failed", "rating")


def _use_cells(use: Use) -> list[str]:
    failed = use.failed / use.turns if use.turns else None
    shares = (use.helped_share, use.unchanged_share, use.rewritten, use.hand_off_rate, failed)
    rating = "–" if use.rating is None else f"{use.rating:.1f}"
    return [f"{use.turns:,}", *("–" if share is None else f"{share:.0%}" for share in shares), rating]


def _release_table(turns: Iterable[OutboxRow], words: Mapping[str, str]) -> str:
    by_model: defaultdict[str, list[OutboxRow]] = defaultdict(list)
    for row in turns:
        by_model[row.model or "–"].append(row)
    rows = [[html_text(model), *_use_cells(measure_use(own))] for model, own in sorted(by_model.items())]
    return html_table([words[name] for name in ("release", *_USE)], rows)


def _gap_table(gaps: Sequence[KnowledgeGap], words: Mapping[str, str]) -> str:
    if not gaps:
        return f"<p>{html_text(words['no_gaps'])}</p>"
    rows = [
        [f"{gap.asked:,}", "<br>".join(map(html_text, gap.questions)), "<br>".join(map(html_text, gap.answers)) or "–"]
        for gap in gaps[:SHOWN_GAPS]
    ]
    return html_table([words[name] for name in ("asked", "question", "answers")], rows, text=(1, 2))


def _is_silent(exported: str, now: datetime) -> bool:
    try:
        return now - datetime.fromisoformat(exported) > SILENT_AFTER
    except (TypeError, ValueError):  # a branch whose clock or program wrote no time of ours
        return True
