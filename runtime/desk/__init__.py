"""One turn from question to answer.

desk.py                stores a question, runs its steps, stores and streams the end: `Desk`
turn_steps.py          the steps: understand, rules, retrieve, withhold, check: `BEFORE_MODEL`, `AFTER_MODEL`
turn_state.py          what is known of a turn between two steps: `TurnState`, `Draft`, `Answer`
drafting.py            the model writes, and the draft is stored as it grows: `write_draft`
probes.py              the trial of an installed generation: `run_probes`, `judge`
passed_trial.py        what the last passed trial has shown: `read_answered`
prefetch.py            reads and answers a question while it is typed: `Prefetcher`
answer_ahead.py        when a draft is written ahead, and what it costs: `refuse_draft`
policy.py              `policy.toml` and what it decides: `Policy`, `decide`
active_policy.py       which policy a conversation gets, its fixed answers: `PolicySelector`
intent_and_emotion.py  phrases and classifiers put together: `understand_question`
history.py             what was said before: `shown_turns`, `language_of`
handoff_card.py        what a colleague must know to go on: `make_card`
explanation.py         why a draft is as it is: `explain_turn`
ab_test.py             two policies or models side by side: `AbTest`, `compare`
open_desk.py           opens journal, search, engine and desk of a home: `open_desk`, `apply_retention`
open_engine.py         the engine a bundle and the settings name: `open_engine`
first_word.py          how long the first word will take on this machine: `predict_first_word`
compile_articles.py    articles compiled ahead of questions: `compile_articles`
"""
