"""Who lives through a day? Invented people; none of them is or was anybody.

The staff are those whom ``policies/programmes`` name, the same every day. Patients are new
each day: a day's seed decides all of them, so that a day can be played again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date

from libs.common.events import Gender, StaffRole

#: Frequent family names, and signs that given names of the generations are made of.
FAMILY = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
OLD = {
    Gender.MALE: "建国 志明 德福 庆华 国强 永昌 文忠 世荣 长海 金山 保民 振东",
    Gender.FEMALE: "桂芳 秀英 玉兰 淑珍 凤霞 素琴 月娥 美华 翠萍 惠芬 春梅 瑞云",
}
ADULT = {
    Gender.MALE: "晓峰 俊杰 海涛 立新 宏伟 志鹏 嘉铭 子健 明远 一帆 承志 思源",
    Gender.FEMALE: "晓燕 雅静 丽娜 文婷 佳慧 思敏 若兰 海燕 静怡 雪梅 诗雨 慧敏",
}
CHILD = {
    Gender.MALE: "浩然 宇轩 子墨 梓豪 沐阳 天佑 乐天 知远",
    Gender.FEMALE: "雨桐 欣怡 梓涵 可馨 语嫣 诗涵 安琪 念慈",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a token."""

    id: str
    roles: tuple[str, ...]
    departments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Practitioner:
    """One of the staff; also their own person."""

    id: str
    name: str
    role: StaffRole
    departments: tuple[str, ...]

    @property
    def caller(self) -> Caller:
        return Caller(self.id, (self.role.value,), self.departments)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody on the patients' side, with the ways to reach them."""

    id: str
    name: str
    language: str = "zh-CN"
    phone: str | None = None
    email: str | None = None
    webhook: str | None = None

    @property
    def caller(self) -> Caller:
        return Caller(self.id, ("guardian",))


@dataclass(frozen=True, slots=True)
class Patient(Person):
    """``guardians`` are (relationship, person)."""

    birth_date: date = date(1970, 1, 1)
    gender: Gender = Gender.UNKNOWN
    guardians: tuple[tuple[str, Person], ...] = ()

    @property
    def caller(self) -> Caller:
        return Caller(self.id, ("patient",))


DEPARTMENTS = {
    "NEURO": ("神经内科", "Neurology"),
    "CARDIO": ("心内科", "Cardiology"),
    "GI-SURG": ("胃肠外科", "Gastrointestinal surgery"),
    "THYROID": ("甲状腺外科", "Thyroid surgery"),
    "PED-NEPH": ("小儿肾内科", "Paediatric nephrology"),
    "PED-NEURO": ("小儿神经科", "Paediatric neurology"),
    "OPHTH": ("眼科", "Ophthalmology"),
}

#: Whom the programmes of ``policies/programmes`` name, and a pharmacist.
STAFF = {
    p.id: p
    for p in (
        Practitioner("d-3001", "沈志远", StaffRole.DOCTOR, ("NEURO",)),
        Practitioner("d-3002", "顾明谦", StaffRole.DOCTOR, ("NEURO",)),
        Practitioner("d-3007", "周若安", StaffRole.DOCTOR, ("PED-NEPH",)),
        Practitioner("d-3008", "叶知秋", StaffRole.DOCTOR, ("PED-NEURO",)),
        Practitioner("d-3011", "陆怀仁", StaffRole.DOCTOR, ("THYROID",)),
        Practitioner("d-3014", "范济舟", StaffRole.DOCTOR, ("GI-SURG",)),
        Practitioner("d-3020", "程远航", StaffRole.DOCTOR, ("CARDIO",)),
        Practitioner("d-3025", "白映雪", StaffRole.DOCTOR, ("OPHTH",)),
        Practitioner("n-4001", "方静", StaffRole.NURSE, ("NEURO",)),
        Practitioner("n-4010", "苏晴", StaffRole.NURSE, ("PED-NEPH",)),
        Practitioner("n-4011", "江心月", StaffRole.NURSE, ("PED-NEURO",)),
        Practitioner("n-4014", "温婉", StaffRole.NURSE, ("THYROID",)),
        Practitioner("n-4017", "夏青", StaffRole.NURSE, ("GI-SURG",)),
        Practitioner("n-4020", "乔安然", StaffRole.NURSE, ("CARDIO",)),
        Practitioner("ph-5001", "林清越", StaffRole.PHARMACIST, ()),
    )
}
#: Doctor of a department, as attending and prescriber.
DOCTORS = {p.departments[0]: p for p in reversed(STAFF.values()) if p.role is StaffRole.DOCTOR}
PHARMACIST = STAFF["ph-5001"]
OPS = Caller("ops-1", ("ops",))


class Casting:
    """Invents the people of one day; ``day`` decides all of them and is part of every id."""

    def __init__(self, day: str, today: date, webhook: str | None = None) -> None:
        self.day = day
        self._random = random.Random(day)  # invents names, guards nothing
        self._today = today
        self._webhook = webhook
        self._count = 0
        self._taken: set[str] = set()

    def adult(self, *, age: int = 0, language: str = "zh-CN") -> Patient:
        return self._patient(age or self._random.randint(24, 84), (), language)

    def child(self, *relationships: str, age: int = 0) -> Patient:
        """With a guardian for each of ``relationships``."""
        age = age or self._random.randint(1, 15)
        guardians = tuple((r, self._guardian(r)) for r in relationships)
        return self._patient(age, guardians, "zh-CN")

    def person(self, name: str = "", language: str = "zh-CN", webhook: bool = False) -> Person:
        """Somebody with a phone, and with e-mail or an app of the hospital's own."""
        self._count += 1
        id = f"p-{self.day}-{self._count:02}"
        # No mobile number begins with 10, and example.com is nobody's (RFC 2606).
        phone = f"100{self._random.randrange(10**8):08}"
        hook = f"{self._webhook}/{id}" if webhook and self._webhook else None
        mail = None if hook else f"{id}@example.com"
        return Person(id, name or self._name(ADULT), language, phone, mail, hook)

    def _guardian(self, relationship: str) -> Person:
        names = OLD if relationship == "grandparent" else ADULT
        gender = Gender.MALE if relationship == "father" else Gender.FEMALE
        return self.person(self._name(names, gender))

    def _patient(
        self, age: int, guardians: tuple[tuple[str, Person], ...], language: str
    ) -> Patient:
        gender = self._random.choice((Gender.MALE, Gender.FEMALE))
        born = date(self._today.year - age, 1, 1 + self._random.randrange(28))
        if language == "en":
            name = f"Jordan {self._random.choice(('Avery', 'Marlow', 'Penrose', 'Quill'))}"
        else:
            name = self._name(CHILD if age < 18 else OLD if age > 55 else ADULT, gender)
        reached = self.person(name, language, webhook=self._random.random() < 0.3)
        child = age < 18
        return Patient(
            reached.id,
            name,
            language,
            None if child else reached.phone,
            None if child else reached.email,
            None if child else reached.webhook,
            born,
            gender,
            guardians,
        )

    def _name(self, given: dict[Gender, str], gender: Gender | None = None) -> str:
        gender = gender or self._random.choice((Gender.MALE, Gender.FEMALE))
        for _ in range(100):
            name = self._random.choice(FAMILY) + self._random.choice(given[gender].split())
            if name not in self._taken:
                break
        self._taken.add(name)
        return name
