"""Transcripts, FAQs and simulated conversations to records.

authors               what programs call the two sides of a conversation
conversation          `RawConversation`: what every importer gives
prepare               `prepare`: clean, redact, link and split into records
steps                 `Step`, `WholeStep`, `Dropped`: the form of every row-wise step, and what it drops with a reason
dataset               the company's input gathered: articles, prompt, policies, records
feedback_records      what agents corrected, beside the records of the last release
answer_matching       which section a reply rests on
simulate              `simulate`: conversations from templates (simulation_templates)
cleaning/             what does not go into training, with a reason: duplicates, boilerplate, contradicted replies
enlarging/            questions that articles answer, other ways to ask, what nobody can answer, balance
importers/            every form that conversations and articles come in, read into ours
labelling/            which labels are wrong, and a sheet to put them right
"""
