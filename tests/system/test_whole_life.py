"""A branch's whole life without a network, through the commands that people type at head office and in the branch.

    install.sh ─ ask ─ new articles ─ a release that fails its trial ─ an agent's correction ─ export ─ import ─
    the next model ─ release ─ update ─ the corrected question is answered right, and the receipt says so

Every command runs where there is no network device, loopback included. The ordinary run lives it in folders of this
machine, on models that say what a script says. The slow one lives it in a bare Debian, where `edgedesk build` makes
both models and tunes the second on the correction.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle.bundle import open_bundle
from runtime.errors import ExitCode
from runtime.feedback.learning import Correction
from runtime.feedback.receipt import RECEIPT, CorrectionOutcome, ImprovementReceipt, answers_right
from tests.support.bare_root import APP, BareRoot, unpacked
from tests.support.branch import POLICY, make_gguf
from tests.support.company import write_company
from tests.support.installed_branch import NETLESS, BareBranch, Branch, Machine, needs_namespaces, run
from tests.support.paths import ROOT
from tests.support.releases import seal
from tests.support.terminal import Terminal

pytestmark = [
    needs_namespaces,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed; the agent's console needs it"),
]


class HeadOffice:
    """The company's keys, the release that branches see, and what is typed there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.keys, self.release_folder = folder, folder / "keys", folder / "release"
        folder.mkdir()
        self.edgedesk("keys", "init", self.keys)

    @property
    def root(self) -> Path:
        """What branches compare the first release with."""
        return self.keys / "1.root.json"

    def edgedesk(self, *words: object) -> str:
        command = [*NETLESS, sys.executable, str(ROOT / "edgedesk.py"), *map(str, words)]
        return run(command, {**os.environ, "OMP_NUM_THREADS": "1"}, timeout=1500)

    def release(self, *words: object) -> dict[str, Any]:
        said = self.edgedesk("release", *words, "--keys", self.keys, "--to", self.release_folder, "--json")
        # A stick is mounted so that every account of the branch may read it; a test's folders are their owner's.
        subprocess.run(["chmod", "-R", "a+rX", str(self.release_folder)], check=True)
        return dict(json.loads(said))


@dataclass
class Story:
    """What is asked, and what is right when."""

    questions: dict[str, str]
    """By language; what the branch asks before and after new articles."""
    articles: Path
    changed: Callable[[Path], dict[str, str]]
    """Changes the articles; what they then say, by language."""
    bad: Callable[[Path], list[object]]
    """Makes a release that loads and answers badly in a folder; the words that release it."""
    asked: str
    """What the agent corrects."""
    reply: str
    better: Callable[[Path, Path], list[object]]
    """Makes the next release of a folder of imported feedback; the words that release it."""


def live(machine: Machine, office: HeadOffice, story: Story, windows: Callable[[Machine], Iterator[Terminal]]) -> None:
    """One life; the release for the installation lies on the stick."""
    ask = lambda question: dict(json.loads(machine.edgedesk("ask", question, "--json")))  # noqa: E731 - a word
    assert "done in" in machine.install_release(office.root)
    assert ask(story.questions["zh"])["answer"]

    # New articles, and nothing else.
    said = story.changed(story.articles)
    made = office.release("--articles", story.articles)
    assert (made["parts"]["model"], made["parts"]["articles"]) == (1, 2)
    assert made["files"] == len(said)
    assert json.loads(machine.edgedesk("update", machine.stick, "--json"))["outcome"] == "updated"
    for lang, text in said.items():
        answer = ask(story.questions[lang])
        assert any(text in citation["text"] for citation in answer["citations"]), answer
    # Chinese is not among the languages that these models write: the section itself is the answer.
    assert said["zh"] in answer["answer"]

    # A release that answers badly.
    office.release(*story.bad(office.folder / "bad"))
    before = generations(machine.home)
    assert "golden questions were answered right" in machine.edgedesk("update", machine.stick, code=ExitCode.MODEL)
    assert "has failed its trial before" in machine.edgedesk("update", machine.stick, code=ExitCode.MODEL)
    assert generations(machine.home) == before, "the branch is back where it was, and the bad one is gone"
    assert said["zh"] in ask(story.questions["zh"])["answer"]

    # A wrong draft, and an agent who knows better.
    with windows(machine) as window:
        window.open(machine.home, "--lang", "en")
        window.sees("· ready ·")
        window.type(story.asked)
        window.press("Enter")
        window.sees("Draft · not sent")
        window.press("F6")
        window.sees("Your reply ─")
        window.press("-N", "300", "BSpace")  # more than the draft has
        window.sees("Type your answer")
        window.type(story.reply)
        window.sees(story.reply)
        window.press("Enter")
        sent, again = "Draft · edited and sent", "Press the same key again"
        window.until(lambda: sent in window.text() or again in window.text())
        if again in window.text():  # where retrieval has not found what the agent knows
            window.press("Enter")
        window.sees(sent)
        window.until(lambda: corrected(machine.home))  # at the console's next look at its server
        window.quit()
    machine.edgedesk("feedback", "export", str(machine.outbox))
    office.edgedesk("feedback", "import", machine.home / machine.outbox.name, "--out", office.folder / "imported")
    (correction,) = corrections(office.folder / "imported")
    assert (correction.question, correction.reply) == (story.asked, story.reply)
    assert not answers_right(correction, correction.draft), "or the rest would prove nothing"

    # The next release.
    office.release(*story.better(office.folder / "imported", office.folder / "next"))
    assert json.loads(machine.edgedesk("update", machine.stick, "--json"))["outcome"] == "updated"
    answer = ask(story.asked)
    assert answers_right(correction, answer["answer"]), answer
    with windows(machine) as window:
        window.open(machine.home, "--lang", "en")
        window.sees("· ready ·")
        window.press("C-p")
        window.type("receipt")
        window.press("Enter")
        window.sees("answers 1 of this branch's 1 corrections right")
        window.sees(story.asked)
        window.leave("Improvement receipt")
        window.quit()


def generations(home: Path) -> tuple[str, list[str]]:
    """The current one, and all of them."""
    return (home / "current").readlink().name, sorted(path.name for path in (home / "generations").iterdir())


def corrected(home: Path) -> bool:
    """Whether the journal has the agent's reply."""
    with closing(sqlite3.connect(home / "journal.sqlite")) as db:
        return bool(db.execute("SELECT 1 FROM feedback WHERE verdict = 'edited'").fetchone())


def corrections(imported: Path) -> list[Correction]:
    lines = (imported / "corrections.jsonl").read_text(encoding="utf-8").splitlines()
    return [Correction.model_validate_json(line) for line in lines]


class BranchWindow(Terminal):
    """The installed console."""

    machine: Machine

    def words(self, home: Path, *flags: str) -> list[str]:
        return self.machine.words("console", *flags)


@pytest.fixture
def windows(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Machine], Iterator[Terminal]]:
    @contextmanager
    def window(machine: Machine) -> Iterator[Terminal]:
        terminal = BranchWindow(tmp_path_factory.mktemp("tty"), 132, 36)
        terminal.machine = machine
        try:
            yield terminal
        finally:
            subprocess.run(["tmux", "-S", terminal.socket, "kill-server"], capture_output=True, check=False)
            os.close(terminal.painted)

    return window  # type: ignore[return-value]


def write_probes(path: Path, *rows: tuple[str, str, str]) -> Path:
    """Golden questions: question, language, what its answer holds."""
    texts = (
        json.dumps({"question": q, "lang": lang, "contains": [said]}, ensure_ascii=False) for q, lang, said in rows
    )
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def replace_in(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


DELIVERY = {
    "en": "How much does standard delivery cost?",
    "zh": "标准配送费是多少？",
}


def test_branch_lives_a_life_on_scripted_models_without_a_network(
    program: Path,
    app_folder: Path,
    make_bundle: Callable[..., Path],
    scripted_gguf: Path,
    random_gguf: Path,
    windows: Callable[[Machine], Iterator[Terminal]],
    tmp_path: Path,
    count_trials: Callable[[str, int], None],
) -> None:
    """S12, F7: each step is the product's own but for the tuning: the next model is scripted to say what it learnt."""
    office = HeadOffice(tmp_path / "office")

    def bundle(version: str, model: Path) -> Path:
        root = make_bundle(f"build {version}/bundle", version)
        for quantization in ("q8_0", "q4_k_m"):
            shutil.copyfile(model, root / "model" / f"{quantization}.gguf")
        (root / "policy.toml").write_text(POLICY.format(min_similarity=0.3), encoding="utf-8")
        return seal(root)

    first = bundle("1", scripted_gguf)
    articles = shutil.copytree(first / "articles", tmp_path / "articles")
    probes = write_probes(tmp_path / "probes.jsonl", (DELIVERY["en"], "en", "4.90"), (DELIVERY["zh"], "zh", "4.90"))

    def changed(folder: Path) -> dict[str, str]:
        replace_in(folder / "en" / "returns-window.md", "within 30 days", "within 45 days")
        replace_in(folder / "zh" / "returns-window.md", "30天内", "45天内")
        return {"en": "within 45 days", "zh": "45天内"}

    def better(imported: Path, _: Path) -> list[object]:
        says = "Standard delivery costs €4.90 and is free from €60."
        model = make_gguf(tmp_path / "better.gguf", script=says)
        made = bundle("3", model)
        shadow = ("feedback", "shadow", imported, "--current", first, "--candidate", made, "--json")
        compared = json.loads(office.edgedesk(*shadow))
        assert compared["figures"]["corrections_right"] == [0, 1]
        outcomes = tuple(
            CorrectionOutcome(key=one["key"], passes=one["right"][1]) for one in compared["answers"] if one["right"]
        )
        (made / "report").mkdir()
        receipt = ImprovementReceipt(release="shop 3", corrections=outcomes)
        (made / "report" / RECEIPT).write_text(receipt.model_dump_json(), encoding="utf-8")
        return [seal(made), "--articles", articles, "--probes", probes]

    office.release(first, "--wheels", app_folder)
    live(
        Branch(tmp_path, office.release_folder, program),
        office,
        Story(
            questions={"en": "How long do I have to return an item?", "zh": "大多数商品多长时间内可以退货？"},
            articles=articles,
            changed=changed,
            bad=lambda _: [bundle("2", random_gguf), "--articles", articles, "--probes", probes],
            asked=DELIVERY["en"],
            reply="Standard delivery costs €4.90.",
            better=better,
        ),
        windows,
    )
    count_trials("S12", 12)
    count_trials("F7", 1)


RECIPE = """name = "small"
version = "{version}"

[base]
model = {base}
embedder = {embedder}

[data]
articles = {{ en = "company/articles", zh = "company/zh" }}
house_rules = {{ en = "company/rules.md", zh = "company/rules.zh.md" }}
policy = {{ en = "company/policy.toml", zh = "company/policy.zh.toml" }}
{feedback}
{transcripts}

[prompt]
articles = 2
answer_tokens = 24

[packing]
records = 4
tokens = 900
refusals = 1

[lora]
{lora}
precision = "f32"

[quantize]
formats = ["q8_0"]
default = "q8_0"
onnx = false

[evaluate]
packs = 1
questions = 0
attacks = 0
{last}
"""
TRANSCRIPTS = '[[data.transcripts]]\npath = "company/en.csv"'
RETURNS = "# Returns {{#returns}}\n\n## How long {{#how-long}}\n\nYou may return it within {} days.\n"
ZH_RETURNS = (
    "---\nid: returns\ntitle: 退货\nlang: zh\n---\n\n## 多长时间内可以退货 {{#how-long}}\n\n商品可在{}天内退货。\n"
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_branch_lives_its_whole_life_in_a_bare_debian_on_models_that_are_built(
    debian: Path,
    tiny_llama: Path,
    tiny_encoder: Path,
    random_gguf: Path,
    windows: Callable[[Machine], Iterator[Terminal]],
    tmp_path: Path,
    count_trials: Callable[[str, int], None],
) -> None:
    """S12, F7: both models come from `edgedesk build`, the second tuned from the first on what the agent corrected."""
    if not (APP / "install.sh").is_file():
        pytest.skip("dist/app is missing: ./build.sh app")
    office = HeadOffice(tmp_path / "office")
    company = office.folder / "company"
    write_company(company)
    (company / "rules.zh.md").write_text("只根据资料回答。\n", encoding="utf-8")
    (company / "policy.zh.toml").write_text('[refusal]\ntext = "我没有找到。"\n', encoding="utf-8")
    (company / "zh").mkdir()

    def write_returns(days: int) -> None:
        (company / "articles" / "returns.md").write_text(RETURNS.format(days), encoding="utf-8")
        (company / "zh" / "returns.md").write_text(ZH_RETURNS.format(days), encoding="utf-8")

    def build(name: str, **changes: str) -> Path:
        texts = {"feedback": "", "transcripts": TRANSCRIPTS, "last": "", "lora": "packs = 1\nrank = 2"}
        recipe = office.folder / f"{name}.toml"
        models = {"base": json.dumps(str(tiny_llama)), "embedder": json.dumps(str(tiny_encoder))}
        recipe.write_text(RECIPE.format(**models | texts | changes), encoding="utf-8")
        office.edgedesk("build", recipe, "--work", office.folder / name)
        return office.folder / name / "bundle"

    def changed(folder: Path) -> dict[str, str]:
        write_returns(45)
        for lang, source in (("en", "articles"), ("zh", "zh")):
            shutil.copyfile(company / source / "returns.md", folder / lang / "returns.md")
        return {"en": "within 45 days", "zh": "45天内"}

    asked, reply = "How long may I return it?", "You may return it within 45 days."
    probes = write_probes(
        office.folder / "probes.jsonl", (asked, "en", "45 days"), ("多长时间内可以退货？", "zh", "45天")
    )

    def bad(folder: Path) -> list[object]:
        """As if a disk had spoilt the weights before they were hashed."""
        shutil.copytree(first, folder / "bundle")
        (model,) = (folder / "bundle" / "model").glob("*.gguf")
        shutil.copyfile(random_gguf, model)
        return [seal(folder / "bundle"), "--articles", articles, "--probes", probes]

    def better(imported: Path, folder: Path) -> list[object]:
        shutil.copytree(first.parent, folder)  # what has not changed is not made again
        learns = "packs = 4\nrank = 16\nepochs = 60\nlearning_rate = 0.01"
        made = build(
            folder.name,
            version="3",
            base=json.dumps(str(first.parent / "merged")),
            feedback=f'feedback = "{imported.name}"',
            lora=learns,
            last=f'\n[last_release]\nwork = "{first.parent.name}"\nreplay = 0.0\n',
        )
        return [made, "--articles", articles, "--probes", probes]

    write_returns(30)
    first = build("first", version="1")
    articles = shutil.copytree(first / "articles", office.folder / "published articles")
    office.release(first, "--wheels", APP)
    with unpacked(debian, tmp_path / "root") as folder:
        live(
            BareBranch(BareRoot(folder, office.release_folder)),
            office,
            Story(
                questions={"en": asked, "zh": "多长时间内可以退货？"},
                articles=articles,
                changed=changed,
                bad=bad,
                asked=asked,
                reply=reply,
                better=better,
            ),
            windows,
        )
    assert open_bundle(office.folder / "next" / "bundle", verify=True).info.version == "3"
    count_trials("S12", 12)
    count_trials("F7", 1)
