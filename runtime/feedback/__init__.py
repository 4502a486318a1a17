"""What leaves a branch, and what head office learns from it.

    export_file      `ExportHeader`, `write_export`, `read_export`: one file, and what the uplink sends
    outgoing         `Outgoing`, `JournalOutbox`: the outbox of a branch; `export_turns`: to a file
    delivery         `decide`: what to do after each answer of the receiver, pure
    uplink           `Uplink`: posts rows to the one configured endpoint; `send_turns`: all that wait
    use              `measure_use`: helped, accepted, rewritten, handed over
    import_exports   exports of many branches -> one folder
    learning         `records_of`, `corrections_of`, `gaps_of`: what they teach
    receipt          `ImprovementReceipt`, `answers_right`: which corrections a new model answers right
    fleet_page       `fleet_page`: all branches on one HTML page
    html_tables      `html_page`, `html_table`: pages that need nothing from elsewhere
    rollout          `decide_rollout`: which branches get a release next, and when it stops
    own_receipt      `own_receipt`: the receipt beside the branch's own questions
    edit_distance    `edit_distance`, `levenshtein`: how much of a draft was rewritten

The desk and the server know nothing of it. Only `uplink` opens a socket, and only where one is configured.
"""
