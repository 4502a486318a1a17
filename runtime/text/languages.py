"""What other systems call a language, as the two-letter code that articles and records have.

Knows no text: which language a text is in says `runtime.text.articles.guess_language`.
"""

from __future__ import annotations

import re

TOLD_LANGUAGES = ("en", "zh")
"""What `guess_language` can say of a question: no other language would ever be answered by a model."""
LANGUAGES = {
    **dict.fromkeys(("chinese", "mandarin", "simplified chinese", "traditional chinese", "zho", "chi", "cn"), "zh"),
    **dict.fromkeys(("中文", "汉语", "汉文", "普通话", "简体中文", "繁體中文", "繁体中文", "国语", "华语"), "zh"),
    **dict.fromkeys(("english", "eng", "英文", "英语"), "en"),
}


def language_code(name: str) -> str:
    """The two-letter code of a language, without a region (`zh-CN`, `en_GB`); what is not understood stays as it is."""
    plain = re.sub(r"\s*[(（].*", "", name.strip().lower())  # "Chinese (Simplified)"
    code = re.match(r"[a-z]{2}(?=$|[-_])", plain)
    return LANGUAGES.get(plain) or (code[0] if code else plain)
