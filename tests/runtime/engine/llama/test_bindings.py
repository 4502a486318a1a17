"""Which of llama.cpp's variants is loaded."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from runtime.engine.llama.bindings import library, load_variant


class Recorder:
    """What stands for the C function: remembers what it was called with."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []

    def __call__(self, folder: bytes) -> None:
        self.calls.append(folder)


def bindings(folder: Path) -> SimpleNamespace:
    return SimpleNamespace(_base_path=folder, _lib=SimpleNamespace(ggml_backend_load_all_from_path=Recorder()))


def test_variants_are_loaded_from_the_folder_of_the_library(tmp_path: Path) -> None:
    folder = tmp_path / "库 lib"
    folder.mkdir()
    for name in ("libggml-cpu-x64.so", "libggml-cpu-haswell.so", "libllama.so"):
        (folder / name).touch()
    llama_cpp = bindings(folder)
    assert load_variant(llama_cpp)
    assert llama_cpp._lib.ggml_backend_load_all_from_path.calls == [str(folder).encode()]


def test_a_library_built_for_this_machine_alone_loads_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "libggml-cpu.so").touch()
    llama_cpp = bindings(tmp_path)
    assert not load_variant(llama_cpp)
    assert llama_cpp._lib.ggml_backend_load_all_from_path.calls == []


def test_the_library_in_use_has_a_processor_to_run_on() -> None:
    lib = library()._lib
    assert lib.ggml_backend_dev_count() >= 1
