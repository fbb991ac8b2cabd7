"""What does a prescription look like on paper?

A 处方笺 of A5 as 处方管理办法 orders it: heading, Rp., signatures. Everything on it comes from
the signed text, save the pharmacist's name, which the hospital told when it was signed; the
QR code leads to the page that verifies it. The same prescription in the same language is
the same file, until it is void: then every page says so.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from xml.sax.saxutils import escape

import segno
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.platypus import (
    Flowable,
    HRFlowable,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
)

from libs.common.http.words import Language, Text
from libs.common.years import years
from services.prescriptions.domain.documents import Signature, SignedForm
from services.prescriptions.domain.form import FormBefore, FormQuantity, PrescriptionForm
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.transitions import Status

#: One of the fonts that readers bring for Chinese; see ADR 0016.
FONT: Final = "STSong-Light"
MARGIN: Final = 12 * mm
#: What the frame of a page leaves between its own paddings.
WIDTH: Final = A5[0] - 2 * MARGIN - 12
QR_SIDE: Final = 30 * mm

pdfmetrics.registerFont(UnicodeCIDFont(FONT))

_BODY = ParagraphStyle("body", fontName=FONT, fontSize=9, leading=13, wordWrap="CJK")
_SMALL = ParagraphStyle("small", parent=_BODY, fontSize=6.5, leading=9)
_TITLE = ParagraphStyle("title", parent=_BODY, fontSize=15, leading=20, alignment=1)
_DRUG = ParagraphStyle("drug", parent=_BODY, fontSize=11, leading=16)

LABELS: Final[dict[str, Text]] = {
    "title": {"zh-CN": "处 方 笺", "en": "Prescription"},
    "hospital": {"zh-CN": "医疗机构", "en": "Hospital"},
    "number": {"zh-CN": "处方编号", "en": "Number"},
    "name": {"zh-CN": "姓名", "en": "Name"},
    "gender": {"zh-CN": "性别", "en": "Sex"},
    "male": {"zh-CN": "男", "en": "male"},
    "female": {"zh-CN": "女", "en": "female"},
    "other": {"zh-CN": "其他", "en": "other"},
    "unknown": {"zh-CN": "未知", "en": "unknown"},
    "age": {"zh-CN": "年龄", "en": "Age"},
    "years": {"zh-CN": "{age} 岁（{born} 出生）", "en": "{age} (born {born})"},
    "patient": {"zh-CN": "病历号", "en": "Patient"},
    "department": {"zh-CN": "科别", "en": "Department"},
    "issued": {"zh-CN": "开具日期", "en": "Issued"},
    "diagnoses": {"zh-CN": "临床诊断", "en": "Diagnoses"},
    "none": {"zh-CN": "未注明", "en": "not stated"},
    "no_quantity": {"zh-CN": "（数量未注明）", "en": "(quantity not stated)"},
    "dosage": {"zh-CN": "用法用量", "en": "Dosage"},
    "new_dosage": {"zh-CN": "用法用量（已更改）", "en": "Dosage (changed)"},
    "before": {"zh-CN": "原处方为", "en": "It said before"},
    "refills": {"zh-CN": "此后到下次就诊前可续方", "en": "Renewals after it until the next visit"},
    "supply": {"zh-CN": "供 {days} 天", "en": "for {days} days"},
    "blank": {"zh-CN": "（以下空白）", "en": "(nothing below)"},
    "doctor": {"zh-CN": "医师（电子签名）", "en": "Doctor (electronic signature)"},
    "pharmacist": {"zh-CN": "审核药师（电子签名）", "en": "Pharmacist (electronic signature)"},
    "valid_on": {"zh-CN": "有效期至", "en": "Valid until"},
    "that_day": {"zh-CN": "{day} 当日", "en": "the end of {day}"},
    "renews": {"zh-CN": "续方自", "en": "Renews"},
    "replaces": {"zh-CN": "代替原处方", "en": "Replaces"},
    "rules": {"zh-CN": "规则版本", "en": "Rules"},
    "code": {"zh-CN": "验证码", "en": "Verification code"},
    "scan": {
        "zh-CN": "调配前请扫码验证：是否真实、是否已停用或过期。",
        "en": "Scan before dispensing: is it genuine, stopped, or past its date?",
    },
    "void": {"zh-CN": "作　废", "en": "VOID"},
    "withheld": {
        "zh-CN": "作废：因病历中的新情况已停用，不得调配。",
        "en": "VOID: withheld because of something new in the record. Do not dispense.",
    },
    "lapsed": {
        "zh-CN": "作废：已过有效期且未调配，不得调配。",
        "en": "VOID: not dispensed while it was valid. Do not dispense.",
    },
}


#: After these nothing may be dispensed on it any more.
VOID: Final = frozenset({Status.WITHHELD, Status.LAPSED})


@dataclass(frozen=True, slots=True)
class Page:
    """What is printed, for whom: ``link`` leads to the page that verifies. ``status`` is the
    renewal's now."""

    form: SignedForm
    policy: RenewalPolicy
    link: str
    language: Language
    status: Status = Status.EFFECTIVE


def printed(page: Page) -> bytes:
    """The PDF. It takes some ten milliseconds of computing: not for the event loop."""
    form = PrescriptionForm.model_validate_json(page.form.text)
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A5,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=_say(page, "title"),
        author=form.hospital,
        lang=page.language,
        invariant=1,  # no time of printing, no random id
    )

    def number(canvas: Any, at: Any) -> None:
        if page.status in VOID:
            _crossed(canvas, _say(page, "void"))
        canvas.setFont(FONT, 6.5)
        canvas.drawString(MARGIN, 6 * mm, form.prescription_id)
        canvas.drawRightString(A5[0] - MARGIN, 6 * mm, str(at.page))

    document.build(list(_content(page, form)), onFirstPage=number, onLaterPages=number)
    return out.getvalue()


def _crossed(canvas: Any, text: str) -> None:
    """Across the whole page, under what stands on it, which must stay legible."""
    canvas.saveState()
    canvas.translate(A5[0] / 2, A5[1] / 2)
    canvas.rotate(50)
    canvas.setFont(FONT, 90)
    canvas.setFillGray(0.8)
    canvas.drawCentredString(0, -30, text)
    canvas.restoreState()


def _content(page: Page, form: PrescriptionForm) -> Iterable[Flowable]:
    issued = datetime.fromisoformat(form.issued_at)
    day = page.policy.day(issued)
    patient, drug = form.patient, form.medication
    age = years(patient.birth_date, day)
    department = form.department.name or form.department.code
    diagnoses = "、".join(form.diagnoses) or _say(page, "none")
    yield Paragraph(_printable(_say(page, "title")), _TITLE)
    if page.status in VOID:
        yield Paragraph(_printable(_say(page, page.status)), _DRUG)
    yield Spacer(0, 2 * mm)
    yield _grid(
        [
            _field(page, "hospital", form.hospital),
            _field(page, "department", department),
            _field(page, "name", patient.name),
            _field(page, "gender", _say(page, patient.gender)),
            _field(page, "age", _say(page, "years", age=age, born=patient.birth_date)),
            _field(page, "patient", patient.id),
            _field(page, "issued", str(day)),
            _field(page, "valid_on", _say(page, "that_day", day=form.valid_on)),
        ]
    )
    yield _field(page, "diagnoses", diagnoses)
    yield _rule()
    what = " ".join(x for x in (drug.name, drug.form, drug.strength) if x)
    much = _much(form.quantity) or _say(page, "no_quantity")
    yield Paragraph("Rp.", _DRUG)
    yield Paragraph(_printable(f"{what}　{much}　({drug.code})"), _DRUG)
    yield _field(page, "new_dosage" if form.replaces else "dosage", form.dosage)
    yield Paragraph(_printable(_say(page, "supply", days=form.days_supply)), _BODY)
    if form.refills_allowed is not None:
        yield _field(page, "refills", str(form.refills_allowed))
    if form.before is not None:
        yield _field(page, "before", _before(page, form.before))
    yield Paragraph(_printable(_say(page, "blank")), _SMALL)
    yield Spacer(0, 4 * mm)
    yield KeepTogether([_rule(), _foot(page, form)])


def _before(page: Page, before: FormBefore) -> str:
    days = before.days_supply
    told = (
        before.strength,
        _much(before.quantity),
        before.dosage,
        _say(page, "supply", days=days) if days is not None else None,
    )
    return "；".join(t for t in told if t)


def _much(quantity: FormQuantity | None) -> str | None:
    return None if quantity is None else f"× {quantity.value} {quantity.unit}"


def _foot(page: Page, form: PrescriptionForm) -> Table:
    lines = [_signature(page, form, s) for s in page.form.signatures]
    lines += [
        _field(page, "number", form.prescription_id, _SMALL),
        _field(page, "replaces" if form.replaces else "renews", form.based_on, _SMALL),
        _field(page, "rules", form.policy, _SMALL),
        _field(page, "code", page.form.digest, _SMALL),
        Paragraph(_printable(_say(page, "scan")), _BODY),
    ]
    return Table(
        [[lines, _Qr(page.link)]],
        colWidths=[WIDTH - QR_SIDE - 4 * mm, QR_SIDE + 4 * mm],
        style=[("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (0, 0), 0)],
    )


def _signature(page: Page, form: PrescriptionForm, signature: Signature) -> Paragraph:
    at = signature.at.astimezone(page.policy.zone).strftime("%Y-%m-%d %H:%M")
    name = form.doctor_name if signature.role == "doctor" else signature.name
    who = f"{name}（{signature.person_id}）" if name else signature.person_id
    return _field(page, signature.role, f"{who}　{at}")


def _grid(fields: Sequence[Paragraph]) -> Table:
    half = WIDTH / 2
    return Table(
        [list(fields[n : n + 2]) for n in range(0, len(fields), 2)],
        colWidths=[half, half],
        style=[("LEFTPADDING", (0, 0), (-1, -1), 0), ("VALIGN", (0, 0), (-1, -1), "TOP"),
               ("TOPPADDING", (0, 0), (-1, -1), 1), ("BOTTOMPADDING", (0, 0), (-1, -1), 1)],
    )  # fmt: skip


def _field(page: Page, label: str, value: str, style: ParagraphStyle = _BODY) -> Paragraph:
    return Paragraph(_printable(f"{_say(page, label)}：{value}"), style)


def _say(page: Page, label: str, **values: Any) -> str:
    return LABELS[label][page.language].format(**values)


def _rule() -> Flowable:
    return HRFlowable(width="100%", thickness=0.6, color="black", spaceBefore=4, spaceAfter=4)


def _printable(text: str) -> str:
    """As markup. What the font may lack is named by its code point: never silently missing."""
    shown = "".join(c if c in "\n\t" or _in_font(c) else f"〔U+{ord(c):04X}〕" for c in text)
    return escape(shown).replace("\n", "<br/>")


def _in_font(character: str) -> bool:
    try:
        character.encode("gbk")  # the repertoire of Adobe-GB1-2, which readers have
    except UnicodeEncodeError:
        return False
    return character.isprintable() or character == "　"


class _Qr(Flowable):
    """A QR code, drawn rather than embedded as an image."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._matrix = segno.make_qr(text, error="m").matrix
        self.width = self.height = QR_SIDE

    def draw(self) -> None:
        side = len(self._matrix) + 8  # the quiet zone of ISO/IEC 18004
        dot = QR_SIDE / side
        for y, row in enumerate(self._matrix):
            for x, dark in enumerate(row):
                if dark:
                    self.canv.rect(
                        (x + 4) * dot, QR_SIDE - (y + 5) * dot, dot, dot, stroke=0, fill=1
                    )
