"""Claim: 3,000 branches update from one static server on loopback, each moves at most 1 % of the release, none is lost.

Head office releases a bundle of some MB and then three changed articles of 100. Every branch has the first release and
updates over HTTP (`runtime.bundle.updater`), several at once, while the server cuts one answer in twenty in the middle;
a branch that was cut tries again, as its timer would. Then each is looked at: is the new text there, every file whole.
`moved_share` is what the server sent over the branches times the release's size. Branches share disk by hard links, so
the first installation is made once. There is no peer: a full copy moves 1.0.

    python benchmarks/fleet.py [--branches 3000] [--workers 8] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from _harness import Bar, Run, begin, main, quantile

from runtime.base.manifest import read_manifest, verify, write_manifest
from runtime.base.progress import say
from runtime.bundle.gate_record import write_gate_record
from runtime.bundle.generations import current_bundle
from runtime.bundle.keys import KeyFolder, make_keys
from runtime.bundle.publish import publish
from runtime.bundle.release_parts import articles_part, model_part
from runtime.bundle.releases import install_release
from runtime.bundle.sources import FolderSource, HttpSource
from runtime.bundle.updater import update as update_branch
from runtime.errors import EdgedeskError

BARS = {"lost": Bar(most=0.0), "moved_share": Bar(most=0.01)}
ARTICLES, CHANGED = 100, 3
MODEL_BYTES = 64 * 1024 * 1024
VOCABULARY = 64
CUT_SHARE = 0.05
TRIES = 8
"""Of a branch whose connection was cut."""
NEW = "Returns are free within 60 days."


def options(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark alone."""
    parser.add_argument("--branches", type=int, help="simulated branches (default: 3000; --quick: 24)")
    parser.add_argument("--workers", type=int, default=8, help="branches that update at the same time")


def write_bundle(root: Path) -> Path:
    """A bundle of the size that counts here: what a model says plays no part, its header does."""
    import gguf
    import numpy as np

    for name in ("model", "embedder"):
        (root / name).mkdir(parents=True)
    writer = gguf.GGUFWriter(str(root / "model" / "q8_0.gguf"), "llama")
    for add, value in (
        (writer.add_context_length, 64), (writer.add_embedding_length, 64), (writer.add_block_count, 1),
        (writer.add_feed_forward_length, 64), (writer.add_head_count, 1), (writer.add_head_count_kv, 1),
        (writer.add_vocab_size, VOCABULARY),
    ):  # fmt: skip
        add(value)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([chr(33 + number) for number in range(VOCABULARY)])
    writer.add_token_merges(['! "'])
    rng = np.random.default_rng(0)
    writer.add_tensor("token_embd.weight", rng.normal(size=(VOCABULARY, 64)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (root / "embedder" / "model.onnx").write_bytes(random.Random(0).randbytes(MODEL_BYTES))  # noqa: S311 - no secret
    info = {
        "name": "shop", "version": "1", "created": "2026-11-30T00:00:00Z", "languages": ["en"],
        "model": "model/q8_0.gguf", "models": {"q8_0": "model/q8_0.gguf"}, "embedder": "embedder",
    }  # fmt: skip
    pieces = ("system_open", "system_close", "user_open", "user_close", "assistant_open", "assistant_close")
    prompt = {
        "pieces": {**dict.fromkeys(pieces, "|"), "stop": ["|"]},
        "system": {"en": "Answer."},
        "refusal": {"en": "No."},
        "languages": ["en"],
    }
    (root / "bundle.json").write_text(json.dumps(info), encoding="utf-8")
    (root / "prompt.json").write_text(json.dumps(prompt), encoding="utf-8")
    (root / "policy.toml").write_text('[refusal]\ntext = "No."\n', encoding="utf-8")
    (root / "card.md").write_text("# Shop\n", encoding="utf-8")
    write_articles(root / "articles", ARTICLES, changed=0)
    write_manifest(root, "bundle", {}, {"version": "1"})
    write_gate_record(root, bounds={"max_kl": 0.3}, figures={"kl": 0.1})
    return root


def write_articles(folder: Path, count: int, *, changed: int) -> Path:
    """So many articles, of which the first few say something new."""
    (folder / "en").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        text = NEW if number < changed else f"Article {number} says what it always said."
        (folder / "en" / f"article-{number}.md").write_text(
            f"# Article {number} {{#one}}\n\n{text}\n", encoding="utf-8"
        )
    return folder


class _Handler(SimpleHTTPRequestHandler):
    """A static server that counts what it sends and now and then cuts an answer short."""

    sent = 0
    cuts = 0
    lock = threading.Lock()
    rng = random.Random(5)  # noqa: S311 - no secret

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""
        del format, args

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file, or half of it."""
        data = source.read()
        with self.lock:
            cut = self.rng.random() < CUT_SHARE
            _Handler.cuts += cut
            data = data[: len(data) // 2] if cut else data
            _Handler.sent += len(data)
        outputfile.write(data)
        if cut:
            self.close_connection = True


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of the static server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _link(source: str, target: str) -> None:
    """Share a file's bytes; a lock must be each branch's own."""
    if source.endswith(".lock"):
        shutil.copyfile(source, target)
    else:
        os.link(source, target)


def update(url: str, home: Path) -> tuple[float, int]:
    """One branch: seconds, and how often it had to try again."""
    began = time.monotonic()
    for tries in range(TRIES):
        try:
            with HttpSource(url) as source:
                # A trial asks the model, which is no matter of the network: every branch's goes well.
                update_branch(source, home, lambda _bundle: "")
            return time.monotonic() - began, tries
        except EdgedeskError as error:
            if tries == TRIES - 1:
                say(f"{home.name}: {error}")
    return time.monotonic() - began, TRIES


def is_updated(home: Path) -> bool:
    """Whether the branch has the new text, and every file of its generation is whole."""
    try:
        root = current_bundle(home).root
        verify(root, read_manifest(root))
    except EdgedeskError:
        return False
    return all(
        NEW in (root / "articles" / "en" / f"article-{number}.md").read_text(encoding="utf-8")
        for number in range(CHANGED)
    )


def measure(run: Run) -> None:
    """Release, install once, release again, and update everybody."""
    count = run.options.branches or (24 if run.options.quick else 3000)
    with tempfile.TemporaryDirectory(prefix="edgedesk-fleet-") as scratch:
        folder = Path(scratch)
        now = datetime.now(UTC)
        keys = KeyFolder(make_keys(folder / "keys", now).folder)
        bundle = write_bundle(folder / "bundle")
        release = folder / "release"
        parts: dict[Any, dict[str, Path]] = {
            "model": model_part(bundle, {}),
            "articles": articles_part(bundle / "articles"),
        }
        publish(release, keys, parts, now)
        template = folder / "template"
        install_release(FolderSource(release), template)
        size = sum(path.stat().st_size for path in release.rglob("*") if path.is_file())
        say(f"{count} branches with the first release of {size / 1e6:.1f} MB")
        homes = [folder / "branches" / str(number) for number in range(count)]
        for home in homes:
            shutil.copytree(template, home, symlinks=True, copy_function=_link)
        changed = write_articles(folder / "changed", ARTICLES, changed=CHANGED)
        publish(release, keys, {"articles": articles_part(changed)}, now)
        with serving(release) as url, ThreadPoolExecutor(run.options.workers) as pool:
            began = time.monotonic()
            took = list(pool.map(partial(update, url), homes))
            whole = time.monotonic() - began
        run.figures["lost"] = float(sum(not is_updated(home) for home in homes))
        run.figures["moved_share"] = _Handler.sent / (count * size)
        run.figures["kb_a_branch"] = _Handler.sent / count / 1e3
        run.figures["whole_s"] = whole
        run.figures["branch_p95_s"] = quantile([seconds for seconds, _ in took], 0.95)
        run.figures["cuts"] = float(_Handler.cuts)
        run.figures["tries_again"] = float(sum(tries for _, tries in took))
        run.details["branches"] = count


if __name__ == "__main__":
    raise SystemExit(main(begin("fleet", __doc__, BARS, options), measure))
