"""Every form that companies have their conversations and articles in, read into ours.

transcripts           `read_transcripts`: conversations of any file, the front door of this room
account               `FileAccount`: what became of every row
file_forms            `tell_form`: a file's form by its first bytes
encoding              text in UTF-8, UTF-16, GB18030 or Windows-1252, told from its bytes and verified
tables                rows of CSV, TSV, XLSX and Parquet
json_files            objects of JSON and JSONL
columns               which column is what: presets of help desks, common names
conversation_objects  one JSON object as a conversation
seed_form             questions with their answers, a row each
grouping              messages into conversations, in order
times                 times as exports write them
message_text          a message without mark-up, quotes and signatures
office                office files, read in a child process with limits (office_readers)
taubench              chats of tau-bench
documents             `read_documents`: manuals and pages as articles
articles              `write_article`: articles in our own form
faq                   `import_faq`, `faq_records`: an FAQ of YAML texts and an HTML page
"""
