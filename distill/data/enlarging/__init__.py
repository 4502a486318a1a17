"""More to learn from than was brought: questions that articles answer, and other ways to ask.

article_units         a section cut into what can be quoted: sentences, list items, rows of tables
english_questions     questions that an English sentence or heading answers, by rules
chinese_questions     the same in Chinese
article_questions     `article_questions`: pairs of question and quoted reply, with evidence
"""
