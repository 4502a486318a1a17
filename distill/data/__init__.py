"""Transcripts, FAQs and simulated conversations to records.

authors               what programs call the two sides of a conversation
conversation          `RawConversation`: what every importer gives
prepare               `prepare`: conversations to the files of the records, with an account of every row
record_making         `records`: the records of one conversation
labelled              questions with a label and no reply, for the classifiers
splits                which split a conversation goes into
training_split        `shape_training`: near duplicates, balance and other ways to ask
leakage               `check_leakage`: near duplicates across splits
engines               `run_rows`: one function over many rows, in processes or on a cluster
lineage               `find_record`: from a record back to its row
data_card             `write_card`: the account as Markdown and HTML
steps                 `Step`, `WholeStep`, `Dropped`: the form of every row-wise step, and what it drops with a reason
dataset               the company's input gathered: articles, prompt, policies, records
feedback_records      what agents corrected, beside the records of the last release
quoted_replies        `quote_reply`: the sentences of the article that say a reply, in its place
answer_matching       which section a reply rests on
new_company           `write_company`: recipe, house rules and policy for a folder of articles
simulate              `simulate`: conversations from templates (simulation_templates)
cleaning/             what does not go into training, with a reason: duplicates, boilerplate, contradicted replies
enlarging/            questions that articles answer, other ways to ask, what nobody can answer, balance
importers/            every form that conversations and articles come in, read into ours
labelling/            which labels are wrong, and a sheet to put them right
"""
