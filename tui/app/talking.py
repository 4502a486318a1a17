"""Speaking in place of typing: a key begins, the same key ends; what is heard stands in the field as it is understood.

Promises: nothing is sent by it: the agent reads what was heard and presses Enter; whoever types meanwhile, or turns to
another conversation, ends it, and what they typed stays.
"""

from __future__ import annotations

from runtime.errors import EdgedeskError
from tui.app.view import View
from tui.services.speech_input import Speaking, SpeechInput
from tui.state import Typed

_GROUP = "talk"


class Talking:
    """The push-to-talk key of one console."""

    def __init__(self, view: View, speech: SpeechInput | None) -> None:
        """Without `speech` the key says that nothing can be heard."""
        self._view = view
        self._speech = speech
        self._speaking: Speaking | None = None
        self._busy = False

    def toggle(self) -> None:
        """Begin to listen, or let what was said be read to its end."""
        if self._speech is None:
            self._view.say("talk_none")
        elif self._speaking is not None:
            self._speaking.end()
            self._speaking = None
            self._view.say("talk_reading")
        elif not self._busy:
            self._busy = True
            self._view.say("talk_opening")
            self._view.start_work(self._listen(self._speech), _GROUP)

    async def _listen(self, speech: SpeechInput) -> None:
        view = self._view
        before, thread = view.state.composer, view.state.open
        shown = before
        try:
            async with speech.listen(view.words.lang) as speaking:
                self._speaking = speaking
                view.say("talk_on")
                async for said in speaking.texts():
                    if view.state.composer != shown or view.state.open != thread:
                        view.say("talk_stopped")
                        return
                    shown = f"{before.rstrip()} {said.text}".strip() if before.strip() else said.text
                    view.dispatch(Typed(shown))
            view.say("talk_check" if shown != before else "talk_silence")
        except EdgedeskError as error:
            view.say("plain", text=f"{error}. {error.hint}" if error.hint else str(error))
        finally:
            self._speaking, self._busy = None, False
