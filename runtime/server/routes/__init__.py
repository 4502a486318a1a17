"""The HTTP endpoints, one module a subject; each has `routes(service)`.

conversations      ask, turns, feedback
outbox             what leaves the branch
receipt            which corrections the model in use answers right
attachments        what stands in a picture, before it is used
inbox              status, composer, labels, hand-offs
knowledge          articles and search
openai             chat completions, models, embeddings
audio              speech as text, in OpenAI's form
typing             what is typed, read ahead
health             alive, ready, status, metrics
"""
