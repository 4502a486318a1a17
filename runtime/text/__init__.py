"""What people write: articles, records, sentences, quantities, personal data. Knows no model.

articles.py            Markdown files and their sections: `Article`, `Section`, `load_articles`
shown_lines.py         lines without comments and what else is hidden: `shown_text`, `without_comments`
html_text.py           tags and entities of HTML as text: `html_as_text`
languages.py           what other systems call a language: `language_code`
records.py             rows for training and measuring: `Record`, `Question`
normalize.py           Unicode's compatibility form in linear time: `nfkc`
sentences.py           cuts text into sentences and pieces: `sentences`, `pieces`
tables.py              list items and table rows with what leads to them: `split_items`
tokens.py              terms of English and Chinese, and their ranking: `terms`, `BM25`
quantities.py          numbers, money, dates, times and codes: `Quantity`, `quantities`
disagreement.py        whether two sections give other figures for the same: `find_dispute`
folding.py             one spelling for full-width, spaced and invisible characters: `fold`
personal_data.py       personal values in a text: `spans_in`, `PersonalRules`
personal_patterns.py   their forms and cues: `Rule`
personal_checks.py     check digits and lengths, which decide where a form is not enough
names.py               people's names after the words that announce them: `latin_name`, `han_name`
free_names.py          names that no cue announces: given names that are known, words that stand around a person
pattern_safety.py      whether a company's pattern may run over strangers' text: `pattern_problem`
redaction.py           placeholders in place of personal values: `Redactor`
"""
