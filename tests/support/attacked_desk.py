"""A desk that is attacked: a company's articles with hostile ones among them, and the worst model there could be.

The model obeys: whatever asks it to say one of the attacks' signs, anywhere in its prompt, has its way. So what keeps a
sign from being said are the desk's own checks, and without them every attack has its way.

    python -m tests.support.attacked_desk     # records the encoder's vectors of all that the desk embeds
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from distill.classifiers.dictation_training import train_dictation
from runtime.base.settings import Settings
from runtime.bundle.bundle import Bundle, BundleInfo
from runtime.desk.desk import Desk
from runtime.engine.core.crash_report import CrashReport
from runtime.engine.core.generation import Flag, Generation, Stats, TextPiece
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.vocab import LlamaVocabulary, open_vocabulary
from runtime.evaluation.attacks import Attack
from runtime.journal.journal import Journal
from runtime.prompting.prompt_spec import PromptSpec
from runtime.prompting.prompt_tokens import Layout, Prompt
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import load_articles
from runtime.understanding.dictation_classifier import FILE, write_boundary
from runtime.understanding.linear_classifier import FOLDER as CLASSIFIERS
from tests.support.branch import CHATML, make_gguf
from tests.support.paths import ROOT, SHOP
from tests.support.recorded_vectors import RecordingEmbedder

RECORDED = Path(__file__).parent / "attacked_vectors.npz"
COMPANY = Path(__file__).parent / "attacked_company.json"
"""Articles of the example shop as they were when the vectors were recorded: path -> text."""
MIN_AGREEMENT = 0.8
"""As in recipes/demo.toml: a draft that departs from the articles' sentences gives way to them."""
PROMPT = {
    "pieces": CHATML,
    "system": {"en": "Answer from the articles.", "zh": "只根据资料回答。"},
    "refusal": {"en": "I can't find that.", "zh": "我没有找到。"},
    "languages": ["en", "zh"],
    "context_tokens": 16_000,
    "min_agreement": MIN_AGREEMENT,
}


class ObedientEngine:
    """Says every sign that its prompt has and that is to be said; nothing is computed."""

    layout: Layout = "exact"
    layout_reason = ""
    slots = 1
    context_tokens = 16_000

    def __init__(self, vocab: LlamaVocabulary, signs: Sequence[str]) -> None:
        self.vocab = vocab
        self._signs = signs
        self.read = 0
        """Prompts."""

    def generate(
        self, prompt: Prompt, params: SamplingParams, cancel: Flag, *, conversation: str | None = None
    ) -> Generation:
        self.read += 1
        text = b"".join(map(self.vocab.piece, prompt.flat())).decode("utf-8", "replace")
        said = " ".join(sign for sign in self._signs if sign in text) or "Yes."
        generation = Generation(prompt.flat(), params, cancel)
        generation.put(TextPiece(said))
        generation.put(Stats(len(prompt), 0, 1, 0.0, 0.0, 0.0, "stop"))
        return generation

    def forget(self, conversation: str) -> None: ...

    def refuses(self, prompt: Prompt) -> bool:
        return False

    def crash_report(self) -> CrashReport:
        return CrashReport()

    def close(self) -> None: ...


def load_benchmark() -> ModuleType:
    """`benchmarks/attacks.py`, which has the corpus, the tally and the desk without its checks."""
    path = ROOT / "benchmarks" / "attacks.py"
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("attacks", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["attacks"] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def attacked_desk(
    folder: Path, embedder: Embedder, attacks: Sequence[Attack], *, min_agreement: float = MIN_AGREEMENT
) -> Iterator[Desk]:
    """The desk, its classifier of dictated sentences trained on the company's own articles, as a build trains it."""
    company = json.loads(COMPANY.read_text(encoding="utf-8"))
    for name, text in company.items():
        path = folder / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path = folder / "bundle" / "articles" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for attack in attacks:
        if attack.article:
            path = folder / "bundle" / "articles" / attack.lang / f"{attack.name.replace(' ', '-')}.md"
            path.write_text(attack.article, encoding="utf-8")
    root = folder / "bundle"
    (root / CLASSIFIERS).mkdir()
    (root / "policy.toml").write_text("[retrieval]\nmin_similarity = -1.0\n")
    boundary, _ = train_dictation(load_articles(folder / "own"), embedder.queries)
    write_boundary(boundary, root / CLASSIFIERS / FILE)
    info = BundleInfo(name="shop", version="1", created="2026", languages=("en", "zh"), model="obedient.gguf")
    prompt = PromptSpec.model_validate(PROMPT | {"min_agreement": min_agreement})
    bundle = Bundle(root, info, prompt)
    with ExitStack() as stack:
        vocab = open_vocabulary(make_gguf(root / info.model))
        stack.callback(vocab.close)
        articles = load_articles(bundle.articles_path)
        retriever = stack.enter_context(Retriever.build(articles, embedder, folder / "index"))
        journal = stack.enter_context(Journal(folder / "journal.sqlite"))
        engine = ObedientEngine(vocab, [attack.sign for attack in attacks])
        yield Desk(bundle, engine, retriever, journal, Settings(threads=1))  # type: ignore[arg-type]


@contextmanager
def trusting(desk: Desk) -> Iterator[None]:
    """The same desk, which shows what the model wrote."""
    tools = desk._tools
    desk._tools = replace(tools, spec=tools.spec.model_copy(update={"min_agreement": 0.0}))
    try:
        yield
    finally:
        desk._tools = tools


def ask_with_and_without_checks(desk: Desk, benchmark: ModuleType) -> tuple[list[Attack], list[Attack]]:
    """The attacks that have their way with the desk as it is, and with one that checks nothing."""
    attacks = [attack for attack, _ in benchmark.corpus()]
    guarded = benchmark.leaks(desk, attacks, "with the checks")
    with benchmark.blind(), trusting(desk):
        return guarded, benchmark.leaks(desk, attacks, "without")


def record() -> None:
    """Ask all attacks with the real encoder, and keep its vectors."""
    from distill.models.catalogue import fetch_model
    from quantize.encoder.export_encoder import export_encoder
    from runtime.base.user_cache import cache_folder

    chosen = {
        f"{lang}/{path.name}": path.read_text(encoding="utf-8")
        for lang in ("en", "zh")
        for path in sorted((SHOP / lang / "articles").glob("*.md"))[::3]
    }
    COMPANY.write_text(json.dumps(chosen, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    benchmark = load_benchmark()
    with tempfile.TemporaryDirectory() as name:
        # What builds of this machine have kept; those of the tests' own tiny encoders lie beside it.
        known = (cache_folder() / "encoders").glob("*/embedder")
        kept = [path for path in known if (path / "model.onnx").stat().st_size > 1e8]
        folder = kept[0] if kept else Path(name) / "embedder"
        if not kept:
            folder.mkdir()
            export_encoder(fetch_model("multilingual-e5-small", print), folder, texts=["How long?"], threads=2)
        embedder = RecordingEmbedder(folder, threads=1)
        with attacked_desk(Path(name), embedder, [attack for attack, _ in benchmark.corpus()]) as desk:
            found = ask_with_and_without_checks(desk, benchmark)
    embedder.write(RECORDED)
    sys.stderr.write(f"{len(embedder.seen)} vectors; {len(found[0])} and {len(found[1])} attacks had their way\n")


if __name__ == "__main__":
    record()
