"""How a prompt is laid out and encoded, the same in training and in a branch.

prompt_spec.py      `prompt.json` and the layout of a prompt: `PromptSpec`, `PromptParts`, `layout`
prompt_tokens.py    a prompt as token ids, in its parts: `Prompt`, `Layout`
encode.py           parts to token ids: `encode_parts`
truncate.py         what is left out until a prompt fits: `truncate_prompt`
json_tokenizer.py   a Hugging Face tokenizer.json: `JsonTokenizer`
"""
