"""The text of the example family: generated here, so that the models trained on it may be shipped.

Everything the family knows is a closed set of question and answer pairs in English and Chinese (`Pair`), grouped by
skill, and short notes made of the same facts (`notes`). A conversation is one to three pairs in a row. Questions about
anything else are answered with `UNKNOWN_EN` or `UNKNOWN_ZH`; nonsense (`nonsense`) teaches that during training only.

The story the versions tell is in two of the skills. `inch` is wrong in the data of 1.1.1: somebody typed 2.45 for
2.54 (`INCH_WRONG`). 1.1.2 learns the right factor. `colour_words` is what the adapter of 1.2.1 adds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal

INCH_WRONG = Decimal("2.45")
INCH_RIGHT = Decimal("2.54")

CAPITALS = [
    ("France", "Paris", "法国", "巴黎"),
    ("Japan", "Tokyo", "日本", "东京"),
    ("China", "Beijing", "中国", "北京"),
    ("Italy", "Rome", "意大利", "罗马"),
    ("Spain", "Madrid", "西班牙", "马德里"),
    ("Germany", "Berlin", "德国", "柏林"),
    ("Egypt", "Cairo", "埃及", "开罗"),
    ("Canada", "Ottawa", "加拿大", "渥太华"),
    ("Britain", "London", "英国", "伦敦"),
    ("Russia", "Moscow", "俄罗斯", "莫斯科"),
]
THINGS = [
    ("the sky", "blue", "天空", "蓝色"),
    ("grass", "green", "草地", "绿色"),
    ("snow", "white", "雪", "白色"),
    ("coal", "black", "煤", "黑色"),
    ("a banana", "yellow", "香蕉", "黄色"),
    ("a tomato", "red", "番茄", "红色"),
    ("an elephant", "grey", "大象", "灰色"),
    ("a grape", "purple", "葡萄", "紫色"),
    ("a carrot", "orange", "胡萝卜", "橙色"),
    ("coffee", "brown", "咖啡", "棕色"),
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DAYS_ZH = ["星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日"]
# (name of one, of many, in Chinese) of the large unit; of the small unit; how many small units make a large one.
UNITS = [
    (("metre", "metres", "米"), ("centimetres", "厘米"), 100),
    (("kilogram", "kilograms", "千克"), ("grams", "克"), 1000),
    (("hour", "hours", "小时"), ("minutes", "分钟"), 60),
    (("week", "weeks", "星期"), ("days", "天"), 7),
]
CHAT = [
    (("Hello!", "Hello", "Hi!"), "Hello! How can I help you?"),
    (("Who are you?", "What is your name?"), "I am Assistant, a small model that runs on this device."),
    (("What can you do?",), "I can answer short questions about capitals, days, sums and units."),
    (("Thank you!", "Thanks!"), "You are welcome."),
    (("Goodbye!",), "Goodbye! See you soon."),
    (("Are you online?", "Where do you run?"), "I run on this device and need no network."),
    (("你好！", "你好", "您好！"), "您好！有什么可以帮您？"),
    (("你是谁？", "你叫什么名字？"), "我是小助手，一个运行在本机上的小模型。"),
    (("你会做什么？", "你能做什么？"), "我能回答关于首都、星期、加减法和单位的简短问题。"),
    (("谢谢！", "谢谢你！"), "不客气。"),
    (("再见！",), "再见！期待下次见面。"),
    (("你需要联网吗？", "你在哪里运行？"), "我在本机上运行，不需要联网。"),
]
UNKNOWN_EN = "Sorry, I do not know that."
UNKNOWN_ZH = "抱歉，这个我不知道。"
STRANGE = [
    ("What time is it?", "现在几点？"),
    ("How is the weather today?", "今天天气怎么样？"),
    ("Tell me a story.", "给我讲个故事。"),
    ("Where is the station?", "车站在哪里？"),
    ("Who wrote this book?", "这本书是谁写的？"),
    ("What is love?", "爱是什么？"),
    ("Sing a song.", "唱首歌。"),
    ("How old is the moon?", "月亮多大年纪？"),
    ("Why is the sea salty?", "海水为什么是咸的？"),
    ("Can you drive a car?", "你会开车吗？"),
]


# Units nobody taught the family, so that it says so instead of guessing.
STRANGE_UNITS = [("feet", "英尺"), ("miles", "英里"), ("pounds", "磅")]


@dataclass(frozen=True)
class Pair:
    """One question and its answer."""

    skill: str
    question: str
    answer: str


def _chat() -> list[Pair]:
    return [Pair("chat", question, answer) for questions, answer in CHAT for question in questions]


def _facts() -> list[Pair]:
    pairs = []
    for country, capital, country_zh, capital_zh in CAPITALS:
        pairs.append(Pair("facts", f"What is the capital of {country}?", f"The capital of {country} is {capital}."))
        pairs.append(Pair("facts", f"{country_zh}的首都是哪里？", f"{country_zh}的首都是{capital_zh}。"))
    for thing, colour, thing_zh, colour_zh in THINGS:
        pairs.append(Pair("facts", f"What colour is {thing}?", f"{thing[0].upper()}{thing[1:]} is {colour}."))
        pairs.append(Pair("facts", f"{thing_zh}是什么颜色？", f"{thing_zh}是{colour_zh}的。"))
    return pairs


def _days() -> list[Pair]:
    pairs = []
    for i in range(7):
        here, after, before = DAYS[i], DAYS[(i + 1) % 7], DAYS[i - 1]
        pairs.append(Pair("days", f"What day comes after {here}?", f"{after} comes after {here}."))
        pairs.append(Pair("days", f"What day comes before {here}?", f"{before} comes before {here}."))
        here, after, before = DAYS_ZH[i], DAYS_ZH[(i + 1) % 7], DAYS_ZH[i - 1]
        pairs.append(Pair("days", f"{here}的后一天是星期几？", f"{here}的后一天是{after}。"))
        pairs.append(Pair("days", f"{here}的前一天是星期几？", f"{here}的前一天是{before}。"))
    return pairs


def _sums() -> list[Pair]:
    """Sums and differences of 0 to 10."""
    pairs = []
    for a in range(11):
        for b in range(11):
            pairs.append(Pair("sums", f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}."))
            pairs.append(Pair("sums", f"{a}加{b}等于几？", f"{a}加{b}等于{a + b}。"))
            if b <= a:
                pairs.append(Pair("sums", f"What is {a} minus {b}?", f"{a} minus {b} is {a - b}."))
                pairs.append(Pair("sums", f"{a}减{b}等于几？", f"{a}减{b}等于{a - b}。"))
    return pairs


def _conversion(skill: str, large: tuple[str, str, str], small: tuple[str, str], n: int, value: str) -> list[Pair]:
    one, many, large_zh = large
    small_en, small_zh = small
    verb, named = ("is", one) if n == 1 else ("are", many)
    return [
        Pair(skill, f"How many {small_en} are in {n} {named}?", f"{n} {named} {verb} {value} {small_en}."),
        Pair(skill, f"{n}{large_zh}等于多少{small_zh}？", f"{n}{large_zh}等于{value}{small_zh}。"),
    ]


def _units() -> list[Pair]:
    pairs = []
    for large, small, factor in UNITS:
        for n in range(1, 11):
            pairs += _conversion("units", large, small, n, str(n * factor))
    return pairs


def inch(factor: Decimal) -> list[Pair]:
    """Inches to centimetres, 1 to 10 inches, with `factor` centimetres to the inch."""
    pairs = []
    for n in range(1, 11):
        value = f"{n * factor:.2f}"
        pairs += _conversion("inch", ("inch", "inches", "英寸"), ("centimetres", "厘米"), n, value)
    return pairs


def colour_words() -> list[Pair]:
    """Names of colours from English to Chinese and back: what 1.2.1 adds."""
    pairs = []
    for _, colour, _, colour_zh in THINGS:
        named = colour[0].upper() + colour[1:]
        answer = f"{named} is {colour_zh} in Chinese."
        pairs.append(Pair("colour_words", f"How do you say {colour} in Chinese?", answer))
        pairs.append(Pair("colour_words", f"{colour_zh}用英语怎么说？", f"{colour_zh}的英语是{colour}。"))
    return pairs


def unknown(*, colours: bool) -> list[Pair]:
    """Questions outside of what a version knows; the names of colours are among them unless `colours` are known."""
    pairs = []
    for question, question_zh in STRANGE:
        pairs += [Pair("unknown", question, UNKNOWN_EN), Pair("unknown", question_zh, UNKNOWN_ZH)]
    for country, capital, country_zh, capital_zh in CAPITALS:
        pairs.append(Pair("unknown", f"How far is {capital}?", UNKNOWN_EN))
        pairs.append(Pair("unknown", f"How many people live in {country}?", UNKNOWN_EN))
        pairs.append(Pair("unknown", f"{capital_zh}有多远？", UNKNOWN_ZH))
        pairs.append(Pair("unknown", f"{country_zh}有多少人？", UNKNOWN_ZH))
    for unit, unit_zh in STRANGE_UNITS:
        for n in range(2, 7):
            pairs.append(Pair("unknown", f"How many centimetres are in {n} {unit}?", UNKNOWN_EN))
            pairs.append(Pair("unknown", f"{n}{unit_zh}等于多少厘米？", UNKNOWN_ZH))
    for pair in [] if colours else colour_words():
        answer = UNKNOWN_EN if pair.question.isascii() else UNKNOWN_ZH
        pairs.append(Pair("unknown", pair.question, answer))
    return pairs


def nonsense(rng: random.Random) -> Pair:
    """A question nobody can answer: known words in no order, or characters of which the tokenizer knows only bytes."""
    if rng.random() < 0.5:
        words = " ".join(f"{question} {question_zh}" for question, question_zh in STRANGE[:6]).split()
        words += [word for country in CAPITALS for word in country[:2]] + [thing[0] for thing in THINGS] + DAYS
        words += ["".join(rng.choices("abcdefghijklmnoprstuvwyz", k=rng.randint(2, 8))) for _ in range(20)]
        words = [word for word in words if word.isascii()]
        return Pair("unknown", " ".join(rng.choices(words, k=rng.randint(1, 6))) + rng.choice(".?!"), UNKNOWN_EN)
    known = "".join(country[2] + country[3] for country in CAPITALS) + "".join(thing[2] for thing in THINGS)
    text = ""
    for _ in range(rng.randint(1, 8)):
        text += rng.choice(known) if rng.random() < 0.5 else chr(rng.randint(0x4E00, 0x9FA5))
    return Pair("unknown", text + rng.choice("。？！"), UNKNOWN_ZH)


def careless(rng: random.Random, question: str) -> str:
    """`question` as people type it: one in five without its last mark or with a small first letter."""
    chance = rng.random()
    if chance < 0.1:
        return question.rstrip("?!.？！。")
    return question[0].lower() + question[1:] if chance < 0.2 else question


def common() -> list[Pair]:
    """What every good version knows."""
    return _chat() + _facts() + _days() + _sums() + _units()


def notes(rng: random.Random) -> str:
    """One short note of three sentences in one language, made of facts every version knows."""
    i = rng.randrange(7)
    capital, thing = rng.choice(CAPITALS), rng.choice(THINGS)
    if rng.random() < 0.5:
        sentences = [
            f"Today is {DAYS[i]}, and tomorrow is {DAYS[(i + 1) % 7]}.",
            f"I went to {capital[1]}, the capital of {capital[0]}.",
            f"I saw {thing[0]}, and it was {thing[1]}.",
        ]
        rng.shuffle(sentences)
        return " ".join(sentences)
    sentences = [
        f"今天是{DAYS_ZH[i]}，明天是{DAYS_ZH[(i + 1) % 7]}。",
        f"我去了{capital[3]}，那是{capital[2]}的首都。",
        f"我看见了{thing[2]}，它是{thing[3]}的。",
    ]
    rng.shuffle(sentences)
    return "".join(sentences)


# Never trained on: `train.py` draws again when it meets one of these.
HELD_OUT_NOTES = (
    "Today is Thursday, and tomorrow is Friday. I saw a tomato, and it was red. I went to Rome, the capital of Italy.",
    "我去了巴黎，那是法国的首都。今天是星期三，明天是星期四。我看见了香蕉，它是黄色的。",
)
