"""The HTTP server of a branch, on a Unix socket or TCP.

main               `serve`: sockets, uvicorn, the end
supervisor         `DeskSupervisor`: opens the desk, watches its engine, goes back to the generation before
connections        listeners, and what an unknown peer may hold of them
app                `create_app`: all endpoints and how an error looks
limits             `RequestLimits`: who calls, what they may, one log line a request
access             `AccessList`, `Role`, `Caller`: tokens and what they open
service            `Service`: what all endpoints share
streams            `Answer`, `EventStream`: an answer in a thread, its events to the client
sent_limits        `stop` and `max_tokens` for texts that no model wrote
request_bodies     reads and checks bodies
http_errors        errors as status codes, in our form and in OpenAI's
openai_forms       bodies of OpenAI's API
chat_completion    `ChatCompletion`: events in OpenAI's form
frontend_tasks     recognises the prompts of chat front ends
embedding_queue    `EmbeddingQueue`: embeddings one request at a time
inbox_drafts       `InboxDrafts`: drafts for messages that arrived, while nobody waits
attachment_queue   `AttachmentQueue`: pictures and recordings one at a time
metrics, log       what is counted, what is logged
routes/            the endpoints, one module a subject
"""
