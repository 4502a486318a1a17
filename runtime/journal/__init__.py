"""What a branch remembers: one SQLite file, written before anything is answered.

journal.py             the open file: ask, draft, end, feed back, what waits: `Journal`
stored_turn.py         a turn as a value, and what was sent of it: `StoredTurn`, `TurnKey`, `Feedback`
turn_details.py        how a draft came about: `TurnDetails`
queries.py             reads over a conversation, or over all turns: `stored_turns`, `experiment_outcomes`
inbox.py               conversations as agents see them, hand-offs, corrections: `Inbox`, `ListedConversation`
inbox_index.py         the order of the inbox: `page`
search.py              full-text search: `search`
outbox.py              what may leave the branch, redacted: `outbox_page`, `acknowledge`
outbox_queue.py        what does not leave after all: over the cap, or set aside: `drop_over_cap`, `set_aside`
retention.py           redacting and deleting in time: `apply_retention`, `forget_files`
clock.py               whether the clock may be trusted with that: `clock_problem`
maintenance.py         health, quarantine and recovery, backup: `backup`, `recover`, `open_reading`
recovery.py            rows of a damaged file, without SQLite: `recover_rows`
encryption.py          SQLCipher and its key: `connect`, `read_key`
encrypt.py             encrypting a journal that is not: `encrypt_journal`
schema.py              tables and migrations: `TABLES`, `MIGRATIONS`
sqlite_errors.py       SQLite's errors as ours: `translated_errors`
"""
