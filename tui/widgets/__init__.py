"""What is drawn: one widget a module, each shown a part of the state and telling nobody but its screen.

composer          the field for the message or the reply: `Composer`
field             text fields, and what is pasted into them: `Field`, `Area`
transcript        the list of turns, which paints its own lines: `Transcript`
transcript_rows   a turn laid out in rows of a width: `lay_out_turn`
turn_blocks       what is shown of a turn: `turn_parts`
inbox             the list of conversations: `InboxPane`
assist            labels, warnings, sources, times beside the conversation: `AssistPane`
status            the server's line and the progress line: `LinkLine`, `StatusLine`
keybar            the keys that count now: `KeyBar`
label             a text that is painted only when it changes: `InertLabel`
"""
