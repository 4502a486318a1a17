"""Labels of questions: which are wrong, and how people put them right.

label_errors          labels that the other questions of their kind speak against (cleanlab)
"""
