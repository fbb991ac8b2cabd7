"""How is an event told in a sentence, in Chinese and in English?

One table, event type -> sentence. In braces stand facts of the event (see
:func:`libs.common.devstack.page.timeline.facts`); words of closed lists (a reason, a
channel, a kind of report) are translated by ``WORDS`` and shown as they are if unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Language = str  # "zh" or "en"
LANGUAGES: tuple[Language, ...] = ("zh", "en")


class Sentence(NamedTuple):
    """``minor`` ones are shown only when everything is asked for."""

    zh: str
    en: str
    minor: bool = False


SENTENCES: Mapping[str, Sentence] = {
    # hospital systems
    "hospital.encounter.discharged.v1": Sentence(
        "从{department}出院", "Discharged from {department}"
    ),
    "hospital.encounter.discharge_cancelled.v1": Sentence("出院被撤销", "Discharge cancelled"),
    "hospital.encounter.admitted.v1": Sentence("入院", "Admitted", True),
    "hospital.encounter.admission_cancelled.v1": Sentence(
        "入院被撤销", "Admission cancelled", True
    ),
    "hospital.procedure.scheduled.v1": Sentence("已安排手术或操作", "Procedure planned", True),
    "hospital.procedure.performed.v1": Sentence("已完成手术或操作", "Procedure performed", True),
    "hospital.procedure.cancelled.v1": Sentence("手术或操作取消", "Procedure cancelled", True),
    "hospital.exam.scheduled.v1": Sentence(
        "预约{kind}检查：{title}", "{kind} examination planned: {title}"
    ),
    "hospital.exam.rescheduled.v1": Sentence(
        "{kind}检查改期：{title}", "{kind} examination moved: {title}"
    ),
    "hospital.exam.cancelled.v1": Sentence("检查取消", "Examination cancelled"),
    "hospital.fulfilment.updated.v1": Sentence("药房：{status}", "Pharmacy: {status}", True),
    "hospital.condition.recorded.v1": Sentence("记录诊断", "Condition recorded", True),
    "hospital.allergy.recorded.v1": Sentence("记录过敏史", "Allergy recorded", True),
    "hospital.patient.registered.v1": Sentence("患者建档", "Patient registered", True),
    "hospital.patient.updated.v1": Sentence("患者资料更新", "Patient record updated", True),
    "hospital.patient.merged.v1": Sentence("两份病历合并", "Two patient records merged"),
    "hospital.patient.deceased.v1": Sentence("患者去世", "Patient deceased"),
    "hospital.guardian.linked.v1": Sentence(
        "{person} 登记为{relationship}", "{person} linked as {relationship}", True
    ),
    "hospital.guardian.unlinked.v1": Sentence(
        "{person} 不再是监护人", "{person} is no longer a guardian", True
    ),
    "hospital.report.ready.v1": Sentence(
        "{kind}报告（{status}）：{title}", "{kind} report ({status}): {title}"
    ),
    "hospital.report.corrected.v1": Sentence(
        "{kind}报告已更正：{title}", "{kind} report corrected: {title}"
    ),
    "hospital.report.withdrawn.v1": Sentence("报告已撤回", "Report withdrawn"),
    "hospital.prescription.issued.v1": Sentence(
        "开具处方：{medication}", "Prescribed: {medication}"
    ),
    "hospital.prescription.stopped.v1": Sentence("处方停用", "Prescription stopped"),
    "hospital.visit.completed.v1": Sentence(
        "在{department}就诊（{visit_class}）", "Seen at {department} ({visit_class})"
    ),
    "hospital.visit.cancelled.v1": Sentence("就诊记录被撤销", "Visit taken back"),
    "hospital.practitioner.registered.v1": Sentence(
        "{person} 入职（{roles}）", "{person} joined the staff ({roles})", True
    ),
    "hospital.practitioner.updated.v1": Sentence(
        "{person} 的资料更新", "Record of {person} updated", True
    ),
    "hospital.practitioner.left.v1": Sentence("{person} 离职", "{person} left the staff", True),
    # enrollment
    "hospital.invitation.issued.v1": Sentence(
        "邀请 {person} 加入「{group}」", "{person} invited to “{group}”"
    ),
    "hospital.invitation.accepted.v1": Sentence(
        "{person} 接受了邀请", "{person} accepted the invitation"
    ),
    "hospital.invitation.declined.v1": Sentence(
        "{person} 谢绝了邀请", "{person} declined the invitation"
    ),
    "hospital.invitation.expired.v1": Sentence(
        "给 {person} 的邀请已过期", "The invitation to {person} expired"
    ),
    "hospital.invitation.withdrawn.v1": Sentence(
        "给 {person} 的邀请已撤回：{reason}", "The invitation to {person} was withdrawn: {reason}"
    ),
    "hospital.member.joined.v1": Sentence("{person} 加入「{group}」", "{person} joined “{group}”"),
    "hospital.member.moved.v1": Sentence("{person} 转入「{group}」", "{person} moved to “{group}”"),
    "hospital.member.left.v1": Sentence("{person} 离开「{group}」", "{person} left “{group}”"),
    "hospital.consent.given.v1": Sentence(
        "{person} 同意：{scope}", "{person} consented to {scope}", True
    ),
    "hospital.consent.withdrawn.v1": Sentence(
        "{person} 撤回同意：{scope}", "{person} withdrew the consent to {scope}"
    ),
    "hospital.group.opened.v1": Sentence(
        "开设群「{group}」，{limit} 个名额", "Group “{group}” opened with {limit} seats"
    ),
    "hospital.group.full.v1": Sentence("群「{group}」已满", "Group “{group}” is full"),
    "hospital.group.closed.v1": Sentence("群「{group}」已关闭", "Group “{group}” closed"),
    # messaging
    "hospital.message.posted.v1": Sentence(
        "{author}在「{group}」发布{message_kind}", "{author} posted {message_kind} in “{group}”"
    ),
    "hospital.question.asked.v1": Sentence(
        "{person} 在「{group}」提问", "{person} asked a question in “{group}”"
    ),
    "hospital.question.answered.v1": Sentence(
        "{staff} 回答了 {person}", "{staff} answered {person}"
    ),
    "hospital.question.overdue.v1": Sentence(
        "{person} 的提问超时未答", "The question of {person} is overdue"
    ),
    "hospital.question.claimed.v1": Sentence(
        "{staff} 接手 {person} 的提问", "{staff} took on the question of {person}"
    ),
    "hospital.message.flagged.v1": Sentence(
        "「{group}」的一条消息被标记：{reason}", "A message in “{group}” was flagged: {reason}"
    ),
    "hospital.escalation.raised.v1": Sentence("紧急呼叫：{reason}", "Help called: {reason}"),
    "hospital.escalation.acknowledged.v1": Sentence(
        "{staff} 响应了紧急呼叫", "{staff} answered the call for help"
    ),
    "hospital.escalation.resolved.v1": Sentence(
        "{staff} 结束了紧急呼叫：{outcome}", "{staff} settled the call for help: {outcome}"
    ),
    "hospital.broadcast.sent.v1": Sentence(
        "{staff} 在「{group}」群发{message_kind}", "{staff} sent {message_kind} to “{group}”"
    ),
    # reports
    "hospital.result.released.v1": Sentence(
        "{kind}结果已发布，可以查看", "{kind} result released to the patient"
    ),
    "hospital.result.viewed.v1": Sentence("{person} 查看了结果", "{person} read the result"),
    "hospital.result.recalled.v1": Sentence("结果已收回：{reason}", "Result taken back: {reason}"),
    "hospital.interpretation.requested.v1": Sentence(
        "{person} 申请解读报告", "{person} asked what a report means"
    ),
    "hospital.interpretation.given.v1": Sentence(
        "{staff} 解读了报告", "{staff} explained a report"
    ),
    "hospital.preparation.reminded.v1": Sentence(
        "已提醒 {person} 检查前准备", "{person} was told how to prepare"
    ),
    # prescriptions
    "hospital.refill.requested.v1": Sentence(
        "{person} 申请续方（第 {number} 次）", "{person} asked for renewal no. {number}"
    ),
    "hospital.refill.refused.v1": Sentence("续方未获受理：{reason}", "Renewal refused: {reason}"),
    "hospital.refill.doctor_approved.v1": Sentence(
        "{staff} 批准续方（{days_supply} 天）", "{staff} approved the renewal ({days_supply} days)"
    ),
    "hospital.refill.doctor_declined.v1": Sentence(
        "{staff} 未批准续方：{reason}", "{staff} declined the renewal: {reason}"
    ),
    "hospital.refill.pharmacist_passed.v1": Sentence(
        "药师 {staff} 审核通过", "Pharmacist {staff} passed the prescription"
    ),
    "hospital.refill.pharmacist_returned.v1": Sentence(
        "药师 {staff} 退回医生：{reason}", "Pharmacist {staff} returned it to the doctor: {reason}"
    ),
    "hospital.refill.pharmacist_refused.v1": Sentence(
        "药师 {staff} 审核未通过：{reason}", "Pharmacist {staff} refused: {reason}"
    ),
    "hospital.refill.effective.v1": Sentence(
        "续方生效（还可续 {remaining} 次）", "Renewal took effect ({remaining} left)"
    ),
    "hospital.refill.cancelled.v1": Sentence("续方申请已取消", "Renewal request cancelled"),
    "hospital.refill.expired.v1": Sentence("续方申请已过期", "Renewal request expired"),
    "hospital.refill.lapsed.v1": Sentence("续方未取药，已失效", "Renewal lapsed undispensed"),
    "hospital.refill.doctor_changed.v1": Sentence(
        "{staff} 调整后批准（{days_supply} 天）",
        "{staff} approved with changes ({days_supply} days)",
    ),
    "hospital.refill.doctor_replaced.v1": Sentence(
        "{staff} 改用新处方", "{staff} wrote another prescription instead"
    ),
    "hospital.refill.visit_needed.v1": Sentence(
        "{staff} 请患者先来就诊：{reason}", "{staff} wants to see the patient first: {reason}"
    ),
    "hospital.refill.suspended.v1": Sentence("续方暂停：{reason}", "Renewal suspended: {reason}"),
    "hospital.refill.fulfilment_chosen.v1": Sentence(
        "已选择药房（{method}）", "A pharmacy was chosen ({method})"
    ),
    "hospital.refill.dispensed.v1": Sentence("药品已备好", "Medicine dispensed"),
    "hospital.refill.collected.v1": Sentence("药品已取", "Medicine collected"),
    "hospital.refill.delivered.v1": Sentence("药品已送达", "Medicine delivered"),
    "hospital.refill.returned_to_stock.v1": Sentence("药品已退库", "Medicine back in stock"),
    # notify
    "hospital.notification.requested.v1": Sentence(
        "请求通知 {person}：{template}", "{person} shall be told: {template}", True
    ),
    "hospital.notification.cancelled.v1": Sentence(
        "取消给 {person} 的通知", "Notification to {person} cancelled", True
    ),
    "hospital.notification.sent.v1": Sentence(
        "已通过{channel}通知 {person}：{template}", "Told {person} by {channel}: {template}"
    ),
    "hospital.notification.delivered.v1": Sentence(
        "{channel}已送达 {person}", "{channel} reached {person}", True
    ),
    "hospital.notification.read.v1": Sentence(
        "{person} 已读：{template}", "{person} has read: {template}"
    ),
    "hospital.notification.failed.v1": Sentence(
        "{channel}未能送达 {person}：{reason}", "{channel} could not reach {person}: {reason}"
    ),
    "hospital.notification.suppressed.v1": Sentence(
        "不通知 {person}：{reason}", "{person} was rightly not told: {reason}", True
    ),
}

DEAD_LETTER = Sentence("一条消息无法处理，已留存：{reason}", "A message was set aside: {reason}")

WORDS: Mapping[str, tuple[str, str]] = {
    # channels
    "inbox": ("站内信", "in-app inbox"),
    "email": ("邮件", "e-mail"),
    "webhook": ("网络推送", "webhook"),
    "sms": ("短信", "SMS"),
    "wechat": ("微信", "WeChat"),
    "wecom": ("企业微信", "WeCom"),
    "web_push": ("浏览器推送", "web push"),
    # kinds of report, and their status
    "laboratory": ("检验", "Laboratory"),
    "microbiology": ("微生物", "Microbiology"),
    "pathology": ("病理", "Pathology"),
    "imaging": ("影像", "Imaging"),
    "ultrasound": ("超声", "Ultrasound"),
    "endoscopy": ("内镜", "Endoscopy"),
    "function_test": ("功能检查", "Function test"),
    "final": ("最终", "final"),
    "preliminary": ("初步", "preliminary"),
    "partial": ("部分", "partial"),
    "corrected": ("更正", "corrected"),
    "amended": ("修订", "amended"),
    "registered": ("已登记", "registered"),
    "modified": ("已修改", "modified"),
    "appended": ("补充", "appended"),
    "entered-in-error": ("误录", "entered in error"),
    "unknown": ("未知", "unknown"),
    "held": ("暂缓", "held"),
    # how far a pharmacy is
    "preparing": ("配药中", "preparing"),
    "dispensed": ("已配药", "dispensed"),
    "collected": ("已取药", "collected"),
    "delivered": ("已送达", "delivered"),
    "returned_to_stock": ("已退库", "back in stock"),
    "declined": ("不予调配", "declined"),
    # people
    "patient": ("患者", "patient"),
    "guardian": ("监护人", "guardian"),
    "relative": ("亲属", "relative"),
    "doctor": ("医生", "doctor"),
    "nurse": ("护士", "nurse"),
    "pharmacist": ("药师", "pharmacist"),
    "ops": ("运维", "operations"),
    "system": ("系统", "The platform"),
    "mother": ("母亲", "mother"),
    "father": ("父亲", "father"),
    "grandparent": ("祖父母", "grandparent"),
    "legal_guardian": ("法定监护人", "legal guardian"),
    "spouse": ("配偶", "spouse"),
    "child": ("子女", "child"),
    "sibling": ("兄弟姐妹", "sibling"),
    "other": ("其他", "other"),
    # what is said
    "text": ("消息", "a message"),
    "welcome": ("欢迎语", "the welcome"),
    "rules": ("群规", "the rules"),
    "education": ("宣教资料", "an education sheet"),
    "notice": ("公告", "a notice"),
    "group_rules": ("群规", "the group's rules"),
    "health_data": ("使用健康信息", "the use of health data"),
    # visits
    "ambulatory": ("门诊", "outpatient"),
    "inpatient": ("住院", "inpatient"),
    "emergency": ("急诊", "emergency"),
    "virtual": ("线上", "online"),
    # what a notification says, by its template
    "invitation.issued": ("加入病友群的邀请", "an invitation to a patient group"),
    "report.ready": ("有新报告", "a report is ready"),
    "report.corrected": ("报告已更正", "a report was corrected"),
    "report.critical": ("危急值报告", "a critical report"),
    "report.critical_corrected": ("危急值已更正", "a critical report was corrected"),
    "report.critical_withdrawn": ("危急值报告已撤回", "a critical report was withdrawn"),
    "report.withdrawn": ("报告已撤回", "a report was withdrawn"),
    "question.asked": ("有新提问", "a question was asked"),
    "question.answered": ("提问已答复", "a question was answered"),
    "refill.requested": ("续方申请已提交", "the renewal was asked for"),
    "refill.approved": ("医生已批准续方", "the doctor approved"),
    "refill.changed": ("医生批准续方并有调整", "the doctor approved with a change"),
    "refill.replaced": ("医生更改了用法用量", "the doctor changed the dosing"),
    "refill.visit_needed": ("医生请患者到院", "the doctor asked the patient to come in"),
    "refill.returned": ("药师退回医生", "the pharmacist returned it"),
    "refill.effective": ("续方已生效", "the renewal took effect"),
    "refill.declined": ("医生未批准续方", "the doctor declined"),
    "refill.refused": ("续方未获受理", "the renewal was refused"),
    "refill.cancelled": ("续方申请已取消", "the request was cancelled"),
    "refill.expired": ("续方申请已过期", "the request expired"),
    "refill.effective_chosen": ("续方已生效", "the renewal took effect"),
    "refill.choose": ("请选择药房", "choose a pharmacy"),
    "refill.pharmacy_declined": ("请另选药房", "choose another pharmacy"),
    "refill.dispensed": ("药品已备好", "the medicine is ready"),
    "refill.on_its_way": ("药品配送中", "the medicine is on its way"),
    "refill.collected": ("药品已取", "the medicine was collected"),
    "refill.delivered": ("药品已送达", "the medicine was delivered"),
    "refill.returned_to_stock": ("药品已退库", "the medicine went back"),
    "refill.handed_over": ("续方转交给您", "a renewal was handed over"),
    "refill.reminder": ("您的续方即将过期", "a renewal is about to expire"),
    "refill.waiting": ("有续方等待办理", "renewals wait for somebody"),
    "refill.escalated": ("续方即将过期仍未办理", "a renewal is still undecided"),
    "refill.deputy": ("您被指定为代理人", "a colleague is away"),
    "refill.suspended": ("续方已暂停", "the renewal is on hold"),
    "refill.to_look_at": ("续方暂停待处理", "a renewal on hold waits for a doctor"),
    "refill.withheld": ("续方处方已作废", "the prescription was withheld"),
    "refill.ask_first": ("已取的药请先咨询医生", "a doctor is to be asked before taking more"),
    "refill.lapsed": ("续方处方已失效", "the prescription lapsed"),
    "staff.discharge_cancelled": ("出院被撤销", "a discharge was cancelled"),
    "staff.task": ("有待办事项", "there is something to do"),
    # reasons: renewals
    "renewal_limit_reached": (
        "线上续方次数已用完，请到医院复诊",
        "the online renewals are used up, a visit in person is due",
    ),
    "guardian_needed": ("需由监护人申请", "a guardian must ask"),
    "requester_may_not_act": ("申请人已不能代办", "who asked may no longer act"),
    "other_hospital": ("不是本院处方", "prescribed at another hospital"),
    "prescription_stopped": ("处方已停用", "the prescription was stopped"),
    "prescription_replaced": ("用法用量已更改", "the dosing was changed since"),
    "not_appropriate": ("不宜继续使用", "it should not be continued"),
    "quantity": ("药量有疑问", "a question about the quantity"),
    "never_class": ("该类药品不得线上续方", "medicines of this class are never renewed online"),
    "not_on_list": ("该药不在线上续方目录内", "this medicine is not renewed online"),
    "too_old": ("处方已超过续方期限", "the prescription is too old"),
    "open_request": ("已有一个未结束的申请", "a request is already open"),
    "deadline_passed": ("已超过期限", "the deadline has passed"),
    # reasons: invitations and members
    "discharge_cancelled": ("出院被撤销", "the discharge was cancelled"),
    "guardian_unlinked": ("不再是监护人", "no longer a guardian"),
    "group_closed": ("群已关闭", "the group was closed"),
    "merged": ("病历合并", "the records were merged"),
    "left": ("自行退出", "left"),
    "removed": ("被移出", "removed"),
    # reasons: notifications and the rest
    "deceased": ("患者去世", "the patient has died"),
    "patient_deceased": ("患者去世", "the patient has died"),
    "withdrawn": ("已撤回", "withdrawn"),
    "expired": ("已过期", "expired"),
    "cancelled": ("已取消", "cancelled"),
    "duplicate": ("重复", "a duplicate"),
    "no_consent": ("未同意或已撤回同意", "no consent"),
    "no_contact": ("没有联系方式", "no known contact"),
    "no_link": ("与患者没有关联", "no link to the patient"),
    "backfill": ("历史补录", "a record of the past"),
    # reasons: what could not be handled
    "unreadable": ("无法读取", "it can't be read"),
    "empty_body": ("空消息", "empty"),
    "too_large": ("过大", "too large"),
    "not_cloudevent": ("不是 CloudEvents 消息", "not a CloudEvent"),
    "missing_attribute": ("缺少属性", "an attribute is missing"),
    "bad_attribute": ("属性不合规", "an attribute is malformed"),
    "bad_time": ("时间不合规", "the time is malformed"),
    "time_ahead": ("时间在未来", "its time lies ahead"),
    "unknown_major_version": ("未知的主版本", "an unknown major version"),
    "not_json": ("不是 JSON", "not JSON"),
    "rule_failed": ("规则程序出错", "a rule of ours failed"),
    "id_reused": ("同一编号内容不同", "its id came with another body"),
    "unstorable": ("无法保存", "it can't be stored"),
    "schema_violation": ("不符合数据格式", "it does not follow the schema"),
    "unreachable": ("无法连接", "unreachable"),
}


def word(value: str, language: Language) -> str:
    """``value`` in ``language`` if it is a word that we know, else as it is."""
    known = WORDS.get(value)
    return value if known is None else known[LANGUAGES.index(language)]
