"""Says from texts alone, in English and Chinese, whether sections bear an answer out.

    citations.py          which sections an answer rests on: `cite`, `supporting_sentences`, `unsupported_quantities`
    claim_check.py        what no source says: `unsupported_claims`
    quantity_index.py     whether known quantities support a claim: `QuantityIndex`
    extractive_answer.py  the sentences that answer best: `best_sentences`, `extractive_fallback`, `render_quote`
    fact_matching.py      whether an answer states given facts: `facts_found`, `is_refusal`

Pure: no model judges itself here.
"""
