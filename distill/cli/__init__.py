"""The commands of head office for models, data and classifiers.

init         `edgedesk init`: a recipe for a folder of articles
models       `edgedesk models`: list and fetch base models
data         `edgedesk data`: make records and look at them
review       `edgedesk data review`: doubtful records into a sheet, and people's decisions back
classifiers  `edgedesk classifiers`: cross-validate and evaluate intent and emotion classifiers
"""
