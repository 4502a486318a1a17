"""A release's `app` part that is made in seconds: Edgedesk's own wheel and pip are real, the other packages borrowed.

The borrowed ones come as one wheel whose `.pth` file names this environment's site-packages, so that everything the
installer does is real except unpacking a hundred megabytes.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from deploy.make_app import build_wheel, write_app

SITE = Path(sysconfig.get_path("purelib"))


def make_app_folder(folder: Path, scratch: Path) -> Path:
    """What `./build.sh app` writes, in short."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    build_wheel(scratch / "source", wheels)
    repack("pip", wheels)
    _write_wheel(wheels, "borrowed", {"borrowed.pth": f"{SITE}\n"})
    write_app(folder)
    return folder


def repack(name: str, wheels: Path) -> Path:
    """The wheel of an installed package that is plain Python."""
    found = distribution(name)
    path = wheels / f"{name}-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in found.files or ():
            if file.parts[0] != ".." and "__pycache__" not in file.parts:
                archive.write(str(found.locate_file(file)), str(file))
    return path


def _write_wheel(wheels: Path, name: str, files: dict[str, str]) -> None:
    info = f"{name}-1.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(wheels / f"{name}-1-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


def without_network() -> list[str]:
    """Words that run a command where there is no network at all, not even loopback; [] where that is not allowed."""
    words = ["unshare", "--net", "--mount", "--"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        return []
    return words
