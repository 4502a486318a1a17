"""What programs call the two sides of a conversation, and the authors that belong to neither.

Knows nothing of files and columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Side = Literal["user", "assistant", "skip"]
"""`skip` is a bot or a program: its messages are left out."""

_USER = """
user customer client caller visitor enduser requester contact lead human incoming inbound consumer buyer guest usr
member customerenduser shopper patient passenger 顾客 客户 用户 买家 访客 消费者 来访者
"""
_ASSISTANT = """
assistant agent staff support advisor admin operator outgoing outbound gpt supportagent humanagent representative rep
csr employee teammate seller lightagent owner supervisor 客服 坐席 店员 助手 人工客服 卖家 商家 座席 管理员
"""
_SKIPPED = """
bot system automation chatbot virtualassistant activity event tool function action trigger workflow macro note developer
automatedmessage autoresponder agentbot autoreply 机器人 系统 智能客服 自动回复 系统消息
"""
AUTHORS: Mapping[str, Side] = {
    **dict.fromkeys(_USER.split(), "user"),
    **dict.fromkeys(_ASSISTANT.split(), "assistant"),
    **dict.fromkeys(_SKIPPED.split(), "skip"),
}


def plain_name(name: str) -> str:
    """A name without case, blanks and the signs that programs join words with; dots of nested names stay."""
    return re.sub(r"[\s_\-()]+", "", name.strip().strip("\ufeff").casefold())
