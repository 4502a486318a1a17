"""Training of the intent, emotion and dictation classifiers.

build_classifiers    `train_classifiers`: every classifier of a bundle, from records and articles
intent_training      `train_classifier`, `cross_validate`: one intent or emotion classifier
answerable_training  `train_answerable`: the classifier of answerable questions
dictation_training   `train_dictation`: the classifier of sentences that dictate an answer
labelled_files       `read_examples`: labelled texts from a CSV or JSONL file
attack_templates     `load_templates`: hostile sentences to train it on (attack_templates.toml)
"""
