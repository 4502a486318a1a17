from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import errors
from runtime.errors import EdgedeskError, InputError, from_dict
from runtime.events import Failed

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EdgedeskError)]


@pytest.mark.parametrize("kind", CLASSES)
@given(what=st.text(), where=st.text(), hint=st.text())
def test_error_crosses_a_process_border_as_itself(kind: type[EdgedeskError], what: str, where: str, hint: str) -> None:
    error = kind(what, where=where, hint=hint)
    for back in (from_dict(json.loads(json.dumps(error.to_dict()))), Failed.of(error).exception()):
        assert type(back) is kind
        assert back.to_dict() == error.to_dict()


@pytest.mark.parametrize("name", ["os", "ExitCode", "Mapping", "__name__", "NewerError", ""])
def test_error_of_an_unknown_class_becomes_the_plain_one(name: str) -> None:
    error = from_dict({"error": name, "what": "退货"})
    assert (type(error), str(error)) == (EdgedeskError, "退货")


def test_error_without_its_keys_is_no_error() -> None:
    with pytest.raises(KeyError):
        from_dict({"detail": "Not Found"})


def test_error_says_where_before_what() -> None:
    assert str(InputError("too long", where="a.csv:3")) == "a.csv:3: too long"
