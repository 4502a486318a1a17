"""The console itself: what each command does, and how the state is kept in step with the server.

    console    the application, made of the parts below: `Console`
    view       what the parts may ask of the console: `View`
    boxes      opening lists and texts over the conversation: `Boxes`
    actions    commands that change something: `Actions`
    attachments  a picture put into the message: `Attachments`
    lookups    commands that look something up: `Lookups`
    sync       the background work: `Sync`
    talking    speaking in place of typing: `Talking`
    practice   the simulated customer: `Practice`
    reports    what the boxes of text say, from the server's answers

Only `tui.cli` imports `console`; the parts know it as a `View`.
"""
