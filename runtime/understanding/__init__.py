"""Understands a question, and detects text that tries to steer the model.

    dialogue_context.py      what earlier turns say about a question: `rewrite_follow_up`, `find_entities`
    linear_classifier.py     intent and emotion: `LinearClassifier`, `load_classifiers`
    prompt_injection.py      orders to a model: `is_injection`; recited house rules: `leaks_system_prompt`
    dictation_classifier.py  sentences that dictate an answer: `DictationClassifier`, `load_classifier`
    answerable_classifier.py  whether articles answer questions of this kind: `AnswerableClassifier`
    desk_classifiers.py      what a bundle carries of these: `DeskClassifiers`
    injection_filter.py      what of a section the model may read: `without_injected`, `find_suspicious`

Knows nothing of policies, engines and journals.
"""
