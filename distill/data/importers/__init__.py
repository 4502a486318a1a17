"""Other people's forms, read into ours.

articles  `import_markdown`: Markdown files and folders
faq       `import_faq`, `faq_records`: an FAQ of YAML texts and an HTML page
taubench  conversations of tau-bench
"""
