from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.grounding.quantity_index import QuantityIndex
from runtime.text.quantities import quantities

WRITTEN = st.sampled_from(
    ["30 days", "thirty days", "30", "三十天", "€4.90", "4.9", "4.9 dollars", "14 March 2026", "March 2026", "14 March",
     "2026年3月14日", "3月14日", "3月", "18:00", "6 pm", "下午6点", "NL-17", "nl-17", "10%", "1,000", "two hours"]
)  # fmt: skip
TEXTS = st.lists(WRITTEN, max_size=6).map(" | ".join)


@given(TEXTS, TEXTS)
def test_quantity_index_supports_what_any_of_its_quantities_supports(known: str, claimed: str) -> None:
    found = quantities(known, loose=True)
    index = QuantityIndex(found)
    for claim in quantities(claimed):
        assert index.supports(claim) == any(quantity.supports(claim) for quantity in found)
