"""Where checkpoints come from, and what has to be known of them.

catalogue         `open_base`, `fetch_model`: base models by name, path or hub id
known_bases       `known_bases`: licence, languages and configuration of models on the hub
speech_catalogue  `fetch_speech_model`: recognisers and a voice activity detector out of packages
shape             `checkpoint_shape`: sizes and layer names without loading weights; refuses parts of models
gguf_import       `import_gguf`: a GGUF as a checkpoint
chat_template     `chat_pieces`: what a template writes around messages
vocabulary_match  `shared_vocabulary`: whether two models have the same tokens
openai_endpoint   `EndpointTeacher`: a teacher that is served by vLLM or llama-server
"""
