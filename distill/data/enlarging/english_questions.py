"""Questions that an English sentence or heading of an article answers, made by rules.

    You can return X within 30 days.    ->  Can I return X?  Until when ...?
    X costs €45.                        ->  How much does X cost?
    If you are late, we ...             ->  What happens if I am late?
    To reset your PIN, open ...         ->  How do I reset my PIN?

A rule applies only where the sentence's form leaves no doubt; most sentences give none or one question. Promises: time
is linear in the sentence; a sentence of over `MAX_WORDS` words gives nothing but its condition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

MAX_WORDS = 45
_ARTICLES = frozenset(
    """
The A An All Each Every Any Some Our Your Most Many No Its This These
""".split()  # noqa: SIM905
)
_MAX_SUBJECT = 8
_MAX_REST = 16
_CUT = re.compile(
    r"[,;:(–—]|\s(?:-|but|so that|because|if|unless|when|whenever|while|where|which|who|although|as long as|provided"
    r"|until|within|up to|from|after|before|by|at the latest|as soon as|since|even|and (?:you|we|it|they|the)"
    r"|or (?:you|we|it|they))\s"
)
"""Where the part of a sentence ends that a yes-or-no question asks about."""
_DEADLINE = re.compile(r"\s(until|within|up to|no later than|at the latest|by)\s")
_TIME = re.compile(
    r"\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|fourteen|thirty|sixty|ninety)[\s-](?:working |business "
    r"|calendar )?(?:minute|hour|day|week|month|year)s?\b|\d{1,2}:\d\d|\b\d{1,2} ?[ap]m\b",
    re.IGNORECASE,
)
_DAYS = re.compile(r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?\b|\d{1,2}:\d\d|\b\d{1,2} ?[ap]m\b")
_MONEY = re.compile(
    r"[€$£¥]\s?\d|\d\s?(?:euros?|dollars?|pounds?|yuan|EUR|USD|GBP)\b|\bfree of charge\b|\bfree\b", re.IGNORECASE
)
_BE = "is|are|can|must|will|may|has to|have to|cannot|can't|should"
_THIRD = {
    "costs": "cost", "takes": "take", "lasts": "last", "includes": "include", "contains": "contain", "covers": "cover",
    "requires": "require", "needs": "need", "weighs": "weigh", "measures": "measure", "offers": "offer",
    "provides": "provide", "supports": "support", "accepts": "accept", "works": "work", "starts": "start",
    "begins": "begin", "ends": "end", "opens": "open", "closes": "close", "expires": "expire", "applies": "apply",
    "allows": "allow", "comes": "come", "holds": "hold", "uses": "use", "reaches": "reach", "means": "mean",
}  # fmt: skip
_PLURAL = {base: base for base in _THIRD.values()}
_WHAT = {"include", "contain", "cover", "require", "need", "offer", "provide", "support", "accept", "mean", "use"}
_ONLY_PRONOUN = re.compile(
    r"(?:it|they|this|these|that|those|he|she|there|here|both|each|such|what|which|who|one)\b", re.IGNORECASE
)
_SUBORDINATE = re.compile(
    r"\b(?:that|which|who|whose|if|when|while|because|where|is|are|was|were|can|must|will|may|has|have|should|do)\b|[,;:()]",
    re.IGNORECASE,
)
_NO_SUBJECT = re.compile(
    r"(?:You|We|I|Please|To|If|When|As|For|In|On|At|From|With|Before|After|Until|By|Every|Not|No|None|Nothing|Never|Do"
    r"|Although|Without|Once|Because|Since|While|Even|Though|During|Under|Over|Let|Like|Unlike|Here|Only)\b"
)
_TASKS = """
add adjust apply book build buy cancel change charge check choose claim clean close collect compare connect
contact convert create delete edit evaluate exchange find fix get give import install join log make manage
measure order pair pay prepare print read register remove rename renew repair replace report reset return run
save see sell send set sign start stop switch track train transfer try turn update upgrade use verify write
"""
_TASK = re.compile(rf"(?:{'|'.join(_TASKS.split())})\s+\S", re.IGNORECASE)
"""A heading that says what to do, as in "Change your address"."""
_DANGLING = re.compile(
    r"\b(?:it|its|they|them|their|these|those|this|that one|there|then|so|ones|he|she|his|her)\b[?,. ]"
)
_NOT_VERBS = frozenset(
    """
are have had were will can may must do would should also only all always never cannot did shall could might
usually normally currently therefore still now then and or in on at with for from of to
""".split()  # noqa: SIM905
)
_SWAPS = {
    "your": "my", "yours": "mine", "yourself": "myself", "we": "you", "us": "you", "our": "your", "ours": "yours",
    "ourselves": "yourselves", "we're": "you're", "we'll": "you'll", "i": "you", "my": "your", "me": "you",
}  # fmt: skip
_SUBJECT_BEFORE = frozenset(
    """
if when whenever that because what how where while before after until till unless as than or and once since
which but so whether do did can will would could should must may might
""".split()  # noqa: SIM905
)


def swap_speaker(text: str) -> str:
    """The words of the company as a customer says them: you -> I or me, your -> my, we -> you."""
    words = text.split(" ")
    out: list[str] = []
    for place, word in enumerate(words):
        core = word.strip(".,;:!?()\"'“”")
        low = core.lower()
        after = words[place + 1].lower() if place + 1 < len(words) else ""
        if low in ("you", "you're", "you've", "you'll", "you'd"):
            before = words[place - 1].strip(",;:").lower() if place else ""
            subject = not before or before in _SUBJECT_BEFORE or words[place - 1].endswith((",", ";", ":"))
            new = {"you're": "I'm", "you've": "I've", "you'll": "I'll", "you'd": "I'd"}.get(
                low, "I" if subject else "me"
            )
            if subject and new == "I" and after in ("are", "were"):
                words[place + 1] = {"are": "am", "were": "was"}[after]
            out.append(word.replace(core, new, 1))
        else:
            out.append(word.replace(core, _SWAPS[low], 1) if low in _SWAPS else word)
    return " ".join(out)


def leans_on_context(question: str) -> bool:
    """Whether a question points at something that it does not name ("What happens if I lose it?")."""
    return _DANGLING.search(question) is not None and not question.startswith(("Is there", "Are there"))


def heading_questions(heading: str, title: str) -> Iterator[str]:
    """What a customer asks whom a heading answers; the first is the heading itself where it is a question."""
    heading = heading.strip().rstrip(".:")
    if heading.endswith("?"):
        yield heading
        return
    if not heading or len(heading.split()) > 12:
        return
    spoken = swap_speaker(_lower_first(heading))
    if re.match(r"(?:how|what|when|where|why|who|which)\b", heading, re.IGNORECASE):
        yield f"Can you tell me {spoken}?"
    elif re.match(r"(?:if|when|in case)\b", heading, re.IGNORECASE):
        yield f"What happens {spoken}?"
    elif _TASK.match(heading):
        yield f"How do I {spoken[0].lower()}{spoken[1:]}?"
    elif heading.split()[0].lower() in ("can", "do", "does", "is", "are", "may", "should", "must"):
        yield f"{heading}?"
    else:
        yield f"What do I need to know about {spoken}?"
        about = _lower_first(title.strip())
        if (
            about
            and title != heading
            and not _TASK.match(about)
            and len(about.split()) < 8
            and about.lower() not in heading.lower()
        ):
            yield f"I have a question about {about}: {spoken}."


def row_questions(row: tuple[tuple[str, str], ...]) -> Iterator[str]:
    """What a table's row answers: each column, asked for what the row is about."""
    (_, about), *columns = row
    for name, _ in columns:
        if name and about and len(about) < 80 and len(name) < 60:
            asked = re.match(r"(?:what|how|which|when|where|who|the|of)\b", name, re.IGNORECASE)
            yield f"{about}: {_lower_first(name)}?" if asked else f"What is the {_lower_first(name)} for {about}?"


def sentence_questions(sentence: str, topic: str) -> Iterator[str]:
    """What a sentence answers, surest first."""
    sentence = sentence.strip().rstrip(".!").strip()
    words = sentence.split()
    if len(words) < 3 or sentence.endswith("?"):
        return
    yield from _condition(sentence)
    if len(words) > MAX_WORDS:
        return
    for rule in (_you, _we, _there, _verb, _be, _imperative):
        found = [each for each in rule(sentence) if _fits(each)]
        yield from found
        if found:
            return
    if _MONEY.search(sentence) and re.search(r"\d", sentence) and topic and len(topic.split()) < 8:
        yield (
            f"How much do I pay for {swap_speaker(_lower_first(topic)).rstrip('?')}?"
            if not topic.endswith("?")
            else topic
        )


def _fits(question: str) -> bool:
    return 3 <= len(question.split()) <= 24


def _condition(sentence: str) -> Iterator[str]:
    """'If you are late, we ...', 'To reset your PIN, open ...', 'Before you ..., ...'."""
    head, comma, _ = sentence.partition(", ")
    if not comma or not 3 <= len(head.split()) <= 16:
        return
    first = head.split()[0]
    rest = head[len(first) :].strip()
    if (
        (first in ("If", "When", "Whenever") and not rest.startswith(("so", "not")) and not _ONLY_PRONOUN.match(rest))
        or first == "Once"
        or (first == "After" and re.match(r"you\b", rest))
    ):
        yield f"What happens {first.lower()} {swap_speaker(rest)}?"
    elif first == "Before" and re.match(r"you\b", rest):
        yield f"What do I have to do before {swap_speaker(rest)}?"
    elif first == "To" and re.match(r"[a-z]{2,}\b", rest) and not rest.startswith(("the ", "a ", "your ")):
        yield f"How do I {swap_speaker(rest)}?"
    elif sentence.startswith("In order to "):
        yield f"How do I {swap_speaker(head.removeprefix('In order to '))}?"


def _until_cut(text: str) -> tuple[str, str]:
    """The text up to where its core ends, and the rest."""
    match = _CUT.search(text)
    core, rest = (text[: match.start()].strip(), text[match.start() :]) if match else (text, "")
    return ("", rest) if rest and core.endswith((" only", " also", " either", " both", " and", " or")) else (core, rest)


def _you(sentence: str) -> Iterator[str]:
    match = re.match(
        r"(?:Please note that |Of course,? )?[Yy]ou (can|cannot|can't|may|must|need to|have to|do not have to"
        r"|don't have to|should|will|get|receive|pay)( not| also| only| always| then)? (.+)",
        sentence,
    )
    if not match:
        return
    modal, _, rest = match.groups()
    core, tail = _until_cut(rest)
    if not core or len(core.split()) > _MAX_REST:
        return
    spoken = swap_speaker(core)
    deadline = _DEADLINE.search(f" {rest}")
    if modal in ("can", "cannot", "can't", "may"):
        if deadline and _TIME.search(tail) and len(core.split()) > 1:
            asked = "How far ahead" if "ahead" in tail else "Until when"
            yield f"{asked} can I {spoken}?"
        if len(core.split()) > 1:
            yield f"Can I {spoken}?"
    elif modal in ("must", "need to", "have to", "do not have to", "don't have to", "should"):
        yield f"Do I have to {spoken}?"
    elif modal == "pay":
        yield f"How much do I pay{_preposition(core)}?" if _MONEY.search(rest) else f"Do I pay {spoken}?"
    elif modal in ("get", "receive"):
        yield f"When do I {modal} {spoken}?" if _TIME.search(tail) else f"Do I {modal} {spoken}?"
    elif not spoken.startswith("not "):
        yield f"Will I {spoken}?"


def _preposition(core: str) -> str:
    match = re.search(r"\s(for|on|to)\s.+", core)
    return swap_speaker(match[0]) if match else ""


def _we(sentence: str) -> Iterator[str]:
    match = re.match(r"We (do not |don't |also |always |only |usually |normally )?([a-z]+) (.+)", sentence)
    if match and match[2] not in _NOT_VERBS:
        core, tail = _until_cut(match[3])
        if 0 < len(core.split()) <= _MAX_REST:
            if _TIME.search(tail) and not match[1]:
                asked = "How long do you" if match[2] in ("keep", "hold", "store", "reserve", "save") else "When do you"
                yield f"{asked} {match[2]} {swap_speaker(core)}?"
            yield f"Do you {match[2]} {swap_speaker(core)}?"
        return
    match = re.match(r"We (can|cannot|will|are|have) (?:not |also |only |always )?(.+)", sentence)
    if match:
        core, _ = _until_cut(match[2])
        if 0 < len(core.split()) <= _MAX_REST:
            verb = {"can": "Can you", "cannot": "Can you", "will": "Will you", "are": "Are you", "have": "Do you have"}[
                match[1]
            ]
            yield f"{verb} {swap_speaker(core)}?"


def _there(sentence: str) -> Iterator[str]:
    match = re.match(r"There (is|are) (?:no |not |currently )?(.+)", sentence)
    if match:
        core, _ = _until_cut(match[2])
        if 0 < len(core.split()) <= _MAX_REST:
            yield f"{match[1].capitalize()} there {swap_speaker(core)}?"


def _subject(sentence: str, end: int) -> str:
    """The words before a verb as a subject inside a question; "" where they may be more than that."""
    words = sentence[:end].strip()
    if not 0 < len(words.split()) <= _MAX_SUBJECT or _ONLY_PRONOUN.match(words) or _SUBORDINATE.search(words):
        return ""
    if _NO_SUBJECT.match(words):
        return ""
    return swap_speaker(_lower_first(words))


def _verb(sentence: str) -> Iterator[str]:
    """'X costs €45', 'X takes 25 minutes', 'X includes A and B'."""
    for forms, helper in ((_THIRD, "does"), (_PLURAL, "do")):
        for match in re.finditer(rf"\s({'|'.join(forms)})\s", sentence):
            subject = _subject(sentence, match.start())
            if not subject:
                continue
            yield from _ask_verb(subject, helper, forms[match[1]], sentence[match.end() :])
            return


def _ask_verb(subject: str, helper: str, base: str, rest: str) -> Iterator[str]:
    core, _ = _until_cut(rest)
    if base == "cost":
        yield f"How much {helper} {subject} cost?"
    elif base in ("take", "last") and _TIME.search(rest):
        yield f"How long {helper} {subject} {base}?"
    elif base in ("start", "begin", "end", "open", "close", "expire", "work") and (
        _DAYS.search(rest) or _TIME.search(rest)
    ):
        yield f"When {helper} {subject} {base}?"
    elif base == "weigh":
        yield f"How heavy {'is' if helper == 'does' else 'are'} {subject}?"
    elif base in _WHAT and core:
        yield f"What {helper} {subject} {base}?"
    elif core and len(core.split()) <= _MAX_REST:
        yield f"{helper.capitalize()} {subject} {base} {swap_speaker(core)}?"


def _be(sentence: str) -> Iterator[str]:
    """'X is free', 'Refunds are paid within 14 days', 'X can be returned'."""
    match = re.search(rf"\s({_BE})\s", sentence)
    subject = _subject(sentence, match.start()) if match else ""
    if not match or not subject:
        return
    verb = {"cannot": "can", "can't": "can", "has to": "must", "have to": "must"}.get(match[1], match[1])
    rest = re.sub(r"^(?:not|also|always|only|usually|normally|no longer) ", "", sentence[match.end() :])
    core, tail = _until_cut(rest)
    if not core or len(core.split()) > _MAX_REST:
        return
    spoken = swap_speaker(core)
    if verb in ("is", "are") and re.match(r"(?:open|closed|available)\b", core) and _DAYS.search(rest):
        yield f"When {verb} {subject} {spoken.split()[0]}?"
    elif _TIME.search(tail) and re.match(r"\s(?:within|after|until|by|before|from)\b", tail):
        yield f"When {verb} {subject} {spoken}?"
        yield f"{verb.capitalize()} {subject} {spoken}?"
    elif verb in ("is", "are") and re.match(r"(?:up to |at least |at most |about )?[€$£¥]?\d", core):
        yield f"How much {verb} {subject}?" if _MONEY.search(core) else f"What {verb} {subject}?"
    else:
        yield f"{verb.capitalize()} {subject} {spoken}?"


_IMPERATIVE: dict[str, Callable[[str], str]] = {
    "ask": lambda rest: f"What can I ask {rest}?",
    "contact": lambda rest: f"When should I contact {rest}?",
    "bring": lambda rest: f"What should I bring{_preposition(rest)}?",
}
_DO = frozenset(
    """
enter open choose select click press bring send keep pack attach print remove clean switch turn plug connect
fill use check wait hold put place take return register report call write show sign tick cover delete
""".split()  # noqa: SIM905
)


def _imperative(sentence: str) -> Iterator[str]:
    """'Please bring a floor plan': what a customer asks who wonders whether to."""
    match = re.match(r"(?:Please )?([A-Za-z][a-z]+) (.+)", sentence)
    if not match or match[1].lower() not in _DO or not (match[1][0].isupper() or sentence.startswith("Please ")):
        return
    core, _ = _until_cut(match[2])
    if 0 < len(core.split()) <= _MAX_REST:
        yield f"Should I {match[1].lower()} {swap_speaker(core)}?"


def _lower_first(text: str) -> str:
    """The first letter small, unless the word is written in capitals elsewhere or goes on in capitals."""
    words = text.split(" ")
    first = words[0]
    if first in _ARTICLES:
        return first.lower() + text[len(first) :]
    proper = not first[:1].isupper() or first[1:] != first[1:].lower() or re.search(r"\d", first) or first == "I"
    names = len(words) > 1 and words[1][:1].isupper() and words[1] not in ("You", "We")
    return text if proper or names else first[0].lower() + text[1:]
