"""Finds the names of people after the words that announce them, in English, Chinese and the languages next door.

A name that nothing announces is not found: without a model, "Paris" and "Anna" look the same. Promises: every pattern
is bounded, so that time is linear in the text. Knows nothing of other personal data.
"""

from __future__ import annotations

import re

HAN = "\u3400-\u4dbf\u4e00-\u9fff"
"""Chinese characters, as part of a regular expression's class."""

_EVERYDAY = """
january february march april may june july august september october november december monday tuesday wednesday thursday
friday saturday sunday will and but i i'm i'd i've we my the a an not so from with here calling speaking writing at in
on for who what when where why how is are was it its this that about order email e-mail phone number to of or please hi
hello thanks thank german british english chinese french american dutch still just very really looking trying interested
sorry sure afraid happy angry confused unhappy upset ok okay yes no your our you can could do does did have has had
bought need want would also already back only there then than too now today tomorrow yesterday always never again
nothing something everything anything everyone someone anyone nobody everybody people customer service support team
sales manager delivery returns refund store shop staff agent right left over down up out good great glad fine new being
getting having going waiting unable able ready done if because since after before by as he she they me us him her them
wrong mine yours what misspelled spelled spelt correct incorrect written different missing italian spanish polish irish scottish welsh indian
canadian australian belgian swiss austrian european gold silver platinum vip premium member student teacher missing
dear sir madam best kind regards sincerely greetings address card account password mobile tel fax
"""
NOT_NAMES = frozenset(_EVERYDAY.split())
"""Words that are no part of a name, in lower case."""
_PARTICLE_WORDS = "van von de der den del della di da dos du la le ten ter zu al el bin ibn 't y e"
_PARTICLES = frozenset(_PARTICLE_WORDS.split())
_WORD = r"[^\W\d_][\w'’-]{0,30}"
NAME = rf"{_WORD}(?:\.?[ ]{_WORD}){{0,4}}"
"""Up to five words, of which `latin_name` takes those that can be a name."""

_DOUBLE_SURNAMES = frozenset(
    re.findall("..", "欧阳司马上官诸葛东方皇甫尉迟公孙令狐慕容司徒夏侯长孙宇文端木轩辕钟离南宫独孤")
)
_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石"
    "姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季俞章鲁葛伍韦申尤毕聂丛焦向柳"
    "邢路岳齐梅莫庄辛管祝左涂谷祁耿牟卜詹关费纪靳盛童欧甄项曲成游裴席褚卫蒲邬翁荀羊惠褟臧娄危郁单杭包诸宁仇祖符景束幸司韶郜薄印宿怀邰鄂索咸籍卓蔺屠蒙池阴胥苍闻党谭贡姬冉宰郦雍"
    "璩桑桂濮寿扈燕冀浦尚农晏瞿慕茹习宦艾鱼容古慎戈廖庾终暨衡步耿匡寇沃蔚越隆师巩厍晁勾敖融訾阚那简饶曾沙养鞠须丰巢蒯相查后荆红"
    "柴栾栗苟佟晋闵冼麻苗郎丘仝亓褚仉楚商佘墨戚奚缪揭骆虞柯裘阮蓝岑滕窦喻柏鲍廉卞湛狄臧茅屈庾钮嵇芮储汲井巫隗宓郗宫甘厉戎赖扈温阎冷"
)
SURNAME = f"[{_SURNAMES}]"
_NOT_GIVEN = frozenset("，。！？、；：,.!? 我你您他她它们的是想要在有不没了吗呢吧啊昨今前上下已也都就还")
"""What never begins a given name; `_NEXT_WORD` is what its second character hardly ever is."""
_NEXT_WORD = _NOT_GIVEN | frozenset("和跟买订请这那先女小太电手把被给从单退换收地住来去到说寄拿签取打能会可")
_HAN_WORDS = """
金卡 金卡会 高中生 高级会 方便 安装 安全 安排 高兴 高级 白色 黄色 黄金 红色 平台 万能
时间 关于 向你 向您 于是 后来 相关 成功 成人 常用 简单 任何 任意 查询 查看 单位 单号
包装 包裹 包邮 全部 古董 师傅 步骤 终于 尚未 相信 养老 方式 金额 文件 程序 项目 路上
路由 沙发 马上 那么 那个 那边 管理 管家 农业 温度 宁可 江苏 江西 河南 海南 常州 温州
贵州 苏州 郑州 关机 关闭 相机 石材 龙头 牛奶 鱼缸 燕麦 越南 党员 游客 游戏 华为 康复
严重 盛夏 后天 那里 夏天 管子 孙子 胡桃 胡桃木 梅雨 安静 严寒 商家 成本 那天 那好 党参 万一
"""
_NOT_CHINESE_NAMES = frozenset(_HAN_WORDS.split())

_NOUNS = (
    r"(?:husband|wife|partner|son|daughter|mother|father|mum|mom|dad|brother|sister|colleague|coworker|friend|neighbou?r|"
    r"boss|girlfriend|boyfriend|fianc[eé]e?|flatmate|roommate|assistant|uncle|aunt|cousin|grandmother|grandfather|grandma|"
    r"grandpa|nephew|niece|landlord|landlady|secretary|client|doctor|lawyer|child|kid|baby)"
)
_TITLE = (
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Sir|Herr|Frau|Mevrouw|Mevr|Meneer|Dhr|Monsieur|Madame|Mme|Mlle|Señora?|"
    r"Sra?|Signora?|Pan|Pani)"
)
FREE_CUES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:[Mm]y (?:full |first |last )?name(?: is|'s|’s)|\b[Ii] am called|\b[Nn]ame ?:|\b[Nn]ame is)[ ]{{1,3}}({NAME})",
        rf"(?:[Ii]ch hei(?:ß|ss)e|[Mm]ein Name ist|\b[Ii]k heet|[Mm]ijn naam is|[Jj]e m['’]appelle|[Mm]on nom est"
        rf"|[Mm]e llamo|[Mm]i chiamo)[ ]{{1,3}}({NAME})",
        rf"(?:\b[Cc]ardholder|\b[Aa]ccount holder|\b[Rr]ecipient|\b[Aa]ddressee|\b[Cc]ontact(?: person)?|\b[Aa]ttn|"
        rf"\b[Cc]onsignee)(?:[ ]name)?(?:[ ]is|[ ]?:|\.)[ ]{{1,3}}({NAME})",
    )
)
"""Cues after which a name may also be written in lower case."""
CAPITAL_CUES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:\bI['’]m|\bI am|\bi['’]m|\bi am)[ ]{{1,3}}({NAME})",
        rf"\b[Mm]y (?:\w{{2,12}} )?{_NOUNS},?[ ]{{1,3}}({NAME})",
        rf"\b{_TITLE}\.?[ ]{{1,3}}({NAME})",
        rf"\b(?:[Ss]poke(?:n)? (?:to|with)|[Aa]ddressed to|[Ss]igned (?:for )?by|[Aa]sk for|[Cc]all me|[Cc]/o|"
        rf"[Tt]he name of|[Uu]nder the name|[Nn]amed|[Cc]alled)[ ]{{1,3}}({NAME})",
        rf"\b(?:[Rr]egards|[Ss]incerely|[Cc]heers|[Yy]ours|[Gg]roeten|[Gg]roet|Gr(?:ü|ue)(?:ß|ss)en?|[Cc]ordialement),?"
        rf"\s{{1,4}}({NAME})",
        rf"\b(?:[Tt]hanks|[Tt]hank you|[Bb]est|[Gg]reetings|[Ll]ove|MfG|[Mm]vg)[,.!]{{0,2}}[ ]?\n{{1,3}}[ ]?({NAME})",
    )
)
"""Cues after which only capitalised words are a name."""
THIS_IS = re.compile(rf"\b[Tt]his is[ ]{{1,3}}({NAME})")
"""A name where two capitalised words follow, or one with a word of `SPEAKING` after it."""
SPEAKING = re.compile(r"[ ](?:speaking|calling|here|from|again)\b|,")
HERE = re.compile(
    rf"(?:^|[.!?\n]|\b[Hh]i|\b[Hh]ello|\b[Hh]ey)[,.!]?[ ]?({_WORD}(?:[ ]{_WORD}){{0,2}}) here\b", re.MULTILINE
)
"""'Anna Kowalski here.'"""
HAN_CUES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:我叫|(?:我的?)?名字叫?是?|姓名|(?:收件|收货|联系|寄件|发件|持卡|开户|经办|负责|订货|下单|代收|签收|取件)人(?:姓名|名字)?"
        rf"|户名|本人(?:姓名)?叫?|用户名叫)(?:是|为|叫)?[:： ]{{0,2}}([{HAN}]{{2,4}})",
        rf"我?(?:老公|老婆|先生|太太|妻子|丈夫|儿子|女儿|朋友|同事|妈妈|爸爸|母亲|父亲|哥哥|弟弟|姐姐|妹妹|邻居|室友|同学|领导|老板"
        rf"|男友|女友|男朋友|女朋友|舅舅|姑姑|叔叔|阿姨|奶奶|爷爷)(?:叫|名叫|是)([{HAN}]{{2,4}})",
    )
)
HAN_CLOSED_CUES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:我是|(?<!我)叫|名叫)([{HAN}]{{2,4}})(?=[，。！？、；,.!?; \n的]|$)",
        rf"(?<![{HAN}])({SURNAME}[{HAN}]{{1,2}})(?=[ ,，:：]{{0,2}}(?:1[3-9]\d[ -]?\d{{4}}|\+86))",
        rf"我?(?:老公|老婆|妻子|丈夫|儿子|女儿|朋友|同事|同学|室友)([{HAN}]{{2,4}}?)(?=[，。！？、；,.!?; \n在说来要会去]|$)",
    )
)
"""Cues after which only a name that ends with its clause counts."""
HAN_SURNAME_CUE = re.compile(rf"(?:我姓|免贵姓)({SURNAME})")
HAN_TITLE = re.compile(rf"({SURNAME}[{HAN}]{{0,2}}?)(?=先生|女士|小姐|太太)")


_ASKS = re.compile(
    r"\byour(?: \w{2,10}){0,2} names?\b|\bnames?,? please\b|\bname on the\b|\bwh?om? am i (?:speaking|talking|chatting)\b"
    r"|\b(?:ihren?|deinen?) (?:\w{2,10} )?namen?\b|贵姓|姓名|名字|(?:怎么|如何)称呼",
    re.IGNORECASE,
)
_LEADS = re.compile(
    r"(?:(?:yes|sure|ok(?:ay)?|of course|it['’]s|it is|this is|(?:my )?name(?: is|['’]s)|i['’]m|i am|好的?|是的?|您好|你好|我叫|我是|叫)"
    r"[:,，.。! ]{0,3}){0,3}",
    re.IGNORECASE,
)


def answered_name(asked: str, reply: str) -> str:
    """The name that a reply begins with where the message before it asked for one; "" for none.

    The question is the cue: "May I have your name?" – "Crystal Minh".
    """
    if not _ASKS.search(asked[-500:]):
        return ""
    line = reply.lstrip()[:120].partition("\n")[0]
    leads = _LEADS.match(line)
    name = line[leads.end() if leads else 0 :].strip(" .,!?。，！？")
    if re.fullmatch(f"[{HAN}]{{2,4}}", name):
        return name if han_name(name) == name else ""
    # In lower case only with its surname: "maybe" is no answer.
    return name if name and latin_name(name, lower=" " in name) == name else ""


def latin_name(text: str, *, lower: bool = False, not_names: frozenset[str] = frozenset()) -> str:
    """The leading words of `text` that can be a name, up to four; "" for none.

    `lower` accepts words in lower case, up to two. `not_names` are further words that are no names.
    """
    end = last = count = 0
    for match in re.finditer(_WORD, text[:200]):
        word = re.sub(r"['’-]+$|['’]s$", "", match[0])
        plain = word.casefold()
        if count and text[last : match.start()] not in (" ", ". "):
            break
        if re.match(f"[{HAN}]", word) or plain in NOT_NAMES or plain in not_names:
            break
        shouted = word.isupper() and len(word) > 3 and not lower
        if word[0].isupper() and not shouted and (len(word) > 1 or count):
            end, count = match.start() + len(word), count + 1
        elif plain in _PARTICLES:
            pass  # part of a name when a capitalised word follows: "van der Berg"
        elif lower and count < 2 and len(word) > 1:
            end, count = match.start() + len(word), count + 1
        else:
            break
        last = match.end()
        if count == 4:
            break
    return text[:end]


def han_name(text: str, not_names: frozenset[str] = frozenset()) -> str:
    """Surname and given name; the second given character is dropped where it begins the next word; "" for none."""
    surname = 2 if text[:2] in _DOUBLE_SURNAMES else 1
    if surname == 1 and text[0] not in _SURNAMES:
        return ""
    given = text[surname : surname + 2]
    if not given or given[0] in _NOT_GIVEN:
        return ""
    if {text[:2], text[:3]} & (_NOT_CHINESE_NAMES | not_names):
        return ""
    return text[: surname + 1] if given[1:2] in _NEXT_WORD else text[: surname + 2]
