"""Sentences with planted personal values for `benchmarks/redaction.py`, two sets that share no frame, carrier or seed.

Values come from Faker's locales; what stands around them are real customers' sentences of the public data (carriers) and
frames that say the value as a customer would. Set `a` is what the recognizers were tuned on after its first figure; set
`b` is looked at once, afterwards. Knows nothing of how values are found.
"""

from __future__ import annotations

import csv
import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from faker import Faker

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


class Planted(NamedTuple):
    """A text with one value in it."""

    lang: str
    kind: str
    value: str
    text: str


FRAMES: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "a": {
        "en": {
            "EMAIL": ("{}", "write to {} please", "the invoice should go to {}", "I registered with {} last year", "Use {}, not the old one."),
            "PHONE": ("My number: {}", "you reach me under {} in the evening", "call {} when the parcel is there", "Tel {}", "my cell is {}"),
            "CARD": ("{}", "I paid with {}", "the card ending is no help, here it is in full: {}", "Visa {} was charged twice", "take it from {}"),
            "IBAN": ("{}", "please refund to {}", "account {} is mine", "transfer the money to IBAN {}, thanks"),
            "ID": ("passport {}", "my passport number is {}", "Passport no. {} was used for the booking"),
            "SSN": ("my ssn is {}", "social security number {}", "{} is my social, is that all you need?"),
            "IP": ("I log in from {}", "your page says my address is {}", "blocked: {}"),
            "PLATE": ("my license plate is {}", "licence plate {}", "the car with the number plate {} was towed"),
            "ADDRESS": ("Please send it to {}", "I moved, my new address is {}", "Deliver to {} instead", "we live at {}", "Address: {}"),
            "NAME": ("My name is {}.", "this is {} speaking", "I'm {} and I have a question", "the order is under the name {}", "Regards, {}", "name: {}", "My wife {} placed the order", "please ask for Mr. {}"),
            "FREE NAME": ("{} called you yesterday.", "{} is waiting for an answer.", "The parcel for {} never came.", "Yesterday {} spoke with your shop.", "{} rief gestern an.", "Das Paket ist für {}."),
        },
        "zh": {
            "EMAIL": ("我的邮箱是{}", "发票请发到{}", "{}这个邮箱收不到验证码", "用{}注册的"),
            "PHONE": ("我的手机号{}", "打{}找我就行", "联系电话：{}", "{}，随时可以打", "号码{}换成新的"),
            "CARD": ("卡号{}", "我的信用卡是{}", "钱从{}扣的", "{}这张卡被扣了两次"),
            "IBAN": ("请退到{}", "账户{}是我的", "IBAN是{}，谢谢"),
            "ID": ("护照号{}", "我的护照号码是{}", "护照{}订的票"),
            "SSN": ("身份证{}", "身份证号码是{}，麻烦核实", "{}，这是我的身份证", "实名用的是{}"),
            "IP": ("我从{}登录的", "显示我的地址是{}"),
            "PLATE": ("车牌{}", "我的车是{}", "{}停在你们停车场"),
            "ADDRESS": ("请寄到{}", "我的地址是{}", "新地址：{}", "送到{}就行", "我住在{}，能送吗"),
            "NAME": ("我叫{}", "收件人是{}", "我是{}，想问个问题", "联系人：{}", "姓名{}", "我老公{}下的单", "请找{}先生"),
            "FREE NAME": ("{}昨天给你们打过电话。", "{}下午再来取。", "{}的包裹还没到。", "帮{}查一下订单。", "昨天{}已经付款了。"),
        },
    },
    "b": {
        "en": {
            "EMAIL": ("mail me at {} then", "Confirmation never arrived at {}.", "Contact: {}", "is {} still on file?", "{} bounced twice"),
            "PHONE": ("Mobile: {}", "Try {} after six", "text me on {}", "ring {} please", "my phone number changed to {}"),
            "CARD": ("card number {}", "Charge {} instead", "It was Mastercard {}.", "debit card: {}", "{} got declined"),
            "IBAN": ("IBAN: {}", "send my refund to {} today", "my bank details are {}"),
            "ID": ("passport: {}", "the passport number {} has a typo", "I travel on passport {}"),
            "SSN": ("SSN: {}", "my social security number is {}", "verify me with {}"),
            "IP": ("IP {}", "the login came from {}", "{} keeps timing out"),
            "PLATE": ("plate number {}", "number plate: {}", "my car's registration number is {}"),
            "ADDRESS": ("Ship it to {}", "It went to my old place, {}.", "my home address is {}", "The right delivery address: {}", "come to {} tomorrow"),
            "NAME": ("Hi, {} here.", "I am {}", "you can call me {}", "Account holder: {}", "Thanks,\n{}", "my husband {} will pick it up", "Mrs. {} ordered it", "it is addressed to {}"),
            "FREE NAME": ("{} wants the money back.", "Can {} pick it up for me?", "I ordered it for {} last week.", "{} signed for the parcel.", "{} hat nichts bekommen.", "Gestern war {} im Laden."),
        },
        "zh": {
            "EMAIL": ("邮箱：{}", "回复到{}吧", "{}没收到邮件", "电子邮件地址改成{}"),
            "PHONE": ("手机：{}", "有事拨{}", "我换号了，新的是{}", "{}是我电话", "请回电{}"),
            "CARD": ("银行卡号：{}", "用{}付的款", "退回{}这张卡", "尾号不记得了，完整的是{}"),
            "IBAN": ("IBAN：{}", "汇到{}", "我的收款账号{}"),
            "ID": ("护照：{}", "护照号码{}写错了", "用护照{}登记的"),
            "SSN": ("身份证：{}", "证件号码{}", "我的身份证号{}", "{}，帮我查实名"),
            "IP": ("IP是{}", "登录地{}不是我"),
            "PLATE": ("车牌号：{}", "{}这辆车", "车是{}，麻烦登记"),
            "ADDRESS": ("地址：{}", "麻烦改送{}", "收货地址是{}", "寄往{}", "家在{}"),
            "NAME": ("姓名：{}", "我的名字是{}", "收货人{}", "叫{}", "我妈妈{}买的", "{}女士订的", "持卡人：{}"),
            "FREE NAME": ("{}想退货。", "我替{}问一下。", "{}上周买的冰箱坏了。", "快递是{}签收的。", "刚才{}来过了。"),
        },
    },
    "c": {
        "en": {
            "EMAIL": ("You have {} as my mail, right?", "forward the receipt to {}.", "e-mail {}", "Login: {}"),
            "PHONE": ("Phone {}", "give {} a ring", "my sister's number is {}", "the courier dialled {} and hung up", "telephone: {}"),
            "CARD": ("Why was {} blocked?", "the new card is {}", "cc {} exp next year", "refund onto {}"),
            "IBAN": ("pay it into {}", "the account number is {}", "IBAN {} belongs to me"),
            "ID": ("Passport {} expires soon", "passport no {}", "I gave you my passport number, {}"),
            "SSN": ("social: {}", "I typed {} as my social security number", "SSN {} please"),
            "IP": ("Someone signed in from {}", "my router shows {}", "ping {} fails"),
            "PLATE": ("the plate is {}", "parked with plate {}", "license plate: {}"),
            "ADDRESS": ("Pick it up at {}", "We moved to {} in May", "Wrong street! It is {}.", "Billing address: {}", "parcel stuck at {}"),
            "NAME": ("Name: {}", "I am called {}", "My full name is {}", "Dr. {} needs an invoice", "Kind regards\n{}", "my colleague {} did it", "spoke to {}", "Recipient: {}"),
            "FREE NAME": ("{} rang me back.", "Is {} allowed to return it?", "The order of {} is incomplete.", "It belongs to {}.", "Please tell {} that I came.", "{} wartet noch."),
        },
        "zh": {
            "EMAIL": ("注册邮箱{}", "抄送{}", "给{}发一份", "邮件地址是{}"),
            "PHONE": ("我的电话是{}", "拨打{}没人接", "留个号{}", "快递员打的是{}", "电话{}"),
            "CARD": ("储蓄卡{}", "我刷的是{}", "{}扣款失败", "换成{}付"),
            "IBAN": ("银行账户{}", "打款到{}", "{}是对公账户"),
            "ID": ("我的护照是{}", "护照号：{}", "护照号码：{}过期了"),
            "SSN": ("身份证号码：{}", "证件号{}", "{}是我老婆的身份证", "登记的是{}"),
            "IP": ("有人用{}登录", "路由器显示{}"),
            "PLATE": ("车牌号码{}", "{}在门口", "开的是{}"),
            "ADDRESS": ("邮寄地址{}", "发到{}来", "我家是{}", "请到{}取件", "搬到{}了"),
            "NAME": ("本人{}", "寄件人{}", "我朋友{}要退货", "户名：{}", "我姐姐叫{}", "{}小姐", "名字是{}", "签收人：{}"),
            "FREE NAME": ("{}今天没收到货。", "问一下{}买的电视。", "我和{}一起来的。", "是{}让我来的。", "{}说可以退。"),
        },
    },
    "d": {
        "en": {
            "EMAIL": ("Mine is {}", "{} keeps getting your newsletter", "should I use {} instead", "cc {} on that"),
            "PHONE": ("mobile {}", "the driver can phone {}", "{} is out of service", "my new number: {}"),
            "CARD": ("you debited {} by mistake", "Card no. {}", "paid using {}", "please delete {} from my account"),
            "IBAN": ("refund goes to {}", "{} is the IBAN", "our account is {}"),
            "ID": ("my passport's number: passport number {}", "passport {} please", "the agent wanted my passport ({}), why"),
            "SSN": ("the last form asked for my ssn: {}", "social security no is {}", "here you go: {}"),
            "IP": ("from IP address {}", "{} is blacklisted", "traceroute to {} stops"),
            "PLATE": ("vehicle with license plate {}", "registration number {}", "number plate is {}"),
            "ADDRESS": ("Leave it with the neighbours of {}", "Not there, {} is right.", "shipping to {} costs what?", "I have lived at {} for years", "change it to {}"),
            "NAME": ("Full name: {}", "My name's {}", "Best,\n{}", "my son {} lost it", "Ms {} told me so", "signed by {}", "Hello, I am {}.", "booked under the name {}"),
            "FREE NAME": ("{} never replied.", "Did {} pay already?", "I gave it to {}.", "According to {} it is free.", "{} and I share the account.", "Mit {} ist alles geklärt."),
        },
        "zh": {
            "EMAIL": ("登录邮箱是{}", "请往{}发", "{}被退信", "邮箱{}不对"),
            "PHONE": ("新手机号{}", "他的电话{}", "按{}联系", "来电显示{}"),
            "CARD": ("信用卡号码{}", "绑定的卡{}", "{}无法支付", "原路退回{}"),
            "IBAN": ("汇款账号{}", "转到{}即可", "IBAN号{}"),
            "ID": ("护照{}", "我护照号是{}", "护照编号{}"),
            "SSN": ("我身份证是{}", "填的身份证号{}", "号码{}没通过实名"),
            "IP": ("服务器{}连不上", "IP地址：{}"),
            "PLATE": ("车牌是{}", "我开{}来的", "{}被拖走了"),
            "ADDRESS": ("住址{}", "快递放{}", "公司在{}", "从{}寄出的", "改成{}吧"),
            "NAME": ("您好，我叫{}", "收货人姓名：{}", "我是{}", "{}先生签的字", "我儿子{}弄丢了", "订货人：{}", "用户名叫{}", "我爸爸叫{}"),
            "FREE NAME": ("{}不在家。", "我把票给了{}。", "{}还在等退款。", "请转告{}。", "上次是{}接待的。"),
        },
    },
}  # fmt: skip


def plant(which: str, each: int, seed: int) -> Iterator[Planted]:
    """`each` values of every kind and language of set `which`."""
    rng = random.Random(seed)
    fakers = {name: Faker(name) for name in ("de_DE", "en_US", "en_GB", "fr_FR", "zh_CN")}
    for number, fake in enumerate(fakers.values()):
        fake.seed_instance(seed + number)
    for lang, kinds in FRAMES[which].items():
        around = carriers(which, lang)
        rng.shuffle(around)
        for kind, frames in kinds.items():
            for _ in range(each):
                value = VALUES[kind](lang, fakers, rng)
                said = rng.choice(frames).format(value)
                carrier = rng.choice(around)
                gap = "" if lang == "zh" else " "
                parts = (
                    [carrier, said]
                    if rng.random() < 0.5
                    else [said if said[-1] in ".。?,，\n" else f"{said}{'。' if lang == 'zh' else '.'}", carrier]
                )
                yield Planted(lang, kind, value, gap.join(parts))


def carriers(which: str, lang: str) -> list[str]:
    """Real customers' sentences, those of `a` and `b` from different data sets."""
    if lang == "en":
        if which == "c":
            with (DATA / "en_multidogo" / "turn_level" / "media" / "train.tsv").open(encoding="utf-8") as file:
                turns = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                return [
                    f"{row['utterance']}."
                    for row in turns
                    if row["utterance"] and set(str(row["slot-labels"]).split()) == {"O"}
                ]
        if which == "a":
            with (DATA / "en_banking77" / "train.csv").open(encoding="utf-8") as file:
                return [row["text"] for row in csv.DictReader(file)]
        if which == "d":
            found = (DATA / "en_goemotions" / "dev.tsv").read_text(encoding="utf-8").splitlines()
            return [line.split("\t")[0] for line in found if "[NAME]" not in line]
        rows = json.loads((DATA / "en_clinc150" / "train_val.json").read_text(encoding="utf-8"))
        return [f"{text}." for text, _ in rows["train"]]
    if which == "a":
        with zipfile.ZipFile(DATA / "zh_crosswoz" / "val.json.zip") as archive:
            talks = json.loads(archive.read("val.json"))
        said = [turn["content"] for talk in talks.values() for turn in talk["messages"] if turn["role"] == "usr"]
    else:
        topic = {"b": "travel", "c": "music"}.get(which, "film")
        talks = json.loads((DATA / "zh_kdconv" / topic / "dev.json").read_text(encoding="utf-8"))
        said = [turn["message"] for talk in talks for turn in talk["messages"]]
    return [text if text[-1] in "。？！?" else f"{text}。" for text in said if not re.search(r"\d{5}|[:：]", text)]


Fakers = dict[str, Faker]


def _locale(lang: str, fakers: Fakers, rng: random.Random) -> Faker:
    return fakers["zh_CN"] if lang == "zh" else fakers[rng.choice(("de_DE", "en_US", "en_GB", "fr_FR"))]


def _latin_name(lang: str, fakers: Fakers, rng: random.Random) -> str:
    fake = _locale(lang, fakers, rng)
    return f"{fake.first_name()} {fake.last_name()}" if lang != "zh" else str(fake.name())


def _address(lang: str, fakers: Fakers, rng: random.Random) -> str:
    said = str(_locale(lang, fakers, rng).address())
    return re.sub(r" \d{6}$", "", said) if lang == "zh" else said.replace("\n", ", ")


def _phone(lang: str, fakers: Fakers, rng: random.Random) -> str:
    said = str(_locale(lang, fakers, rng).phone_number())
    return said.split("x")[0]


def _card(lang: str, fakers: Fakers, rng: random.Random) -> str:
    del lang
    digits = str(fakers["en_US"].credit_card_number(rng.choice(("visa16", "mastercard", "amex", "discover"))))
    joint = rng.choice(("", "", " ", "-"))
    if len(digits) == 15:
        return joint.join((digits[:4], digits[4:10], digits[10:]))
    return joint.join(digits[at : at + 4] for at in range(0, 16, 4))


def _iban(lang: str, fakers: Fakers, rng: random.Random) -> str:
    del lang
    plain = str(fakers[rng.choice(("de_DE", "en_GB", "fr_FR"))].iban())
    return plain if rng.random() < 0.5 else " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))


def _ssn(lang: str, fakers: Fakers, rng: random.Random) -> str:
    del rng
    return str(fakers["zh_CN" if lang == "zh" else "en_US"].ssn())


def _ip(lang: str, fakers: Fakers, rng: random.Random) -> str:
    del lang
    return str(fakers["en_US"].ipv4() if rng.random() < 0.6 else fakers["en_US"].ipv6())


def _passport(lang: str, fakers: Fakers, rng: random.Random) -> str:
    if lang == "zh":
        return rng.choice("EGD") + "".join(rng.choice("0123456789") for _ in range(8))
    return str(fakers[rng.choice(("de_DE", "en_US", "fr_FR"))].passport_number())


VALUES: dict[str, Callable[[str, Fakers, random.Random], str]] = {
    "EMAIL": lambda lang, fakers, rng: str(_locale(lang, fakers, rng).email()),
    "PHONE": _phone,
    "CARD": _card,
    "IBAN": _iban,
    "ID": _passport,
    "SSN": _ssn,
    "IP": _ip,
    "PLATE": lambda lang, fakers, rng: str(_locale(lang, fakers, rng).license_plate()),
    "ADDRESS": _address,
    "NAME": _latin_name,
    "FREE NAME": _latin_name,
}
STRUCTURED = ("EMAIL", "PHONE", "CARD", "IBAN", "ID", "SSN", "IP", "PLATE")
