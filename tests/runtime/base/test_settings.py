from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base.settings import FILE_NAME, OTHER_VARIABLES, Settings, load_settings
from runtime.errors import InputError, UsageError


def write(home: Path, text: str | bytes) -> Path:
    path = home / FILE_NAME
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_settings_come_from_flag_then_environment_then_file_then_default(tmp_path: Path) -> None:
    write(tmp_path, "threads = 3\nqueue_limit = 5\nquestion_chars = 7\n")
    environment = {"EDGEDESK_QUEUE_LIMIT": "6", "EDGEDESK_THREADS": "2"}
    settings = load_settings(tmp_path, environment=environment, threads=4, port=None)
    assert (settings.threads, settings.queue_limit, settings.question_chars, settings.port) == (4, 6, 7, None)
    assert settings.slots == Settings().slots


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("treads = 3", "unknown setting 'treads'", "did you mean 'threads'?"),
        ("threads = 0", "setting 'threads' must be at least 1, not 0", "docs/reference/settings.md"),
        ("threads = ", "not TOML", "write lines such as"),
        ("threads = 'two'", "setting 'threads' must be a whole number, not text", ""),
        ("runtime = 'lama'", "setting 'runtime' must be one of llama, onnx, not 'lama'", ""),
        ("x = " + "[" * 5000, "not TOML", ""),
    ],
    ids=["unknown", "bound", "not TOML", "type", "choice", "nested"],
)
def test_settings_file_with_a_slip_is_refused_naming_it(tmp_path: Path, text: str, what: str, hint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_settings(tmp_path, environment={})
    assert what in caught.value.what
    assert hint in caught.value.hint
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.symlink_to(path.with_name("on-the-key-stick")), "a link that leads nowhere"),
        (lambda path: path.mkdir(), "a folder"),
        (os.mkfifo, "not a regular file"),
    ],
    ids=["dangling link", "folder", "FIFO"],
)
def test_settings_file_that_is_there_and_no_file_is_refused(
    tmp_path: Path, make: Callable[[Path], None], what: str
) -> None:
    make(tmp_path / FILE_NAME)
    with pytest.raises((UsageError, InputError), match=what) as caught:
        load_settings(tmp_path, environment={})
    assert caught.value.where == str(tmp_path / FILE_NAME)


def test_settings_file_may_be_a_link_to_one(tmp_path: Path) -> None:
    (tmp_path / "shared.toml").write_text("queue_limit = 5\n")
    (tmp_path / FILE_NAME).symlink_to("shared.toml")
    assert load_settings(tmp_path, environment={}).queue_limit == 5


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_settings_file_may_be_empty(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    assert load_settings(tmp_path, environment={}, threads=1) == Settings(threads=1)


def test_settings_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    write(tmp_path, b"\xef\xbb\xbfqueue_limit = 5\r\n")
    assert load_settings(tmp_path, environment={}).queue_limit == 5


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("EDGEDESK_TREADS", "did you mean 'EDGEDESK_THREADS'?"),
        ("EDGEDESK_HOMES", "did you mean 'EDGEDESK_HOME'?"),
        ("edgedesk_que_limit", "did you mean 'EDGEDESK_QUEUE_LIMIT'?"),
        ("EDGEDESK_JOURNAL", "did you mean 'EDGEDESK_JOURNAL_KEY'?"),
    ],
)
def test_settings_variable_that_is_unknown_is_refused_naming_the_nearest(
    tmp_path: Path, variable: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(tmp_path, environment={variable: "3"})
    assert variable in caught.value.what
    assert hint in caught.value.hint


def test_settings_leave_the_other_variables_of_the_product_and_of_others_alone(tmp_path: Path) -> None:
    environment = dict.fromkeys([*OTHER_VARIABLES, "PATH", "MIGRATIONS", "EDGE"], "x")
    assert load_settings(tmp_path, environment=environment, threads=1) == Settings(threads=1)


def test_settings_error_names_where_the_value_came_from(tmp_path: Path) -> None:
    write(tmp_path, "port = 1\n")
    for environment, flags, where in (
        ({"EDGEDESK_QUEUE_LIMIT": "many"}, {}, "EDGEDESK_QUEUE_LIMIT"),
        ({}, {"queue_limit": 0}, "--queue-limit"),
    ):
        with pytest.raises(UsageError) as caught:
            load_settings(tmp_path, environment=environment, **flags)
        assert caught.value.where == where


def test_settings_variable_left_empty_is_not_given(tmp_path: Path) -> None:
    write(tmp_path, "port = 1\n")
    assert load_settings(tmp_path, environment={"EDGEDESK_PORT": ""}).port == 1


def test_settings_variable_of_a_list_has_commas(tmp_path: Path) -> None:
    environment = {"EDGEDESK_CHAT_MODEL_ALIASES": "gpt-4o-mini, shop"}
    assert load_settings(tmp_path, environment=environment).chat_model_aliases == ("gpt-4o-mini", "shop")
