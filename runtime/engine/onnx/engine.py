"""onnxruntime's engine: the 8-bit student, one request at a time, behind the same `Scheduler` as llama.cpp's.

Promises besides the scheduler's: prompts are read `exact` whatever was asked for, and the answers say so. Runs in this
process: onnxruntime raises where llama.cpp would abort.
"""

from __future__ import annotations

from pathlib import Path

from runtime.engine.core.scheduler import QUEUE_LIMIT, Scheduler
from runtime.engine.onnx.model import OnnxModel
from runtime.engine.onnx.runner import OnnxRunner
from runtime.engine.onnx.vocab import JsonVocabulary
from runtime.prompting.prompt_tokens import Layout


class OnnxEngine(Scheduler):
    """Loads `model.onnx` and `tokenizer.json` of a folder and answers requests until it is closed."""

    def __init__(
        self,
        folder: Path,
        *,
        context_tokens: int,
        threads: int,
        queue_limit: int = QUEUE_LIMIT,
        layout: Layout = "exact",
    ) -> None:
        """`layout`: what the bundle was made for; any but `exact` is read `exact` all the same."""
        self._vocab = JsonVocabulary(folder)
        self._model = OnnxModel(folder, threads=threads)
        self.layout_reason = "" if layout == "exact" else "onnxruntime reads prompts exactly"
        runner = OnnxRunner(self._model, self._vocab, context_tokens=context_tokens, layout_reason=self.layout_reason)
        super().__init__(runner, context_tokens=context_tokens, queue_limit=queue_limit)

    @property
    def vocab(self) -> JsonVocabulary:
        """The student's own vocabulary; no GGUF is needed."""
        return self._vocab

    def _free(self) -> None:
        self._model.close()
