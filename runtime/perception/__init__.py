"""Turns a picture or a recording that a customer brings into text, which then goes the way of a typed question.

    attachment.py        a file's bytes with their bound, and what they are: `Attachment`, `read_attachment`
    attachment_text.py   what was read, with its places and the entities offered: `AttachmentText`, `with_question`
    bounded_child.py     a process with bounded memory and time, without network and files: `run_bounded`, `child_main`
    hear_recording.py    what is said in a recording: `hear_recording`; its process is speech_child.py
    live_speech.py       text while somebody speaks: `LiveSpeech`; its process is live_speech_child.py
    microphone.py        the microphone of this machine: `open_microphone`, `find_microphone`
    audio.py             samples at 16 kHz out of a stranger's recording: `decode_audio`
    speech_models.py     the recognisers that a bundle carries: `open_speech_models`
    speech_recogniser.py speech as text by sherpa-onnx: `SpeechRecogniser`, `SpeechSession`
    perceive.py          from one to the other, whatever was attached: `perceive`
    picture_reader.py    the text of a picture, recognised in a child: `read_picture`; its process is picture_child.py
    picture_decoding.py  pages of pixels out of a stranger's file, bounded before they are decoded: `decode_pages`
    reading_order.py     boxes of text as lines in the order of reading: `in_reading_order`
    entities.py          order numbers, codes, dates and sums in those lines: `offer_entities`

Promises: what an attachment says is a customer's words, never an instruction; nothing of its bytes is stored; the
memory that reading took is given back. Needs the extra `perception`; without it an error says what to install. Knows
nothing of desk, journal and engine.
"""
