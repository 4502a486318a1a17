"""Conversations: what nobody said is taken out, what is broken or unresolved goes with a reason, the rest stays."""

from __future__ import annotations

import pickle

import pytest

from distill.data.cleaning.conversations import (
    conversation_steps,
    find_boilerplate,
    is_system_line,
    not_broken,
    resolved,
    without_boilerplate,
    without_system_lines,
)
from distill.data.conversation import RawConversation, RawTurn
from distill.data.steps import Dropped, StepCounts, run_steps


def talk(*turns: str, name: str = "c1") -> RawConversation:
    """Turns beginning with `u:` are the customer's, with `a:` the agent's."""
    roles = {"u": "user", "a": "assistant"}
    said = tuple(RawTurn.model_validate({"role": roles[turn[0]], "content": turn[2:]}) for turn in turns)
    return RawConversation(conversation=name, turns=said, where="chats.csv:7")


@pytest.mark.parametrize(
    "line",
    [
        "Maria Lopez has joined the chat",
        "*** Agent 7 left the conversation ***",
        "Chat ended.",
        "This ticket #4711 was closed",
        "You are now chatting with Ben",
        "Please wait while we connect you to an agent.",
        "Your estimated wait time is 4 minutes",
        "Automatic reply: I am out of office",
        "Status changed from open to solved",
        "会话已结束",
        "客服小王已加入会话",
        "系统提示：您已超过3分钟未回复",
        "正在为您转接人工客服",
        "您前面还有5人排队",
    ],
)
def test_system_line_is_taken_out_and_what_stands_beside_it_stays(line: str) -> None:
    assert is_system_line(line)
    cleaned = without_system_lines(talk("u:Where is my order?", f"a:{line}\nIt arrives on Monday."))
    assert isinstance(cleaned, RawConversation)
    assert [turn.content for turn in cleaned.turns] == ["Where is my order?", "It arrives on Monday."]
    assert isinstance(without_system_lines(talk(f"a:{line}")), Dropped)


@pytest.mark.parametrize(
    "line",
    [
        "I joined the club last year, do I get points?",
        "My ticket for the concert was cancelled",
        "Please wait for the message before you set off.",
        "The chat with your colleague did not help.",
        "会话记录在哪里看？",
        "客服电话是多少？",
        "我已经排队半个小时了",
    ],
)
def test_sentence_that_somebody_said_is_no_system_line(line: str) -> None:
    assert not is_system_line(line)
    conversation = talk(f"u:{line}", "a:I see.")
    assert without_system_lines(conversation) is conversation


@pytest.mark.parametrize(
    ("conversation", "reason"),
    [
        (talk("a:Hello?", "a:Anybody there?"), "no customer's message"),
        (talk("u:Where is it?"), "no reply"),
        (talk("u:Wo ist die GrÃ¶ÃŸe fÃ¼r mÃ¼de TÃ¼ren", "a:Da."), "broken characters"),
        (talk("u:锟斤拷锟斤拷", "a:好的"), "broken characters"),
        (talk("u:x", "a:What?", "u:x", "a:Yes?", "u:X!", "a:Hm?", "u:x", "a:So?"), "the same message again and again"),
        (talk("u:Hi there", "a:How can I help you?", "u:ok thanks, bye"), "nothing but greetings"),
        (talk("u:您好，在吗？", "a:在的，有什么可以帮您？", "u:谢谢"), "nothing but greetings"),
    ],
)
def test_broken_conversation_is_dropped_with_its_reason_and_place(conversation: RawConversation, reason: str) -> None:
    assert not_broken(conversation) == Dropped(reason, "chats.csv:7")


@pytest.mark.parametrize(
    "conversation",
    [
        talk("u:Hello, can I return a lamp?", "a:Yes, within 30 days."),
        talk("u:Grüße aus Köln, größere Türen?", "a:Ja."),
        talk("u:您好，洗衣机怎么退？", "a:30天内可以退。", "u:谢谢"),
    ],
)
def test_whole_conversation_passes_every_step_unchanged(conversation: RawConversation) -> None:
    assert run_steps(conversation, conversation_steps(), StepCounts()) is conversation


@pytest.mark.parametrize(
    ("conversation", "reason"),
    [
        (talk("u:Broken.", "a:Restart it.", "u:That doesn't help."), "unresolved: the customer was not helped"),
        (talk("u:坏了", "a:请重启", "u:还是不行"), "unresolved: the customer was not helped"),
        (talk("u:Broken.", "a:I have escalated your case."), "unresolved: the last reply puts off"),
        (talk("u:坏了", "a:已为您登记，会有专员联系您"), "unresolved: the last reply puts off"),
    ],
)
def test_unresolved_conversation_is_dropped(conversation: RawConversation, reason: str) -> None:
    assert resolved(conversation) == Dropped(reason, "chats.csv:7")


def test_unhelped_customer_who_was_helped_later_stays() -> None:
    conversation = talk(
        "u:Broken.", "a:Restart it.", "u:That doesn't help.", "a:Hold the key for 10 seconds.", "u:Thanks"
    )
    assert resolved(conversation) is conversation


def test_boilerplate_is_what_many_conversations_share_and_holds_no_figure() -> None:
    many = [
        talk("u:Question", f"a:Thank you for choosing us!\nYou have 30 days.\nAnswer {chr(97 + place % 26)}{place}x")
        for place in range(40)
    ]
    lines = find_boilerplate(many)
    cleaned = without_boilerplate(many[0], lines)
    assert isinstance(cleaned, RawConversation)
    assert cleaned.turns[1].content == "You have 30 days.\nAnswer a0x"
    assert without_boilerplate(talk("u:Thank you for choosing us!", "a:Yes."), lines).turns[0].role == "user"  # type: ignore[union-attr]
    assert find_boilerplate(many[:5]) == frozenset()


def test_steps_are_the_same_after_pickling_and_leave_what_was_made_alone() -> None:
    steps = pickle.loads(pickle.dumps(conversation_steps(frozenset({"hello"}))))
    dropped = run_steps(talk("u:坏了", "a:请重启", "u:还是不行"), steps, StepCounts())
    assert isinstance(dropped, tuple)
    made = talk("u:Hi", "a:Hello").model_copy(update={"source": "simulated"})
    assert run_steps(made, steps, StepCounts()) is made
