"""A branch runs no template: what a model file brings as one is text that nobody reads."""

from __future__ import annotations

import threading
from pathlib import Path

from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from tests.support.branch import ANSWER, make_gguf


def test_a_model_s_own_template_never_runs_on_a_branch(tmp_path: Path) -> None:
    """S6."""
    place = tmp_path / "ran"
    payload = f"{{{{ cycler.__init__.__globals__.os.popen('touch {place}').read() }}}}"
    path = make_gguf(tmp_path / "model.gguf", script=ANSWER, template=payload)
    assert payload.encode() in path.read_bytes()
    with LlamaEngine(EngineOptions(path, context_tokens=512, threads=1)) as engine:
        tokens = engine.vocab.encode("<|im_start|>user\nhi<|im_end|>\n", control=True)
        answer = "".join(piece.text for piece in engine.generate(tokens, SamplingParams(), threading.Event()))
    assert answer == ANSWER
    assert not place.exists()
