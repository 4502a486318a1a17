"""More to learn from than was brought: questions that articles answer, and other ways to ask.

article_units         a section cut into what can be quoted: sentences, list items, rows of tables
english_questions     questions that an English sentence or heading answers, by rules
chinese_questions     the same in Chinese
question_variants     a question typed with slips, colloquially, with synonyms
unanswerable          questions that no article answers, and those that need a person
balance               heads capped, tails raised, temperature
article_questions     `article_questions`: pairs of question and quoted reply, with evidence
"""
