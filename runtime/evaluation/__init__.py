"""Measures answers, retrieval and classifiers on questions with known answers.

    answers.py         asks questions through the desk's own steps: `answer_questions`, `load_questions`
    answer_metrics.py  judges answers, with intervals and paired differences: `judge`, `summary`, `evaluation`
    refusals.py        what the desk refuses before a model is asked, of every question: `measure_refusals`
    attacks.py         tries hostile articles and questions: `ask_attacks`, `held_out_attacks`, `Leaks`
    text_overlap.py    BLEU, chrF and ROUGE-L against a reference reply, from the build extra
    retrieval.py       hit@k, mean reciprocal rank and search times: `evaluate`, `Query`, `Document`
    classifiers.py     accuracy and calibration of intent and emotion: `measure_on_questions`
    shadow_replay.py   a branch's questions asked of two bundles side by side: `ask_bundle`, `compare_answers`
    html_report.py     all of it as one self-contained page: `render`
    plots.py           a metric of several models as an inline SVG, from the build extra: `plot_metric`
    human_ratings.py   blind rating sheets and the raters' agreement: `make_sheet`, `judge_marks`

Knows nothing of how a model was made.
"""
