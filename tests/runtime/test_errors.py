from __future__ import annotations

from runtime.errors import InputError, MissingError
from runtime.events import Failed, rebuild


def test_errors_cross_the_wire_as_themselves() -> None:
    for error in (InputError("a", where="b", hint="c"), MissingError("退货", where="", hint="")):
        back = Failed.of(error).exception()
        assert type(back) is type(error)
        assert back.as_dict() == error.as_dict()
    assert rebuild("os", "x").what == "x"
