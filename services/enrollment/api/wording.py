"""In which words does enrollment speak to people?"""

from __future__ import annotations

from typing import Final

from libs.common.http.words import Text, Texts

#: What a refusal tells the person.
TEXTS: Final[Texts] = {
    "no_programme": {
        "zh-CN": "该科室没有适合的病友群。",
        "en": "The department has no group for this patient.",
    },
    "no_guardian": {
        "zh-CN": "患儿没有登记监护人。",
        "en": "No guardian of the child is known.",
    },
    "already_member": {
        "zh-CN": "此人已在群内或已有有效邀请。",
        "en": "This person is a member or invited already.",
    },
    "deceased": {
        "zh-CN": "该患者或受邀人已去世，不能再发出邀请。",
        "en": "The patient or the invited person has died; no invitation can be issued.",
    },
    "transferred": {"zh-CN": "患者已转院。", "en": "The patient was transferred."},
    "backfill": {
        "zh-CN": "历史记录，仅作登记。",
        "en": "A record of the past; nobody is told.",
    },
    "discharge_cancelled": {
        "zh-CN": "该次出院已被取消，不能重新发出邀请。",
        "en": "The discharge was cancelled, so it can't be issued again.",
    },
    "repeated_discharge": {
        "zh-CN": "该次住院的出院已登记。",
        "en": "This stay's discharge is known already.",
    },
    "in_the_future": {
        "zh-CN": "出院时间在未来，请核对。",
        "en": "The time of discharge lies in the future.",
    },
    "invitation_expired": {
        "zh-CN": "邀请已过期，请联系科室护士重新发送。",
        "en": "The invitation has expired. Ask the department's nurse for a new one.",
    },
    "invitation_declined": {
        "zh-CN": "您已谢绝此邀请。如改变主意，请联系科室护士重新发送。",
        "en": "You have declined it. If you changed your mind, ask the department's nurse.",
    },
    "invitation_withdrawn": {
        "zh-CN": "医院已撤回此邀请。",
        "en": "The hospital has withdrawn this invitation.",
    },
    "invitation_used": {
        "zh-CN": "此邀请已使用过。",
        "en": "This invitation has been used.",
    },
    "not_a_guardian": {
        "zh-CN": "此人不再是该患者的监护人，不能重新发出邀请。",
        "en": "This person is no longer the patient's guardian.",
    },
    "programme_ended": {
        "zh-CN": "该病友群项目已结束，不再接收新成员。",
        "en": "The programme has ended and takes nobody new.",
    },
    "leave_the_group": {
        "zh-CN": "群规同意不能单独撤回。如不再同意，请退群。",
        "en": "The rules can't be given up alone. Leave the group instead.",
    },
}

#: The accept page. ``is_…`` are said by its script.
PAGE: Final[dict[str, Text]] = {
    "title": {"zh-CN": "病友群邀请", "en": "Invitation to a patient group"},
    "other_language": {"zh-CN": "English", "en": "中文"},
    "emergency": {
        "zh-CN": "病友群不是急救渠道。病情紧急请立即拨打 120 或前往急诊。",
        "en": "The group is not an emergency service. In an emergency call 120 at once.",
    },
    "invited_to": {"zh-CN": "医院邀请您加入", "en": "The hospital invites you to join"},
    "valid_until": {"zh-CN": "有效期至", "en": "Valid until"},
    "rules": {"zh-CN": "群规", "en": "The group's rules"},
    "rules_consent": {
        "zh-CN": "我已阅读并同意遵守群规（必选）",
        "en": "I have read the rules and agree to them (required)",
    },
    "health_data": {"zh-CN": "健康信息", "en": "Health data"},
    "health_data_consent": {
        "zh-CN": "我单独同意以上健康信息处理（可选，可随时撤回）",
        "en": "I separately agree to this use of health data (optional, can be withdrawn)",
    },
    "accept": {"zh-CN": "加入", "en": "Join"},
    "decline": {"zh-CN": "不加入", "en": "No, thank you"},
    "qr": {"zh-CN": "在另一台手机上打开", "en": "Open it on another phone"},
    "qr_alt": {"zh-CN": "此邀请的二维码", "en": "QR code of this invitation"},
    "no_script": {
        "zh-CN": "请在浏览器中启用 JavaScript 后重新打开链接。",
        "en": "Allow JavaScript in your browser and open the link again.",
    },
    "is_loading": {"zh-CN": "正在打开邀请…", "en": "Opening the invitation…"},
    "is_no_token": {
        "zh-CN": "请从收到的通知中打开完整的链接。",
        "en": "Open the whole link from the message that you received.",
    },
    "is_not_found": {
        "zh-CN": "此链接无效，或已被新的链接代替。",
        "en": "This link is not valid, or a newer one has replaced it.",
    },
    "is_accepted": {
        "zh-CN": "您已加入病友群。登录后即可阅读和发言。",
        "en": "You have joined the group. Sign in to read and write.",
    },
    "is_declined": {
        "zh-CN": "您已谢绝此邀请。如改变主意，请联系科室护士。",
        "en": "You have declined. If you change your mind, ask the department's nurse.",
    },
    "is_expired": {
        "zh-CN": "邀请已过期，请联系科室护士重新发送。",
        "en": "The invitation has expired. Ask the department's nurse for a new one.",
    },
    "is_withdrawn": {
        "zh-CN": "医院已撤回此邀请。",
        "en": "The hospital has withdrawn this invitation.",
    },
    "is_left": {"zh-CN": "您已退出该群。", "en": "You have left this group."},
    "is_rules_needed": {
        "zh-CN": "请先勾选同意群规。",
        "en": "Please agree to the rules first.",
    },
    "is_failed": {
        "zh-CN": "暂时无法完成，请稍后再试。",
        "en": "It could not be done just now. Please try again later.",
    },
}
