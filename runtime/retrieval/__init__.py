"""Finds the sections that answer a question: vectors, shared words, earlier questions.

    retriever.py        one weighted score of all three: `Retriever`, `Hit`, `Earlier`
    chunks.py           what is embedded: pieces of sections and earlier questions: `ChunkTable`
    embedder.py         texts to unit vectors with the bundle's ONNX encoder: `Embedder`, `EmbedderSpec`
    shipped_vectors.py  vectors that head office computed: `read_vectors`, `write_vectors`
    encoder_tokenizer.py  token ids; of a large vocabulary only what occurs is loaded: `EncoderTokenizer`
    chroma_index.py     the vector index on disk, a checked cache: `VectorIndex`
    exact_index.py      the same vectors in one array, for one question: `ExactIndex`
    neighbour.py        what both offer a search: `Neighbour`, `SearchIndex`
    chroma_client.py    Chroma, kept from `.env` and the environment: `open_client`
    filters.py          by language, day, branch, product, audience: `Filter`, `FilterIndex`
    past_questions.py   questions asked before and what answered them: `PastQuestion`
    past_question_index.py  what they say for each section: `PastQuestionIndex`
    reranker.py         a second look at the ten best, token by token: `Reranker`

Knows nothing of prompts, policies and journals.
"""
