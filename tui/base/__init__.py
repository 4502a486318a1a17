"""What every part of the console builds on, and which knows no screen: text, keys, settings, the two languages.

inert_text    text of strangers made harmless: `inert`, `one_line`; Chinese lines that wrap: `wrap_chinese`
picture_files files that may be attached: `list_pictures`, `as_picture_path`
pasted_text   text that comes in at once: `clean_pasted`, `KeyBurst`
wrapping      lines of a width, broken anew only where a text grew: `wrap_text`
keys          the table of commands and their keys: `COMMANDS`, `bindings`, `clashes`
settings      an agent's console.toml: `ConsoleSettings`, `read_settings`
themes        colours by name, and plain terminals: `THEMES`, `is_plain`
i18n          the interface's strings: `Catalogue`; the strings themselves are in locale/
limits        how long a text may be that the console sends
"""
