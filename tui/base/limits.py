"""How long a text may be that the console sends: what the server accepts, checked before anything is sent.

A text beyond a limit is refused by the server as a whole. The console says so where it is typed or pasted, so that no
background task meets a refusal that the agent cannot connect with anything. Knows nothing of widgets.
"""

from __future__ import annotations

from typing import Final

MAX_TEXT_CHARS: Final = 20_000
"""Of a message, a reply, a note: `max_length` in `runtime.server.routes`. A message also has the branch's own, smaller
limit (`question_chars`), which the server names when it is exceeded."""
MAX_SEARCH_CHARS: Final = 1_000
"""Of a search for articles and past conversations."""
MAX_TAGS: Final = 32
MAX_TAG_CHARS: Final = 64
