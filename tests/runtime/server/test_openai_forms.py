"""What the official client and others send in OpenAI's form."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InputError
from runtime.perception.attachment_text import AttachmentText, OfferedEntity, TextLine
from runtime.server.openai_forms import ChatRequest, EmbeddingRequest, picture, read_chat, read_embedding
from runtime.server.request_bodies import validate

USER = {"role": "user", "content": "How long may I return it?"}
ANSWER = {
    "role": "assistant", "content": "30 days", "refusal": None, "annotations": [], "audio": None,
    "function_call": None, "tool_calls": None, "parsed": None, "reasoning_content": "It is in the article.",
}  # fmt: skip
TOOL = {"type": "function", "function": {"name": "refund", "parameters": {}}}


def chat(**more: Any) -> ChatRequest:
    raw = json.dumps({"model": "shop", "messages": [USER], **more}).encode()
    return validate(read_chat(raw), ChatRequest, "")


def test_message_of_an_answer_is_accepted_as_the_client_got_it() -> None:
    question = chat(messages=[USER, ANSWER, USER]).question()
    assert [turn.content for turn in question.context] == [USER["content"], "30 days"]


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": []}, {"tools": None}, {"tool_choice": "none"}, {"tool_choice": None}, {"functions": []},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {"function_call": "none"},
        {"tool_choice": {"type": "none"}}, {"response_format": {"type": "text", "json_schema": None}},
        {"messages": [USER, {**ANSWER, "index": 0}, USER]}, {"stop": ["a", "b", "", "c", "d"]},
        {"response_format": {"type": "text"}}, {"response_format": None}, {"logit_bias": {}}, {"logit_bias": None},
        {"logit_bias": {"50256": 0}},
        {"modalities": ["text"]}, {"audio": None}, {"prediction": None}, {"web_search_options": None},
        {"stop": []}, {"stop": ""}, {"stop": None}, {"stop": [""]},
        {"service_tier": "auto"}, {"service_tier": "default"},
        {"n": 1}, {"n": None}, {"logprobs": False}, {"logprobs": None}, {"top_logprobs": 0}, {"top_logprobs": None},
        {"frequency_penalty": 0}, {"frequency_penalty": 0.0}, {"presence_penalty": 0.0}, {"repetition_penalty": 1.0},
        {"reasoning_effort": None}, {"reasoning_effort": "none"}, {"verbosity": "medium"},
        {"top_k": -1}, {"min_p": 0.0},
        {"store": False}, {"store": True}, {"user": "u-1"}, {"metadata": {}}, {"metadata": None}, {"seed": -1},
        {"safety_identifier": "x"}, {"prompt_cache_key": "x"}, {"stream_options": None}, {"temperature": None},
        {"top_p": 0}, {"max_tokens": None, "max_completion_tokens": None}, {"something_new": None},
        {"max_tokens": -1}, {"max_completion_tokens": -1, "max_tokens": -1},
        {"stream": False, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_field_that_asks_for_nothing_is_passed_over(fields: dict[str, Any]) -> None:
    assert chat(**fields).question().question == USER["content"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tools": [TOOL]}, "'tools': tools are not supported"),
        ({"tool_choice": "auto"}, "'tool_choice'"),
        ({"tools": [], "tool_choice": "required"}, "'tool_choice'"),
        ({"functions": [TOOL]}, "'functions'"),
        ({"response_format": {"type": "json_object"}}, "'response_format': forced formats"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "'response_format'"),
        ({"logit_bias": {"50256": -100}}, "'logit_bias'"),
        ({"modalities": ["text", "audio"]}, "'modalities'"),
        ({"n": 2}, "'n'"),
        ({"n": True}, "'n'"),
        ({"logprobs": True}, "'logprobs'"),
        ({"top_logprobs": 3}, "'top_logprobs'"),
        ({"frequency_penalty": 0.5}, "'frequency_penalty'"),
        ({"web_search_options": {}}, "'web_search_options'"),
        ({"reasoning_effort": "high"}, "'reasoning_effort'"),
        ({"service_tier": "flex"}, "'service_tier'"),
        ({"response_format": {"type": "text", "schema": {"type": "object"}}}, "'response_format'"),
        ({"stop": ["a"] * 5}, "'stop': 5 texts, 4 are allowed"),
        ({"stop": ["a", None]}, "'stop[1]' must be text"),
        ({"stop": ["x" * 65]}, "'stop[0]': 65 characters, 64 are allowed"),
        ({"stop": "x" * 65}, "'stop': 65 characters, 64 are allowed"),
        ({"stop": 5}, "'stop' must be text or a list of texts"),
        ({"\ud800": 1}, r"'\ud800': it is not supported"),
        ({"messages": [{**USER, "\ud800": 1}]}, r"'messages[0].\ud800'"),
        ({"max_tokens": 0}, "'max_tokens'"),
        ({"max_tokens": -2}, "'max_tokens'"),
        ({"something_new": 1}, "'something_new': it is not supported"),
        (
            {"messages": [{**USER, "content": [{"type": "image_url", "image_url": {}}]}]},
            "'messages[0].content[0]': image_url has no url",
        ),
        (
            {"messages": [{**USER, "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]}]},
            "'messages[0].content[0]': a picture must be a data URL, nothing is fetched",
        ),
        (
            {"messages": [{**USER, "content": [{"type": "image_url", "image_url": "file:///etc/passwd"}]}]},
            "'messages[0].content[0]': a picture must be a data URL",
        ),
        ({"messages": [{**USER, "content": [{"type": "input_audio", "input_audio": {}}]}]}, "sound is not supported"),
        ({"messages": [{**USER, "content": [{"type": "file", "file": {}}]}]}, "files are not supported"),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [TOOL]}, USER]},
            "'messages[0].tool_calls'",
        ),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "'messages[0].tool_call_id'"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "'messages[0].role'"),
        ({"messages": [{**USER, "images": ["iVBOR"]}]}, "'messages[0].images'"),
        ({"messages": []}, "'messages'"),
        ({"messages": "hello"}, "'messages'"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_field_that_asks_for_something_unsupported_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError) as refused:
        chat(**fields)
    assert named in refused.value.what


def test_content_parts_of_text_are_joined_whatever_hints_they_carry() -> None:
    parts = [{"type": "text", "text": "How long", "cache_control": {"type": "ephemeral"}}, "may I return it?"]
    assert chat(messages=[{"role": "user", "content": parts}]).question().question == "How long\nmay I return it?"


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner) | st.dictionaries(st.text(), inner)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), _nested))
def test_any_json_is_read_or_refused_as_an_input_error(value: Any) -> None:
    bodies = (value, {"model": "m", "messages": value, "input": value}, {"messages": [value], "input": [value]})
    for read, model in ((read_chat, ChatRequest), (read_embedding, EmbeddingRequest)):
        for body in bodies:
            with suppress(InputError):
                validate(read(json.dumps(body).encode()), model, "")


@pytest.mark.parametrize("given", [[1, 2, 3], [[1, 2], [3]], [0.5], ["text", 7]], ids=json.dumps)
def test_embedding_of_token_ids_is_refused_by_name(given: object) -> None:
    with pytest.raises(InputError, match="token ids are not supported"):
        read_embedding(json.dumps({"model": "m", "input": given}).encode())


@pytest.mark.parametrize(("count", "fits"), [(1, True), (2048, True), (2049, False)])
def test_embedding_batch_holds_as_many_texts_as_openais(count: int, fits: bool) -> None:
    raw = json.dumps({"model": "m", "input": ["x"] * count}).encode()
    if fits:
        assert len(validate(read_embedding(raw), EmbeddingRequest, "").texts) == count
    else:
        with pytest.raises(InputError, match="2,049 texts, 2,048 are allowed"):
            read_embedding(raw)


def test_embedding_of_an_empty_text_is_refused_by_place() -> None:
    with pytest.raises(InputError, match=r"'input\[1\]': the text is empty"):
        read_embedding(b'{"model": "m", "input": ["a", ""]}')


def read(*lines: str, model: int | None = None) -> AttachmentText:
    offered = () if model is None else (OfferedEntity(kind="model_code", value="TX-200", line=model),)
    return AttachmentText(kind="picture", lines=tuple(TextLine(text=line) for line in lines), entities=offered)


def picture_message(words: str, *urls: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": words}]
    parts += [{"type": "image_url", "image_url": {"url": url, "detail": "high"}} for url in urls]
    return {"role": "user", "content": parts}


@pytest.mark.parametrize(
    ("words", "thanks"), [("Can this be returned?", "Thank you " * 20), ("这个可以退吗？", "谢谢惠顾 " * 40)]
)
def test_picture_in_a_message_is_the_customers_words_and_search_looks_at_what_asks(words: str, thanks: str) -> None:
    url = "data:image/png;base64,AAAA"
    receipt = read("NORTHLIGHT", "Toaster TX-200 €39.90", thanks.strip(), model=1)
    asked = chat(messages=[picture_message(words, url)]).question({url: receipt})
    assert asked.question == f"{words}\n\nNORTHLIGHT\nToaster TX-200 €39.90\n{thanks.strip()}"
    assert asked.words == words
    label = chat(messages=[picture_message(words, url)]).question({url: read("E24")})
    assert label.words == f"{words}\nE24"
    alone = chat(messages=[picture_message("", url)]).question({url: receipt})
    assert alone.words == alone.question


def test_picture_of_an_earlier_message_that_nobody_remembers_says_nothing() -> None:
    messages = [picture_message("My receipt", "data:image/png;base64,AAAA"), {"role": "assistant", "content": "Yes?"}]
    asked = chat(messages=[*messages, USER]).question()
    assert [turn.content for turn in asked.context] == ["My receipt", "Yes?"]
    assert asked.asking is None


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("data:image/png;base64,iVBORw0K*", "not base64"),
        ("data:image/png;base64,", "the file is empty"),
        ("data:image/svg+xml;base64,PHN2Zz4=", "neither a picture nor a recording"),
        ("data:image/png;base64,UklGRhAAAABXQVZFZm10IA==", "a recording, not a picture"),
        ("data:text/html;base64,PHN2Zz4=", "not the data URL of a picture in base64"),
        ("data:application/octet-stream;base64,iVBORw0KGgo=", "not the data URL of a picture in base64"),
        ("data:image/png,iVBORw0KGgo=", "not the data URL of a picture in base64"),
        ("http://127.0.0.1/a.png", "must be a data URL"),
        ("data:image/png;base64," + "A" * (23 << 20), "more than 16 MiB"),
    ],
    ids=lambda value: value[:40],
)
def test_picture_url_that_cannot_be_used_is_refused_by_place(url: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        picture(url, "messages[2].content")
    assert "messages[2].content" in str(caught.value)
    assert caught.value.hint
    assert "in base64" not in what or "image/webp" in caught.value.hint


def test_picture_url_may_carry_parameters_before_its_base64() -> None:
    assert picture("data:image/png;charset=utf-8;name=a.png;base64,iVBORw0KGgo=", "messages[0]").format == "png"


def test_unknown_field_of_a_picture_is_refused_with_the_fields_it_may_have() -> None:
    message = picture_message("What is this?", "data:image/png;base64,AAAA")
    message["content"][1]["image_url"]["foo"] = 1
    with pytest.raises(InputError) as refused:
        chat(messages=[message])
    assert refused.value.what == "'messages[0].content[1].image_url.foo': it is not supported"
    assert refused.value.hint == "leave it out; known: url, detail"
