"""What the console needs of the world: the server, files, the terminal's clipboard. Knows no widget.

server_link     the server behind a Protocol: `ServerLink`, `HttpServerLink`
speech_input    the microphone and a recogniser behind a Protocol: `SpeechInput`, `MicrophoneInput`
branch_health   an update under way, a newer bundle, a full disk: `branch_health`
session_file    what survives the console's end: `SessionFile`
private_files   the clipboard file and exports, and how they are protected: `PrivateFiles`, `find_protection`
clipboard       copying through the terminal (OSC 52): `sequence`
export          a conversation as Markdown or JSON
reply_check     what no public source supports in a reply: `unsupported_parts`
"""
