"""The `app` part of a release: every package once, with the hash of each of its wheels."""

from __future__ import annotations

import hashlib
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from deploy.make_app import canonical, checksums, locked_entries, make_app, read_lock, requirements, write_app
from runtime.errors import InputError, MissingError
from tests.support.paths import ROOT


def wheel(folder: Path, name: str, size: int = 10) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("module.py", name.ljust(size, "#"))
    return folder / name


def test_app_requirements_pin_each_package_with_all_its_wheels(tmp_path: Path) -> None:
    for name in ("Numpy-2.4-cp311-cp311-linux_x86_64.whl", "numpy-2.4-cp313-cp313-linux_x86_64.whl"):
        wheel(tmp_path, name)
    wheel(tmp_path, "llama_cpp_python-0.3.36-py3-none-linux_x86_64.whl")
    text = requirements(sorted(tmp_path.glob("*.whl")))
    entries = re.findall(r"^(\S+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", text, re.MULTILINE)
    assert [(name, version, hashes.count("sha256:")) for name, version, hashes in entries] == [
        ("llama-cpp-python", "0.3.36", 1),
        ("numpy", "2.4", 2),
    ]
    digest = hashlib.sha256((tmp_path / "numpy-2.4-cp313-cp313-linux_x86_64.whl").read_bytes()).hexdigest()
    assert digest in text


def test_app_with_two_versions_of_a_package_is_refused(tmp_path: Path) -> None:
    for version in ("1", "2"):
        wheel(tmp_path, f"typer-{version}-py3-none-any.whl")
    with pytest.raises(InputError, match="two versions of typer"):
        requirements(tmp_path.glob("*.whl"))


def test_app_list_covers_every_file_and_the_installer_knows_the_list(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "pip-26.3-py3-none-any.whl", size=2048)
    wheel(tmp_path / "wheels", "numpy-2.4-cp311-cp311-linux_x86_64.whl", size=4096)
    wheel(tmp_path / "wheels", "numpy-2.4-cp313-cp313-linux_x86_64.whl", size=8192)
    write_app(tmp_path)
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", "--strict", "-"],
        input="".join(
            f"{line}\n" for line in (tmp_path / "SHA256SUMS").read_text().splitlines() if not line.startswith("#")
        ),
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed = {line.split("  ")[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()[1:]}
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert there - listed == {"SHA256SUMS", "install.sh"}
    assert "# unpacked-bytes: 10240\n" in checksums(tmp_path), "one wheel of each package, the largest"
    digest = hashlib.sha256((tmp_path / "SHA256SUMS").read_bytes()).hexdigest()
    assert f"LIST_SHA256={digest}\n" in (tmp_path / "install.sh").read_text()
    assert (tmp_path / "install.sh").stat().st_mode & 0o111


def test_app_without_a_portable_llama_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no portable llama") as caught:
        make_app(tmp_path / "app", tmp_path / "none.whl", ["3.11"])
    assert caught.value.hint == "build it first: ./build.sh wheels"
    assert not (tmp_path / "app").exists()


def test_app_lock_entries_are_read_whole() -> None:
    entries = {entry.name: entry.text for entry in read_lock(ROOT / "requirements-branch.lock")}
    assert len(entries) > 60
    assert {"numpy", "llama-cpp-python", "chromadb"} <= entries.keys()
    assert all("--hash=sha256:" in text and "==" in text.splitlines()[0] for text in entries.values())
    assert canonical("Llama_cpp.python") == "llama-cpp-python"


def test_app_carries_what_reads_pictures_only_where_asked() -> None:
    plain = {entry.name for entry in locked_entries(perception=False)}
    more = {entry.name for entry in locked_entries(perception=True)} - plain
    assert {"rapidocr", "opencv-python-headless", "pypdfium2", "pi-heif", "sherpa-onnx"} <= more
    assert "pip" in plain
    names = [entry.name for entry in locked_entries(perception=True)]
    assert len(names) == len(set(names))


def test_installer_is_plain_posix_shell() -> None:
    done = subprocess.run(["sh", "-n", str(ROOT / "deploy/install.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (ROOT / "deploy" / "install.sh").read_text(encoding="utf-8")
    assert text.startswith("#!/bin/sh\n")
    assert "[[" not in re.sub(r"\[\[:", "", text)
    assert "LIST_SHA256=@LIST_SHA256@\n" in text
