"""Labels of questions: which are wrong, and how people put them right; labels for those without.

label_errors          labels that the other questions of their kind speak against (cleanlab)
intents               intents and entities by rules; groups of questions with suggested names
review_sheet          a CSV or XLSX sheet of doubtful records, written and read back
"""
