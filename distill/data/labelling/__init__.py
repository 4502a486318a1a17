"""Labels of questions: which are wrong, and how people put them right.

label_errors          labels that the other questions of their kind speak against (cleanlab)
review_sheet          a CSV or XLSX sheet of doubtful records, written and read back
"""
