"""Prompts of chat front ends, in the forms that they send."""

from __future__ import annotations

import json

import pytest

from runtime.server.frontend_tasks import recognise_task

OPEN_WEBUI = """### Task:
{task}
### Output:
JSON format: {form}
### Chat History:
<chat_history>
USER: How long can I return an item after delivery? I have lost the receipt.
ASSISTANT: 30 days.
</chat_history>"""
EARLIER = [("user", "退货要多久？"), ("assistant", "30天。")]


def open_webui(task: str, form: str) -> list[tuple[str, str]]:
    return [("user", OPEN_WEBUI.format(task=task, form=form))]


CASES: dict[str, tuple[list[tuple[str, str]], str, object]] = {
    "Open WebUI, title": (
        open_webui("Generate a concise, 3-5 word title with an emoji summarizing the chat history.", '{"title": ""}'),
        "title",
        {"title": "How long can I return an item after…"},
    ),
    "Open WebUI, tags": (
        open_webui("Generate 1-3 broad tags categorizing the main themes of the chat history", '{ "tags": [] }'),
        "tags",
        {"tags": []},
    ),
    "Open WebUI, follow-up questions": (
        open_webui("Suggest 3-5 relevant follow-up questions or prompts", '{ "follow_ups": [] }'),
        "follow_ups",
        {"follow_ups": []},
    ),
    "Open WebUI, searches": (
        open_webui("Analyze the chat history: is there a necessity of generating search queries?", '{ "queries": [] }'),
        "queries",
        {"queries": []},
    ),
    "NextChat, title": (
        [
            *EARLIER,
            (
                "user",
                "Please generate a four to five word title summarizing our conversation without any lead-in.",
            ),
        ],
        "title",
        "退货要多久？",
    ),
    "NextChat in Chinese, title": (
        [*EARLIER, ("user", "使用四到五个字直接返回这句话的简要主题，不要解释、不要标点、不要语气词")],
        "title",
        "退货要多久？",
    ),
    "LobeChat, title": (
        [("system", "你需要将用户的会话总结为 10 个字以内的标题"), EARLIER[0]],
        "title",
        "退货要多久？",
    ),
    "LibreChat, title": (
        [
            (
                "user",
                "Provide a concise, 5-word-or-less title for the conversation.\n\nUser: Is it free?\nAI: Yes.",
            )
        ],
        "title",
        "Is it free?",
    ),
    "NextChat in Chinese, summary": (
        [*EARLIER, ("user", "简要总结一下对话内容，用作后续的上下文提示 prompt，控制在 200 字以内")],
        "summary",
        "退货要多久？",
    ),
    "NextChat, summary": (
        [
            *EARLIER,
            ("system", "Summarize the discussion briefly in 200 words or less to use as a prompt for future context."),
        ],
        "summary",
        "退货要多久？",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_prompt_of_a_front_end_is_recognised_and_answered_from_the_conversation(name: str) -> None:
    messages, kind, answer = CASES[name]
    task = recognise_task(messages)
    assert task is not None
    assert task.kind == kind
    assert (json.loads(task.answer) if isinstance(answer, dict) else task.answer) == answer


@pytest.mark.parametrize(
    "question",
    [
        "How long can I return an item after delivery?",
        "Can you summarize our conversation so far?",
        "What title should I put on the returns form?",
        "Give me a summary of the warranty in a few words.",
        "Do you sell price tags? I need to create 200 for my shop.",
        "请总结一下我们的对话",
        "保修卡的标题应该写什么？",
        "Only reply if my parcel has left the warehouse.",
        "Please summarize this conversation and email it to me, no explanation needed",
        "Please summarize our conversation in 50 words or less, I want to forward it.",
        "请总结一下我们的对话发给我，100字以内，不要解释",
        "Please suggest a follow-up appointment and reply only by email.",
        "Create 200 price tags as in my last message, no punctuation on them.",
        "Please give me the title of the manual from your last message, no explanation, reply only by email.",
        "",
    ],
)
def test_question_of_a_customer_is_no_task_of_a_front_end(question: str) -> None:
    assert recognise_task([("system", "You are a helpful assistant."), ("user", question)]) is None


def test_nothing_is_no_task() -> None:
    assert recognise_task([]) is None
