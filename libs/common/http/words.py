"""In which words, and in which language, do we say what is wrong?

A reason code is for programs, these are for people: zh-CN (the default) and English.
Every service adds a table of its own for the reasons of its rules (``Texts``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

Language = Literal["zh-CN", "en"]
DEFAULT_LANGUAGE: Final[Language] = "zh-CN"
Text = Mapping[Language, str]
#: reason -> what to tell people. ``{name}`` is filled in from the refusal's ``extra``.
Texts = Mapping[str, Text]


def language(accept_language: str | None) -> Language:
    """The best of our languages for an Accept-Language header (RFC 9110, 12.5.4)."""
    best: Language = DEFAULT_LANGUAGE
    best_weight = 0.0
    for item in (accept_language or "").split(",")[:20]:
        tag, _, parameter = item.partition(";")
        primary = tag.strip().lower().partition("-")[0]
        weight = _weight(parameter)
        if primary in ("zh", "en") and weight > best_weight:
            best, best_weight = ("zh-CN" if primary == "zh" else "en"), weight
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def without_text(texts: Texts, reasons: Iterable[str]) -> set[str]:
    """Those of ``reasons`` that lack a text in one of the languages (for a service's test)."""
    return {
        str(r)
        for r in reasons
        if not all((texts.get(r) or COMMON.get(r) or {}).get(x) for x in ("zh-CN", "en"))
    }


#: A problem's title, by status.
TITLES: Final[Mapping[int, Text]] = {
    400: {"zh-CN": "请求有误", "en": "The request is wrong"},
    401: {"zh-CN": "需要登录", "en": "You are not signed in"},
    403: {"zh-CN": "没有权限", "en": "You may not do this"},
    404: {"zh-CN": "未找到", "en": "Not found"},
    405: {"zh-CN": "不支持此操作", "en": "This can't be done here"},
    409: {"zh-CN": "当前状态下无法办理", "en": "Not possible in the present state"},
    410: {"zh-CN": "已不再提供", "en": "No longer available"},
    412: {"zh-CN": "内容已有变化", "en": "It has changed in the meantime"},
    413: {"zh-CN": "内容过大", "en": "The request is too large"},
    422: {"zh-CN": "无法办理", "en": "The request can't be carried out"},
    428: {"zh-CN": "缺少前提条件", "en": "A precondition is missing"},
    500: {"zh-CN": "系统出错", "en": "Something went wrong on our side"},
    503: {"zh-CN": "服务暂不可用", "en": "Temporarily unavailable"},
}

#: Reasons that mean the same in every service.
COMMON: Final[Texts] = {
    "token_missing": {
        "zh-CN": "请登录后在 Authorization 头中以 Bearer 方式提供令牌。",
        "en": "Sign in and send the token in the Authorization header, as Bearer.",
    },
    "token_invalid": {
        "zh-CN": "令牌无效，请重新登录。",
        "en": "The token can't be trusted or lacks a claim. Sign in again.",
    },
    "token_foreign": {
        "zh-CN": "令牌由其他机构签发或不适用于本系统，请重新登录。",
        "en": "The token is another issuer's or not meant for this platform. Sign in here.",
    },
    "token_expired": {
        "zh-CN": "登录已过期，请重新登录。",
        "en": "The token has expired. Sign in again.",
    },
    "token_not_yet_valid": {
        "zh-CN": "令牌尚未生效，请检查设备时间。",
        "en": "The token is not valid yet. Check the clock of the device that issued it.",
    },
    "role_not_allowed": {
        "zh-CN": "您的角色不能使用此功能。",
        "en": "None of your roles may use this.",
    },
    "forbidden": {"zh-CN": "您无权执行此操作。", "en": "You may not do this."},
    "not_found": {
        "zh-CN": "不存在，或您无权查看。",
        "en": "It does not exist, or it is not yours to see.",
    },
    "no_such_route": {
        "zh-CN": "没有这个地址，请查看 /docs。",
        "en": "There is nothing at this address. See /docs.",
    },
    "method_not_allowed": {
        "zh-CN": "此地址不支持该方法，可用方法见 Allow 头。",
        "en": "This address does not take that method; the Allow header lists those it takes.",
    },
    "wrong_status": {
        "zh-CN": "当前状态下不能这样操作，请刷新后再看。",
        "en": "Its present status does not allow this. Read it again.",
    },
    "claimed": {
        "zh-CN": "同事 {holder_id} 正在办理，约 {minutes} 分钟后自动释放。"
        "如急需办理，请联系该同事释放或转交。",
        "en": "Your colleague {holder_id} has it; it is free again in {minutes} minutes. If it"
        " can't wait, ask them to release it or to hand it over.",
    },
    "stale": {
        "zh-CN": "已有更新的信息，无需处理。",
        "en": "Something newer is known already; there is nothing to do.",
    },
    "changed": {
        "zh-CN": "在您查看之后内容已被修改，请刷新后重试。",
        "en": "It has changed since you read it. Read it again and decide anew.",
    },
    "if_match_invalid": {
        "zh-CN": 'If-Match 头应为先前收到的一个 ETag，例如 "3"。',
        "en": 'If-Match must be one ETag that you received before, such as "3".',
    },
    "if_match_missing": {
        "zh-CN": "请在 If-Match 头中带上所读内容的 ETag。",
        "en": "Send the ETag of what you read in the If-Match header.",
    },
    "idempotency_key_missing": {
        "zh-CN": "请为每个新请求提供 Idempotency-Key 头，重试时保持不变。",
        "en": "Send an Idempotency-Key header: new for each request, the same when repeating it.",
    },
    "idempotency_key_invalid": {
        "zh-CN": "Idempotency-Key 应为 1 至 255 个可见 ASCII 字符。",
        "en": "Idempotency-Key must be 1 to 255 visible ASCII characters.",
    },
    "idempotency_key_reused": {
        "zh-CN": "此 Idempotency-Key 已用于内容不同的请求，请换一个新的。",
        "en": "This Idempotency-Key was used for a request with other content. Use a new one.",
    },
    "invalid_request": {
        "zh-CN": "errors 中列出的内容需要更正。",
        "en": "Correct what errors lists and send it again.",
    },
    "invalid_header": {
        "zh-CN": "errors 中列出的请求头需要更正。",
        "en": "Correct the headers that errors lists and send it again.",
    },
    "invalid_cursor": {
        "zh-CN": "cursor 无效，请使用上一页给出的 next，或从第一页重新开始。",
        "en": "Use the next of the page before as cursor, or begin again without one.",
    },
    "unreadable_body": {
        "zh-CN": "无法读取请求内容。",
        "en": "The body can't be read. Send JSON with Content-Type: application/json.",
    },
    "body_too_large": {
        "zh-CN": "请求内容不得超过 {limit} 字节。",
        "en": "The body may have {limit} bytes at most.",
    },
    "not_ready": {
        "zh-CN": "服务正在启动或暂时无法连接数据库，请稍后重试。",
        "en": "The service is starting or can't reach its database. Try again shortly.",
    },
    "database_unavailable": {
        "zh-CN": "暂时无法连接数据库，不能确认是否已保存。请稍后用相同的 Idempotency-Key 重试，"
        "不会重复办理。",
        "en": "The database can't be reached at the moment, so it is unknown whether this was "
        "saved. Try again shortly with the same Idempotency-Key: nothing is done twice.",
    },
    "stopping": {
        "zh-CN": "服务正在重启，请稍后重试。",
        "en": "This server is shutting down. Try again; another one will answer.",
    },
    "outbox_full": {
        "zh-CN": "待处理的事项过多，请稍后重试。",
        "en": "Too much is waiting to be sent on. Try again shortly.",
    },
    "keys_unavailable": {
        "zh-CN": "暂时无法核验登录信息，请稍后重试。",
        "en": "Sign-ins can't be checked at the moment. Try again shortly.",
    },
    "audit_unavailable": {
        "zh-CN": "暂时无法记录访问日志，因此不能提供患者信息，请稍后重试。",
        "en": "Reads can't be recorded at the moment, so none is answered. Try again shortly.",
    },
    "unexpected": {
        "zh-CN": "请求未能完成。求助时请提供 correlation_id。",
        "en": "The request was not completed. When asking for help, quote correlation_id.",
    },
}

_FAULTS: Final[Mapping[str, Text]] = {
    "missing": {"zh-CN": "缺少此项", "en": "is required"},
    "extra_forbidden": {"zh-CN": "不接受此项，请去掉", "en": "is not known here; leave it out"},
    "no_parameter": {
        "zh-CN": "此地址没有查询参数，请去掉",
        "en": "is not known here, where there are none; leave it out",
    },
    "unknown_parameter": {
        "zh-CN": "没有这个查询参数，可用的有：{known}",
        "en": "is not known here; there are {known}",
    },
    "json_invalid": {
        "zh-CN": "不是有效的 JSON",
        "en": "is not valid JSON",
    },
    "string_type": {"zh-CN": "应为文本", "en": "must be a text"},
    "string_too_short": {
        "zh-CN": "至少 {min_length} 个字符",
        "en": "must have a length of at least {min_length}",
    },
    "string_too_long": {
        "zh-CN": "最多 {max_length} 个字符",
        "en": "must have a length of at most {max_length}",
    },
    "string_pattern_mismatch": {"zh-CN": "格式不正确", "en": "does not have the right form"},
    "int": {"zh-CN": "应为整数", "en": "must be a whole number"},
    "float": {"zh-CN": "应为数字", "en": "must be a number"},
    "finite_number": {"zh-CN": "应为有限的数字", "en": "must be a finite number"},
    "decimal": {"zh-CN": "应为数字", "en": "must be a number"},
    "bool": {"zh-CN": "应为 true 或 false", "en": "must be true or false"},
    "enum": {"zh-CN": "应为以下之一：{expected}", "en": "must be one of {expected}"},
    "literal_error": {"zh-CN": "应为：{expected}", "en": "must be {expected}"},
    "greater_than": {"zh-CN": "应大于 {gt}", "en": "must be greater than {gt}"},
    "greater_than_equal": {"zh-CN": "不得小于 {ge}", "en": "must be {ge} or more"},
    "less_than": {"zh-CN": "应小于 {lt}", "en": "must be less than {lt}"},
    "less_than_equal": {"zh-CN": "不得大于 {le}", "en": "must be {le} or less"},
    "too_short": {"zh-CN": "至少 {min_length} 项", "en": "must have at least {min_length} item(s)"},
    "too_long": {"zh-CN": "最多 {max_length} 项", "en": "must have at most {max_length} item(s)"},
    "list": {"zh-CN": "应为列表", "en": "must be a list"},
    "model": {
        "zh-CN": "应为 JSON 对象（Content-Type: application/json）",
        "en": "must be a JSON object (Content-Type: application/json)",
    },
    "dict": {"zh-CN": "应为 JSON 对象", "en": "must be a JSON object"},
    "timezone": {
        "zh-CN": "时间须带时区，例如 2026-03-01T08:00:00+08:00",
        "en": "must carry a time zone, as 2026-03-01T08:00:00+08:00 does",
    },
    "datetime": {
        "zh-CN": "应为带时区的时间，例如 2026-03-01T08:00:00+08:00",
        "en": "must be a time such as 2026-03-01T08:00:00+08:00",
    },
    "date": {"zh-CN": "应为日期，例如 2026-03-01", "en": "must be a date such as 2026-03-01"},
    "cursor": {"zh-CN": "不是上一页给出的 next", "en": "is not the next of a page before"},
}
_ANY_FAULT: Final[Text] = {"zh-CN": "取值不正确，参见 /docs", "en": "is not right; see /docs"}


def fault(code: str, context: Mapping[str, Any], language: Language) -> str:
    """What is wrong with a field and what would be right, for pydantic's error ``code``.

    Pydantic's own messages are not used: some repeat the input, and they are English.
    """
    text = _FAULTS.get(code) or _FAULTS.get(code.partition("_")[0]) or _ANY_FAULT
    return filled(text[language], context)


def filled(text: str, values: Mapping[str, Any]) -> str:
    """``text`` with its ``{name}`` replaced; what is not a plain value stays as it is."""
    for name, value in values.items():
        if isinstance(value, str | int | float) and "{" + name + "}" in text:
            text = text.replace("{" + name + "}", str(value))
    return text
