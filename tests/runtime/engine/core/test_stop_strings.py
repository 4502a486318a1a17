from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.core.stop_strings import StopStrings

texts = st.text(alphabet="ab退货", max_size=30)


@given(texts, st.lists(st.text(alphabet="ab退货", min_size=1, max_size=4), max_size=3), st.integers(1, 5))
def test_stop_strings_show_text_up_to_the_first(text: str, stops: list[str], size: int) -> None:
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    watch = StopStrings(stops)
    shown = "".join(watch.feed(text[start : start + size]) for start in range(0, len(text), size)) + watch.rest()
    assert text.startswith(shown)
    assert watch.found == bool(places)
    if not places:
        assert shown == text
    else:
        # Fed in pieces, the stop that ends first is found first.
        assert not any(stop in shown for stop in stops)


def test_stop_strings_hold_back_what_may_become_one() -> None:
    watch = StopStrings(["\n\nQ:"])
    assert [watch.feed(text) for text in ("Yes.\n", "\n", "It is.\n", "\nQ", ": no", "more")] == [
        "Yes.", "", "\n\nIt is.", "", "", "",
    ]  # fmt: skip
    assert watch.found
    assert watch.rest() == ""


def test_stop_strings_are_found_however_the_text_is_cut() -> None:
    text = "One two。三四STOP五 and more"
    for size in range(1, 12):
        for stops, expected, found in (
            (["STOP五", "nowhere", "more than this"], "One two。三四", True),
            (["STOPS", "morex"], text, False),
        ):
            watch = StopStrings(stops)
            shown = "".join(watch.feed(text[at : at + size]) for at in range(0, len(text), size)) + watch.rest()
            assert (shown, watch.found) == (expected, found)
