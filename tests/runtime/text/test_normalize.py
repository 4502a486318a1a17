from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from runtime.text.normalize import MAX_MARKS, nfkc

MARKS = st.text(st.sampled_from("\u0301\u0316\u0344\u05b0\u3099"), max_size=3 * MAX_MARKS)


@given(st.text())
def test_nfkc_of_text_without_stacked_marks_is_unicodes_own(text: str) -> None:
    assert nfkc(text) == unicodedata.normalize("NFKC", text)


@given(st.text(max_size=3), MARKS, st.text(max_size=3))
def test_nfkc_keeps_thirty_marks_in_a_row_and_applied_twice_changes_nothing(
    before: str, marks: str, after: str
) -> None:
    once = nfkc(f"{before}e{marks}{after}")
    assert nfkc(once) == once == unicodedata.normalize("NFKC", once)
    run = longest = 0
    for char in once:
        run = run + 1 if unicodedata.combining(char) else 0
        longest = max(longest, run)
    assert longest <= MAX_MARKS
