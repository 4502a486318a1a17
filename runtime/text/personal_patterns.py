"""The forms and cues of personal values, as bounded patterns.

Every repeat has an upper bound and no two repeats of the same characters touch, so that a search takes time linear in
the text (`tests/system/test_linear_time.py`). Patterns run over folded text (`runtime.text.folding`). Knows nothing of
names (`runtime.text.names`) and of how finds are put together (`runtime.text.personal_data`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

from runtime.text.names import HAN
from runtime.text.personal_checks import (
    as_found,
    bsn,
    called_number,
    card,
    grouped_card,
    handle,
    iban,
    ip_address,
    long_number,
    nir,
    number,
    phone,
    resident_id,
    secret,
    with_digit,
)

Kind = Literal[
    "NAME", "EMAIL", "PHONE", "ORDER", "CARD", "IBAN", "ADDRESS", "ID", "IP", "BIRTH", "PLATE", "ACCOUNT", "PASSWORD"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
Check = Callable[[str], str]
"""The part of a match that is the value; "" = not one."""


class Rule(NamedTuple):
    """How one form of personal value is found: by a pattern, then by a check."""

    kind: Kind
    pattern: re.Pattern[str]
    check: Check
    grows_back: bool = False
    """Whether the value begins somewhere before the match, as a Chinese address does before its number."""


MAX_ADDRESS_CHARS = 60
_BEFORE_ADDRESS = frozenset("到至在是为址寄送住了我你的给请把从换改")
"""Words that lead up to an address and are no part of it."""


def in_han_place(char: str) -> bool:
    """Whether a character may stand in a Chinese address before its number."""
    return bool(re.match(rf"[{HAN}0-9]", char)) and char not in _BEFORE_ADDRESS


_CAP = r"[A-ZÀ-ÖØ-Þ][\wß-ÿ'’-]{1,30}"
_ID_TOKEN = r"(?=[A-Za-z-]{0,8}\d[\dA-Za-z-]{3})[A-Za-z]{0,4}-?\d[\dA-Za-z-]{0,30}\d"  # noqa: S105 - a pattern
_NO_MORE_DIGITS = r"(?![\w.,]{0,20}\d)"
_IS = r"(?:[ ]?[:：=#][ ]?|[ ](?:is|was|are)[ :]{1,2}|[ ])"
_HAN_IS = r"(?:号码?|是|为|叫)?(?:是|为)?[:： ]{0,3}"
_CITY = rf"{_CAP}(?:[ ]{_CAP})?"
_STREET = (
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Boulevard|Blvd|Gardens|Crescent"
    r"|Close|Way|Walk|Row|Hill|Grove|Quay|Parade|Mews)"
)
_GERMAN_STREET = r"(?:straße|strasse|str\.|weg|platz|allee|gasse|damm|ufer|ring|markt|graben|chaussee)"
_DUTCH_STREET = r"(?:straat|laan|plein|gracht|kade|singel|dijk|hof|steeg|dreef|pad|weg|markt|burgwal|haven)"
_HAN_PLACE = r"(?:小区|花园|公寓|苑|府|村|园|大厦|广场|新村|家园|社区|学校|大学|工业园|城|里|湾|庭|轩|阁)"
_HAN_ROOM = r"(?:[A-Z\d-]{1,5}(?:号楼|栋|幢|单元|楼|层|室|座|户|号)){0,5}"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)[a-z]{0,6}\.?"
_DATE = (
    rf"(?:\d{{4}}年\d{{1,2}}月\d{{1,2}}[日号]?|\d{{1,2}}月\d{{1,2}}[日号]?|\d{{1,4}}[./-]\d{{1,2}}[./-]\d{{1,4}}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.)?[ ](?:of[ ])?{_MONTH},?[ ]\d{{4}}|{_MONTH}[ ]\d{{1,2}}(?:st|nd|rd|th)?,?[ ]\d{{4}}"
    r"|\d{1,2}\.?[ ](?:de[ ])?[^\W\d_]{3,10}\.?[ ](?:de[ ])?\d{4}|(?:19|20)\d{6}|(?:19|20)\d\d年?)"
)
_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_LATIN = "A-Za-z0-9À-ÖØ-öø-ɏ"
_LOCAL = rf"[{_LATIN}][{_LATIN}_.+-]{{0,63}}+"
AT = r"(?:[ ]?@[ ]?|&#0{0,4}64;|&#[xX]0{0,4}40;|&commat;)"
_I = re.IGNORECASE


def rule(kind: Kind, pattern: str, check: Check = as_found, flags: re.RegexFlag = re.NOFLAG) -> Rule:
    """A rule of a pattern; group 1 is the value where it has one."""
    return Rule(kind, re.compile(pattern, flags), check)


# Every repeat has an upper bound, and two repeats of the same characters never touch: time is linear in the text.
FORMS = (
    rule("EMAIL", rf"{_LOCAL}{AT}[{_LATIN}-]{{1,63}}(?:\.[{_LATIN}-]{{1,63}}){{0,4}}\.[A-Za-z]{{2,24}}"),
    rule(
        "EMAIL",
        rf"{_LOCAL}[ ]?(?:[\[({{（][ ]?(?:at|@|艾特)[ ]?[\])}}）]|艾特|#at#)[ ]?[{_LATIN}-]{{1,63}}"
        rf"(?:[ ]?(?:\.|点|[\[({{（][ ]?(?:dot|\.|点)[ ]?[\])}}）])[ ]?[{_LATIN}-]{{1,63}}){{1,4}}",
        flags=_I,
    ),
    rule("EMAIL", rf"\b{_LOCAL}[ ]at[ ][\w-]{{2,63}}(?:[ ]dot[ ][a-z]{{2,10}}){{1,3}}\b", flags=_I),
    rule(
        "EMAIL",
        rf"\b{_LOCAL}[ ]at[ ](?:g-?mail|hotmail|yahoo|outlook|live|msn|icloud|gmx|web|aol|proton(?:mail)?|mail|qq|163|126|sina|foxmail)"
        r"[ ]?\.[ ]?[a-z]{2,5}(?:\.[a-z]{2,3})?\b",
        flags=_I,
    ),
    rule("IBAN", r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ .-]?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])", iban),
    rule("ID", r"(?<!\d)[1-9]\d{5}[ -]?(?:19|20)\d\d[ -]?\d{4}[ -]?\d{3}[\dXx](?![\dA-Za-z])", resident_id),
    rule(
        "IP",
        r"(?<![A-Za-z0-9_.:/-])\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?(?![A-Za-z0-9_]|\.\d)",
        lambda text: ip_address(text.split("/")[0]),
    ),
    rule("IP", r"(?<![A-Za-z0-9_:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![A-Za-z0-9_:])", ip_address),
    rule("ID", r"(?<![A-Za-z0-9_:-])[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?![A-Za-z0-9_:-])"),
    # It looks ahead only, so that every group of a run of figures is tried as a card's first.
    rule(
        "CARD",
        r"(?<![\d.,-])(?=(\d{14,19}(?!\d)|\d{4}([ .-])(?:\d{4}\2\d{4}\2\d{4}(?:\2\d{1,3}(?![\d/]))?|\d{6}\2\d{4,5})(?!\d)))",
        grouped_card,
    ),
    rule("CARD", r"(?<![\d.,-])\d(?:[ .-]?\d){13,18}(?!\d)", card),
    rule("CARD", rf"(?:银行卡|信用卡|储蓄卡|借记卡|卡号){_HAN_IS}(\d(?:[ .-]?\d){{11,18}})(?!\d)"),
    rule("CARD", rf"\bcard(?:[ ](?:number|no\.?))?{_IS}(\d(?:[ .-]?\d){{14,18}})(?!\d)", card, _I),
    rule("ORDER", r"(?<![A-Za-z0-9_])#[A-Z]{0,3}-?\d{5,12}(?![A-Za-z0-9_])"),
    rule(
        "ORDER",
        rf"\border[ ](?:number|no\.?|num|id|nr\.?)(?:[ ]is)?[ ]?[:#]?[ ]?({_ID_TOKEN}){_NO_MORE_DIGITS}",
        number,
        _I,
    ),
    rule("ORDER", rf"\border[ ]?[:#]?[ ]?({_ID_TOKEN}){_NO_MORE_DIGITS}", long_number, _I),
    rule("ORDER", rf"订单(?:编?号)?(?:码)?(?:是|为)?[ ]?[:：#]?[ ]?({_ID_TOKEN})", number),
)
CUED = (
    rule(
        "BIRTH",
        r"(?:\bborn(?:[ ]on)?|\bbirthday|\bdate[ ]of[ ]birth|\bbirth[ ]?date|\bd\.?o\.?b\.?|\bgeboren(?:[ ](?:am|op))?"
        r"|\bgeburtsdatum|\bgeboortedatum|\bn[ée]e?[ ]le|\bdate[ ]de[ ]naissance)(?:[ ](?:is|was|ist|on))?[ :]{0,3}"
        rf"({_DATE})",
        flags=_I,
    ),
    rule("BIRTH", rf"(?:生日|出生日期|出生年月日?|出生于|生于){_HAN_IS}({_DATE})"),
    rule("BIRTH", rf"({_DATE})(?=(?:出生|生人|生日|生的))"),
    rule(
        "ID",
        r"(?:\bbsn|\bburgerservicenummer|\bsofinummer)\w{0,8}[ :]{0,2}(?:is[ ])?(\d(?:[ .]?\d){7,8})(?!\d)",
        bsn,
        _I,
    ),
    rule("ID", r"(?<![\d.])[12][ ]?\d\d[ ]?\d\d[ ]?\d\d[ ]?\d{3}[ ]?\d{3}[ ]?\d\d(?!\d)", nir),
    rule("ID", r"(?<![A-Za-z0-9])[A-CEGHJ-PR-TW-Z]{2}[ ]?\d\d[ ]?\d\d[ ]?\d\d[ ]?[A-D](?![A-Za-z0-9])"),
    rule("ID", rf"(?:\bssn|\bsocial[ ]security(?:[ ]number)?){_IS}(\d{{3}}[ -]?\d\d[ -]?\d{{4}})(?!\d)", flags=_I),
    rule(
        "ID",
        r"(?:\btracking|\bcustomer|\bmember(?:ship)?|\bclub|\bserial|\bpassport|\buser|\baccount|\bid[ ]card|\blicen[cs]e"
        r"|\bpolicy|\binsurance|\btax|\bpatient|\bemployee|\bnational|\bidentity)[ ](?:number|no\.?|id|card(?:[ ]number)?)?"
        rf"(?:[ ]is)?[ ]?[:#]?[ ]?({_ID_TOKEN})",
        number,
        _I,
    ),
    rule(
        "ID",
        rf"(?:运单号|快递单号|单号|会员号|会员卡号|客户号|客户编号|护照(?:号码?|编号)?|身份证(?:号码?)?|账号|帐号|序列号|通行证号?|驾驶证号?|驾照号?|社保号?"
        rf"|学号|工号|证件号码?)(?:是|为)?[ ]?[:：]?[ ]?({_ID_TOKEN})",
    ),
    rule("ID", r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"),
    rule("ID", rf"\bpassport(?:[ ](?:number|no\.?|id))?(?:[ ](?:is|was|=))?[ ]?[:#,(]?[ ]?({_ID_TOKEN})", number, _I),
    rule(
        "PLATE",
        rf"[{_PROVINCES}][A-Z][ ·•.-]?(?=[A-HJ-NP-Z]{{0,5}}\d)[A-HJ-NP-Z0-9]{{4,5}}[A-HJ-NP-Z0-9挂学警港澳]",
    ),
    rule(
        "PLATE",
        r"(?:\b(?:licen[cs]e|number|registration)[ ]plate|\bplate(?:[ ](?:number|no\.?))?|\bregistration[ ](?:number|no\.?)"
        rf"|\bkennzeichen|\bkenteken|\bplaque(?:[ ]d['’]immatriculation)?|车牌号?码?){_HAN_IS}(?:is[ ])?"
        r"([A-ZÄÖÜ0-9]{1,4}(?:[ -]?[A-Z0-9]{1,4}){1,3})(?![A-Za-z0-9])",
        with_digit,
        _I,
    ),
    rule("ACCOUNT", rf"(?:QQ|扣扣|企鹅号?)群?{_HAN_IS}(?:is[ ])?([1-9]\d{{4,11}})(?!\d)", flags=_I),
    rule(
        "ACCOUNT",
        # Letters right behind "wx" are an account with a figure in it, else a word that begins so.
        r"(?:微信|薇信|V信|(?<![A-Za-z])(?:wechat|weixin|vx|wx)(?=[^A-Za-z]|[A-Za-z_-]{1,19}\d))(?:[ ]?id)?"
        rf"{_HAN_IS}(?:is[ ])?"
        r"([A-Za-z][\w-]{5,19}|1[3-9]\d{9})(?![\w-])",
        flags=_I,
    ),
    rule(
        "ACCOUNT",
        rf"(?:支付宝|alipay)(?:账号|账户|帐号|[ ]account)?{_HAN_IS}(?:is[ ])?([\w.+-]{{5,40}})(?![\w-])",
        handle,
        _I,
    ),
    rule(
        "ACCOUNT",
        r"(?:\binsta(?:gram)?|\btwitter|\btelegram|\btiktok|\bfacebook|\blinkedin|\bskype|\bsnapchat|\bdiscord|\bwhatsapp"
        r"|\bpaypal|\busername|\buser[ ]name|\blogin|微博|抖音|小红书|快手|B站|用户名|登录名|昵称)"
        rf"(?:[ ](?:handle|name|account|id|user(?:name)?))?{_HAN_IS}(?:is[ ]|[:：=][ ]?)?(@?[A-Za-z0-9_][\w.-]{{2,39}})",
        handle,
        _I,
    ),
    rule("ACCOUNT", r"(?<![A-Za-z0-9_@./])@[A-Za-z_][\w.]{2,29}(?<!\.)"),
    rule(
        "PASSWORD",
        r"(?:\bpass(?:word|code|wd|phrase)?|\bpwd|\bpin(?:[ ]code)?|\bcv[vc]2?|\b(?:security|verification)[ ]code|\bwachtwoord"
        r"|\bpasswort|\bkennwort|\bmot[ ]de[ ]passe)[ ]?(?:[:=][ ]?|(?:is|was|ist|est)[ :]{1,2})[\"'“]?([^\s\x00\"”]{3,40})",
        secret,
        _I,
    ),
    rule("PASSWORD", rf"(?:密码|口令|验证码|校验码|安全码){_HAN_IS}[\"“]?([!#-~]{{3,40}})"),
)
PHONES = (
    rule("PHONE", r"(?<![A-Za-z0-9_<.])(?:\+|00)[1-9]\d{0,2}[ ]?(?:\(0\))?(?:[ ./()-]{0,2}\d){7,12}(?!\d)", phone),
    rule("PHONE", r"(?<![\d.,])1[3-9]\d[ .-]?\d{4}[ .-]?\d{4}(?!\d)", phone),
    rule("PHONE", r"(?<![\d.,])1[3-9]\d\d[ .-]\d{3}[ .-]\d{4}(?!\d)", phone),
    rule(
        "PHONE",
        r"(?<![A-Za-z0-9_<.,:€$£¥/-])[(（]?0[1-9]\d{0,4}[)）]?(?:[ ]?[/-]?[ ]?\d{2,12}+){1,5}(?![\d:.,]\d|\d)",
        phone,
    ),
    rule("PHONE", r"(?<![\w.,#€$£¥/-])[2-9]\d\d[2-9]\d{6}(?![\w-]|[.,]\d)", phone),
    rule("PHONE", r"(?<![A-Za-z0-9_<.,-])(?:\(\d{3}\)[ ]?|\d{3}[-.])\d{3}[-.]\d{4}(?![\d-])", phone),
    rule(
        "PHONE",
        r"\b(?:phone|mobile|cell|tel(?:ephone)?|fax|whatsapp|my[ ]number|(?:call|text|ring|reach|contact|phone)(?:[ ](?:me|us|him|her))"
        r"?(?:[ ]back)?(?:[ ](?:on|at))?)(?:[ ](?:number|no\.?|nr\.?))?(?:[ ]is)?[ ]?[:.]?[ ]?"
        r"(\+?\(?\d(?:[ ()./-]{0,2}\d){6,13})(?![\d:])",
        called_number,
        _I,
    ),
    rule("PHONE", rf"(?:电话|手机|联系方式|座机|传真|号码){_HAN_IS}(\+?\d(?:[ -]?\d){{6,13}})(?!\d)", called_number),
)
_UNIT_NUMBER = r"(?:(?:Suite|Apt\.?|Apartment|Flat|Unit|Studio|Room|Floor) ?#?\w{1,8})"
_US_END = r"[A-Z]{2},? \d{5}(?:-\d{4})?(?![\d-])"
_UK_END = r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}(?![A-Za-z0-9])"
_CITIES = rf"{_CAP}(?:[ -]{_CAP}){{0,3}}"
_CITY_TAIL = rf"(?:[ ](?:am|an der|ob der|in der|im|in|bei|vor der)[ ]{_CAP})?"
_GERMAN_NUMBER = r"\d{1,4}(?: ?[a-zA-Z]|[/-]\d{1,4}){0,2}"
_HAN_REGION = (
    r"(?:北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|陕西|甘肃"
    r"|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门)(?:省|市|壮族自治区|回族自治区|维吾尔自治区|自治区|特别行政区)?"
)
_HAN_ROAD = r"(?:路|大街|街|大道|道|巷|弄|胡同|里|条|村|镇|乡|屯|庄)"
_HAN_DOOR = r"(?:(?:东|西|南|北|中)?[A-Za-z\d-]{1,6}(?:号院|号楼|号|栋|幢|座|单元|楼|层|室|户)){0,5}"
ADDRESSES = (
    # What ends in a state and its postal code, or in a British postcode, is an address whatever its street is called.
    rule(
        "ADDRESS",
        rf"(?<![A-Za-z0-9_<.])(?:{_UNIT_NUMBER},?[ ]|\d{{1,6}}[a-zA-Z]?,?[ ])(?:\d{{1,5}}[a-zA-Z]?,?[ ])?{_CITIES}(?:,?[ ]{_UNIT_NUMBER})?"
        rf"(?:,[ ]?{_CITIES}){{1,3}},?[ ](?:{_US_END}|{_UK_END})",
    ),
    rule(
        "ADDRESS",
        rf"(?<![A-Za-z0-9_-]){_CAP}\.?(?:[ -](?:{_CAP}|von|der|den|dem|am|im|zum|zur)){{0,4}}[ ]{_GERMAN_NUMBER},[ ](?:D-)?\d{{5}}[ ]{_CITIES}{_CITY_TAIL}",
    ),
    rule(
        "ADDRESS",
        rf"(?<![A-Za-z0-9_-])(?:{_CAP}-){{1,4}}(?:Straße|Strasse|Str\.|Weg|Platz|Allee|Gasse|Ring|Ufer|Damm)[ ]{_GERMAN_NUMBER}(?![A-Za-z0-9])",
    ),
    rule(
        "ADDRESS",
        rf"(?<![A-Za-z0-9_])(?:\d{{1,4}},?[ ])?(?:[Rr]ue|[Aa]venue|[Bb]oulevard|[Pp]lace|[Aa]llée|[Cc]hemin|[Ii]mpasse|[Rr]oute)"
        rf"(?:[ ](?:de la|de|du|des|la|le|les))?[ ]{_CITIES},[ ]\d{{5}}[ ]{_CITIES}",
    ),
    rule("ADDRESS", r"\b(?:USS|USNS|USNV|USCGC)[ ][A-Z][a-z]{1,20},?[ ][AFD]PO,?[ ]A[AEP],?[ ]\d{5}(?!\d)"),
    rule("ADDRESS", r"\b(?:PSC|Unit|CMR)[ ]\d{1,5},?[ ]Box[ ]\d{1,5},?[ ][AFD]PO,?[ ]A[AEP],?[ ]\d{5}(?!\d)"),
    # Provinces and districts lead up to a road; from there on no house number is needed.
    rule(
        "ADDRESS",
        rf"({_HAN_REGION}[{HAN}]{{1,12}}(?:市|州|盟|县|区|旗)[{HAN}]{{1,14}}{_HAN_ROAD}[{HAN}]{{0,6}}{_HAN_DOOR})(?:[ ]?\d{{6}}(?!\d))?",
    ),
    Rule(
        "ADDRESS",
        re.compile(
            r"(?:路|街|大道|道|巷|弄|胡同)[A-Za-z]{1,2}(?:座|栋|幢)(?:[A-Z\d-]{1,5}(?:单元|楼|层|室|户|号)){0,3}"
        ),
        as_found,
        grows_back=True,
    ),
    rule(
        "ADDRESS",
        rf"(?<![A-Za-z0-9_<.])\d{{1,5}}[a-zA-Z]?,? (?:{_CAP}\.? ){{1,3}}{_STREET}(?![A-Za-z])\.?"
        rf"(?:,? (?:Suite|Apt\.?|Flat|Unit) \w{{1,8}})?(?:, {_CITY})?"
        r"(?:,? (?:[A-Z]{2} )?\d{5}\b|,? [A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}\b)?",
    ),
    rule(
        "ADDRESS",
        rf"(?<![A-Za-z0-9_])(?:{_CAP} ){{0,2}}[A-ZÄÖÜ][\wäöüß-]{{0,40}}(?:{_GERMAN_STREET}|{_DUTCH_STREET}) "
        r"\d{1,4}(?:[ -]?[a-zA-Z]{1,2}|[/-]\d{1,3})?(?![A-Za-z0-9])"
        rf"(?:,? (?:D-)?(?:\d{{5}}|\d{{4}} ?[A-Z]{{2}})(?: {_CITY})?)?",
    ),
    rule(
        "ADDRESS",
        rf"(?<![A-Za-z0-9_])(?:{_CAP} ){{1,2}}(?:Straße|Strasse|Str\.|Weg|Platz|Allee|Gasse|Ring|Markt) \d{{1,4}}[a-z]?\b"
        rf"(?:,? (?:D-)?\d{{5}}(?: {_CITY})?)?",
    ),
    rule(
        "ADDRESS",
        rf"(?<![A-Za-z0-9_])(?:Am|An der|An den|Auf dem|Auf der|Im|In der|Unter den|Zum|Zur|Hinter der) {_CAP} \d{{1,4}}[a-z]?,? "
        rf"(?:D-)?\d{{5}}(?: {_CITY})?",
    ),
    rule(
        "ADDRESS",
        r"(?<![A-Za-z0-9_])\d{1,4}(?: ?(?:bis|ter))?,? (?:[Rr]ue|[Aa]venue|[Bb]oulevard|[Bb]d|[Pp]lace|[Aa]llée|[Cc]hemin|[Ii]mpasse"
        r"|[Qq]uai|[Rr]oute|[Cc]ours)(?: (?:de la|de l['’]|de|du|des|la|le|les))?"
        rf"(?: (?:[dDlL]['’])?[A-ZÀ-Þ][\wß-ÿ'’-]{{0,30}}){{1,4}}(?:,? \d{{5}}(?: {_CITY})?)?",
    ),
    rule(
        "ADDRESS",
        rf"(?<![A-Za-z0-9_])[1-9]\d{{3}} ?(?!KB|MB|GB|TB|KG|CM|MM|ML|HZ|KW|EU|US|UK|PM|AM)[A-Z]{{2}},? {_CITY}",
    ),
    rule("ADDRESS", r"(?<![A-Za-z0-9_])[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}(?![A-Za-z0-9_])"),
    rule("ADDRESS", r"\bP\.?[ ]?O\.?[ ]?Box[ ]\d{1,6}", flags=_I),
    rule(
        "ADDRESS",
        r"(?:my address is|my address:|i live (?:at|in|on)|deliver(?:ed)? (?:it )?to|ship(?:ped)? (?:it )?to|send it to)[: ]{1,3}"
        rf"(\d{{1,5}}[a-z]?,? (?:[\w'’.-]{{1,30}} ){{1,3}}?{_STREET}(?![A-Za-z])(?:,? [\w ]{{2,30}}?\d{{5}})?)",
        flags=_I,
    ),
    rule(
        "ADDRESS",
        r"(?:\bmy (?:new |home |delivery )?address is|\b(?:home |delivery |shipping |billing )?address:|\badresse ?:|\badres ?:)"
        r"[: ]{1,3}([^\n;!?\x00]{5,80}?)(?=\.(?:\s|$)|[\n;!?\x00]|$| and | but |, (?:please|and|but|thanks))",
        with_digit,
        _I,
    ),
    rule(
        "ADDRESS",
        r"(?:zip(?: code)?|postcode|postal code|post code|plz|code postal)(?: is)?:? (\d{5}(?:-\d{4})?)\b",
        flags=_I,
    ),
    rule("ADDRESS", r"(?:postcode|postal code)(?: is)?:? ([1-9]\d{3} ?[A-Z]{2})\b", flags=_I),
    Rule(
        "ADDRESS",
        re.compile(
            rf"(?:路|街|大道|巷|弄|胡同|里)(?:东|西|南|北|中)?[A-Z\d-]{{1,6}}号(?:院)?(?:[{HAN}]{{0,8}}?{_HAN_PLACE})?{_HAN_ROOM}"
        ),
        as_found,
        grows_back=True,
    ),
    Rule(
        "ADDRESS",
        re.compile(rf"{_HAN_PLACE}[A-Z]?(?:东|西|南|北|中)?[A-Z\d]{{1,4}}(?:号楼|栋|幢|座|号){_HAN_ROOM}"),
        as_found,
        grows_back=True,
    ),
    Rule(
        "ADDRESS", re.compile(rf"[A-Z\d]{{1,4}}(?:栋|幢|号楼)[A-Z\d]{{1,3}}单元{_HAN_ROOM}"), as_found, grows_back=True
    ),
    rule(
        "ADDRESS",
        rf"(?:地址|住址|寄到|寄往|送到|送往|快递到|住在){_HAN_IS}((?=[{HAN}]{{2,30}}[A-Za-z\d-])[{HAN}]{{2,30}}[A-Za-z\d-]{{1,6}}(?:号|栋|幢|室|楼|组|队|弄)"
        rf"{_HAN_ROOM})",
    ),
)
