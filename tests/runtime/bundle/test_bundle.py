from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base.manifest import write_manifest
from runtime.bundle.bundle import open_bundle
from runtime.errors import EdgedeskError, InputError, IntegrityError, MissingError

Make = Callable[..., Path]


def reseal(root: Path, kind: str = "bundle") -> None:
    """Give a changed bundle a manifest that fits, as whoever built it wrong would have."""
    write_manifest(root, kind, {}, {})


def test_a_bundle_opens_with_its_parts(make_bundle: Make) -> None:
    root = make_bundle()
    bundle = open_bundle(root, verify=True)
    assert bundle.info.languages == ("en", "zh")
    assert bundle.model_path == root / "model" / "q4_k_m.gguf"
    assert bundle.embedder_path.is_dir()
    assert bundle.articles_path.is_dir()
    assert bundle.prompt.refusal["zh"] == "我没有找到。"


def test_a_language_may_have_a_policy_of_its_own(make_bundle: Make) -> None:
    root = make_bundle()
    (root / "policy.zh.toml").write_text("")
    bundle = open_bundle(root, verify=False)
    assert bundle.policy_path("zh") == root / "policy.zh.toml"
    assert bundle.policy_path("en") == root / "policy.toml"


def test_a_flipped_bit_in_any_file_is_found_and_the_file_named(make_bundle: Make) -> None:
    """F5: every file of the bundle, at its first, middle and last byte."""
    root = make_bundle()
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "manifest.json"]
    for path in files:
        for place in {0, path.stat().st_size // 2, path.stat().st_size - 1}:
            with path.open("r+b") as file:
                file.seek(place)
                old = file.read(1)
                file.seek(place)
                file.write(bytes([old[0] ^ 16]))
            with pytest.raises(IntegrityError) as caught:
                open_bundle(root, verify=True)
            assert path.relative_to(root).as_posix() in caught.value.what
            with path.open("r+b") as file:
                file.seek(place)
                file.write(old)
    open_bundle(root, verify=True)


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("manifest.json", MissingError),
        ("bundle.json", MissingError),
        ("prompt.json", MissingError),
        ("policy.toml", MissingError),
        ("model/q4_k_m.gguf", MissingError),
        ("model/q8_0.gguf", MissingError),
    ],
)
def test_a_missing_part_is_named(make_bundle: Make, part: str, error: type[EdgedeskError]) -> None:
    root = make_bundle()
    (root / part).unlink()
    if part != "manifest.json":
        reseal(root)
    with pytest.raises(error) as caught:
        open_bundle(root, verify=True)
    assert part.split("/")[-1] in str(caught.value)


def test_what_is_no_bundle_is_refused(make_bundle: Make, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such bundle"):
        open_bundle(tmp_path / "none", verify=True)
    root = make_bundle()
    reseal(root, "checkpoint")
    with pytest.raises(InputError, match="kind 'checkpoint'"):
        open_bundle(root, verify=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "key 'name'"),
        ({"languages": []}, "key 'languages'"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"model": None}, "key 'model'"),
    ],
)
def test_a_bundle_built_wrong_is_refused_naming_the_entry(
    make_bundle: Make, change: dict[str, object], message: str
) -> None:
    root = make_bundle()
    info = json.loads((root / "bundle.json").read_text())
    (root / "bundle.json").write_text(json.dumps({**info, **change}))
    reseal(root)
    with pytest.raises(InputError, match=message):
        open_bundle(root, verify=True)


@pytest.mark.parametrize("key", ["model", "embedder"])
@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "model/../../x"])
def test_a_path_that_leads_outside_is_refused(
    make_bundle: Make, key: str, name: str, count_trials: Callable[[str, int], None]
) -> None:
    """S4."""
    root = make_bundle()
    info = json.loads((root / "bundle.json").read_text())
    (root / "bundle.json").write_text(json.dumps({**info, key: name}))
    reseal(root)
    with pytest.raises(IntegrityError, match="outside"):
        open_bundle(root, verify=True)
    count_trials("S4", 1)


@pytest.mark.parametrize("key", ["name", "version", "created"])
@pytest.mark.parametrize("text", ["shop\x1b]0;PWNED\x07", "shop\u009b31m", "a\nb", "a\u202eb", "", "x" * 101])
def test_bundle_labels_that_a_terminal_would_obey_are_refused(make_bundle: Make, key: str, text: str) -> None:
    """Part of S10: name and version are printed by install, generations, rollback and doctor."""
    root = make_bundle()
    info = json.loads((root / "bundle.json").read_text())
    (root / "bundle.json").write_text(json.dumps({**info, key: text}))
    reseal(root)
    with pytest.raises(InputError) as caught:
        open_bundle(root, verify=True)
    assert str(caught.value).isprintable()


def test_bundle_labels_may_be_chinese(make_bundle: Make) -> None:
    root = make_bundle()
    info = json.loads((root / "bundle.json").read_text())
    (root / "bundle.json").write_text(json.dumps({**info, "name": "北极光 商店"}))
    reseal(root)
    assert open_bundle(root, verify=True).info.name == "北极光 商店"
