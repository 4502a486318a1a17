"""Finds full names that no cue announces ("Anna Kowalski rief an", 王小明下午再来), by what names are made of.

A Latin name is a known given name with a capitalised word after it, or two capitalised words where only a person can
stand: before "called" or "wants", after "the parcel for". A Chinese name is a surname with characters that given names
are made of, between words that names stand between. A single given name is not found: without a model, "Paris" and
"Anna" look the same. The given names (`given_names.txt`) are those of the United States' census of 1990, which is in
the public domain, without those that are everyday words, and common ones of Europe, India and Chinese in Latin script.
Promises: every pattern is bounded, so that time is linear in the text. Knows nothing of other personal data.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from runtime.text.names import HAN, NOT_NAMES, SURNAME

_CAP = r"[A-ZÀ-ÖØ-ÞŁŚŻĆ][a-zß-ÿłśżćńęąı]{1,20}(?:['’-][A-ZÀ-ÖØ-Þ]?[a-zß-ÿ]{1,20})?"
_LINK = (
    r"(?:von der|von|van der|van den|van de|van|de la|de|del|della|di|da|dos|du|le|la|ter|ten|zu|al|el|bin|ibn|O['’])"
)
LATIN_PAIR = re.compile(rf"(?<![\w'’@.#/-])(?=({_CAP}(?: [A-Z]\.| {_LINK}| {_CAP}){{0,2}} {_CAP}))")
"""Capitalised words in a row, at every one of them; `known_name` says how many of them are a name."""
_VERBS = (
    r"(?:called|rang|phoned|wrote|wants|wanted|asked|asks|said|says|signed|picked|paid|ordered|bought|spoke|told|complained"
    r"|insists|claims|needs|received|is waiting|is angry|is calling|is upset|was told|was promised|got|has paid|never got"
    r"|will pick|will come|would like|rief|wartet|hat|möchte|wollte|will|sagte|sagt|schrieb|bekam|wartet|bestellte|kommt|war|ist"
    r"|a appelé|a commandé|attend|voudrait)"
)
_LATIN_BEFORE = (
    r"(?:(?:parcel|package|order|invoice|ticket|booking|letter|refund|reservation|card|account)[ ](?:for|of|from|to)"
    r"|(?:Paket|Bestellung|Rechnung|Termin|Lieferung|Brief)[ ](?:ist[ ])?(?:für|von|an)"
    r"|(?:colis|commande|facture)[ ](?:est[ ])?(?:pour|de)|[Oo]n behalf of|(?:[Tt]ell|[Aa]sk|[Bb]elongs? to|[Oo]rder of|[Pp]arcel of|[Ii]nform|[Rr]emind|[Nn]ot|[Ss]agen Sie)|(?:ordered|bought|booked|asked|paid|signed|reserved|got)[ ](?:(?:it|this|that|them|one)[ ])?for"
    r"|\b(?:Can|Could|May|Will|Did|Does|Has|Is|Was|war|hat|ist|kann|will|möchte|avec|mit|with))"
)
PERSONAL_VERB = re.compile(rf"(?<![\w'’@.#/-])(?=({_CAP} {_CAP})[ ]{_VERBS}\b)")
BELONGING = re.compile(rf"\b{_LATIN_BEFORE}[ ]({_CAP}(?: {_LINK}| [A-ZL][a-z])? {_CAP})")
_NO_SURNAME = frozenset(
    """
street road avenue lane drive court place square beach city county airport bank hotel hall house park school university
college church hospital station centre center island islands bay lake river mountain valley state united kingdom store
shop market mall card account app credit debit express plus pro max mini air phone watch book pay prime music cloud
day night week month year street team service support sales customer company inc ltd llc gmbh corp corporation group
international national airlines airways insurance mutual union club league stadium theatre theater museum cup award
english german french chinese spanish italian american british policy number code error model series edition version
visa mastercard paypal amazon google apple bitcoin the und oder nicht bitte heute gestern morgen wie was wann wo
straße platz weg allee rechnung bestellung paket lieferung konto
""".split()  # noqa: SIM905
)
"""What goes on in capitals after a given name and makes it something else: "Charlotte Airport", "Sydney Harbour"."""

_GIVEN = (
    "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂红玉华建国志文辉力梅琴云莲真环雪荣爱妹香月莺媛瑞凡佳嘉琼"
    "勤珍贞莉燕萍慧巧美珠翠雅芝淑惠彤滢馨瑗琰韵融园艺咏卿聪澜纯毓悦昭爽琬茗羽希宁欣飘育馥筠柔竹霭凝晓欢霄枫"
    "芸菲伊亚宜姬舒影荔枝思浩亮政谦亨奇固之轮翰朗伯宏言若鸣朋斌梁栋维启克伦翔旭鹏泽晨辰士家致树炎德"
    "泰盛雄琛钧冠策腾楠榕风航弘峰山仁波贵福生龙元全胜学祥才武新利清飞彬富顺信子昌成康星光天达安岩中茂进林"
    "坚和彪博诚先敬震振壮会群豪心邦承乐绍功松善厚庆民友裕河哲江小大晶婷丹倩颖露瑶怡婵雁蓓纨仪荷洁琳素凤芬彩春"
    "菊俊帆帅畅兵鑫宇坤琪璐瑜玲蕾薇蓉凯雨萱涵梓轩然诗梦雯琦睿皓峻熙烨煜昊淼森东冬阳阿长永正立金银世海根水土"
    "木培继兴旺盈少书兆义仲叔季雷秋霖霓滨洪溪沐沁汐淇渊源沛泉岳岭岚峥嵘岗柏桐桦樱杏桃楚荆蓝蕊芷苏莎萌葵蔓薪蕙"
    "麟麒骏骥骐驰鹤鸿鸥鹰鹃凰虎豹熊钢铭锐锦铮镇钊锋焱烁炜灿煌烈炯圭垚城堂增佑佩俏俐健偲傲允劲劭勃勋勉北卓南卫"
    "原双右叶吉君吟呈周唯喜囡圆圣声夫央奋奎奕奥好妙妤妮姗姣娅娇娉娥娴婉婕媚嫣孝孟宗定宛实宣宪容宾"
    "寅密寿尔尚展岱川州巍帜广庭开弦征彰悠惟愉慈戈抒拓捷攀敦斐昂昆昕映晋晏晔普晴智暄曦朔朵"
)
_RELATIVE = (
    "(?:老公|老婆|先生|太太|妻子|丈夫|儿子|女儿|朋友|同事|妈妈|爸爸|母亲|父亲|哥哥|弟弟|姐姐|妹妹|邻居|室友|同学|领导|老板|助理|男友|女友"
    "|男朋友|女朋友|舅舅|姑姑|叔叔|阿姨|奶奶|爷爷|外公|外婆)"
)
_HAN_LEFT = rf"(?:(?<![{HAN}\d])|(?<=[帮替给找跟和让由为是天才刚午请把被叫到问与代周日下的]))"
_HAN_RIGHT = (
    r"(?=昨[天晚日]|今[天晚早日]|明[天早晚日]|前天|后天|上[午周次月]|下[午周次月]|上个?月|中午|晚上|早上|刚[才刚]|已经?|打[电过来了不]"
    r"|来[取拿了过说店问电不]|再来|又来|[说想要查问取签付买订退没去收寄拿换让叫请帮给跟和也都就才又再不正能可]|一[起直]|投诉|反映|是不是"
    r"|在[你店等家这那]|会[来去]|还没|本人|等[了着不]|接[待了到听]|[不还]在|预约|下单|登记|注册|申请|同意"
    r"|的(?:包裹|快递|订单|发票|退款|手机|电话|账[户号]|卡|件|地址|票|名字|会员|预约|房间|东西|货|单|定金|押金|身份证|护照|邮箱))"
)
_PLACE = "[馆路街店镇园寺山桥村轩楼站湖河江省市县区州城]|艺术|广场|公园|大厦|饭店|酒店|烤鸭|集团|公司|大学|医院|世界|水镇|故居|纪念"
_DOUBTFUL = "那欧商安包成方高万时温石关路常金白易车明文和平相单水国向"
"""Surnames that begin everyday words of two characters: 商家, 安卓, 成本."""
HAN_FREE = (
    re.compile(f"{_HAN_LEFT}((?![{_DOUBTFUL}]){SURNAME}[{_GIVEN}]{{1,2}}){_HAN_RIGHT}"),
    re.compile(f"{_HAN_LEFT}((?![{_DOUBTFUL}欧古]){SURNAME}[{_GIVEN}]{{2}})(?!{_PLACE})"),
    re.compile(f"{_RELATIVE}((?![{_DOUBTFUL}]){SURNAME}[{_GIVEN}]{{1,2}})"),
    re.compile(
        f"(?:转告|告诉|通知|转交|交给|联系|叫做|咨询)((?![{_DOUBTFUL}]){SURNAME}[{_GIVEN}]{{1,2}})(?=[，。！？、；,.!?; \n]|$)"
    ),
)
"""A name of three characters needs no word after it; one of two is too often an everyday word."""


@functools.cache
def _given_names() -> frozenset[str]:
    return frozenset((Path(__file__).parent / "given_names.txt").read_text(encoding="utf-8").split())


def known_name(text: str, not_names: frozenset[str] = frozenset()) -> str:
    """A given name that is known, and what follows it up to its surname; "" for none."""
    words = text.split(" ")
    first = re.split(r"['’-]", words[0].casefold())[0]
    if first not in _given_names() or first in not_names:
        return ""
    return (
        text
        if _can_be_surname(words[-1], not_names)
        else known_name(text.rsplit(" ", 1)[0], not_names)
        if len(words) > 2
        else ""
    )


def any_name(text: str, not_names: frozenset[str] = frozenset()) -> str:
    """The whole text, where none of its words is an everyday one; "" otherwise."""
    words = text.split(" ")
    return text if all(_can_be_surname(word, not_names) for word in words if word[0].isupper()) else ""


def _can_be_surname(word: str, not_names: frozenset[str]) -> bool:
    plain = word.casefold()
    return word[:1].isupper() and plain not in NOT_NAMES and plain not in _NO_SURNAME and plain not in not_names
