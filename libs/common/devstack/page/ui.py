"""What do the labels of the page say, in Chinese and in English?"""

from __future__ import annotations

from collections.abc import Mapping

from libs.common.devstack.page.sentences import Language

UI: Mapping[str, tuple[str, str]] = {
    "title": ("连心 · 医院的一天", "Lianxin · a hospital day"),
    "name": ("连心", "Lianxin"),
    "subtitle": (
        "六个服务、一个消息总线、一个数据库，都在这台机器上。所有人物均为虚构。",
        "Six services, one broker and one database on this machine. All people are invented.",
    ),
    "timeline": ("时间线", "Timeline"),
    "phones": ("手机", "Phones"),
    "traces": ("链路追踪", "Traces"),
    "services": ("服务", "Services"),
    "contracts": ("事件契约", "Contracts"),
    "people": ("人物与令牌", "People and tokens"),
    "live": ("实时", "live"),
    "connecting": ("连接中…", "connecting…"),
    "minor": ("显示全部细节", "Show every detail"),
    "trace": ("追踪", "trace"),
    "trace_title": ("追踪", "Trace"),
    "empty_timeline": (
        "还没有发生任何事。启动演示后，事件会出现在这里。",
        "Nothing has happened yet. Events appear here as the day begins.",
    ),
    "empty_phones": ("还没有人收到消息。", "Nobody has been told anything yet."),
    "empty_traces": ("还没有追踪数据。", "No traces yet."),
    "empty_people": ("还没有登记任何人。", "Nobody is registered yet."),
    "phones_lead": (
        "每个人的手机上收到了什么：站内信、邮件和网络推送。",
        "What arrived on each person's phone: in-app inbox, e-mail and webhooks.",
    ),
    "all_phones": ("所有手机", "All phones"),
    "all_traces": ("所有追踪", "All traces"),
    "back": ("返回", "Back"),
    "open_link": ("打开链接", "Open the link"),
    "qr": ("二维码", "QR code"),
    "try_invitation": ("试一试：接受邀请", "Try it: accept an invitation"),
    "try_lead": (
        "扫码或点击链接，以 {person} 的身份接受邀请。",
        "Scan the code or open the link to accept as {person}.",
    ),
    "no_invitation": ("目前没有待接受的邀请。", "No invitation is open right now."),
    "api_docs": ("接口文档", "API docs"),
    "metrics": ("指标", "metrics"),
    "up": ("就绪", "ready"),
    "live_only": ("存活，未就绪", "live, not ready"),
    "down": ("无应答", "down"),
    "unknown": ("未知", "unknown"),
    "tokens_lead": (
        "复制一行到终端即可得到该人物的访问令牌。",
        "Copy a line into a terminal to get a token for that person.",
    ),
    "copy": ("复制", "Copy"),
    "copied": ("已复制", "Copied"),
    "roles": ("角色", "Roles"),
    "person": ("人物", "Person"),
    "command": ("命令", "Command"),
    "traces_lead": (
        "一次出院就是一条贯穿各服务的链路。",
        "One discharge is one trace through all services.",
    ),
    "spans": ("跨度", "spans"),
    "errors": ("错误", "errors"),
    "started": ("开始", "Started"),
    "waterfall": ("瀑布图", "Waterfall"),
    "linked": ("经由批次关联", "linked by a batch"),
    "linked_note": (
        "虚线为与其他记录共用的批次：一次查询服务多条记录。",
        "Dashed bars are batches shared with other records: one query serves many of them.",
    ),
    "gap": ("省略 {length}", "{length} left out"),
    "not_found": ("找不到这个页面。", "There is no such page."),
    "hospital": ("医院系统", "hospital"),
    "messages": ("条消息", "messages"),
    "skip": ("跳到时间线", "Skip to the timeline"),
    "language": ("English", "中文"),
}


class Labels:
    """``labels["timeline"]`` in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._column = 0 if language == "zh" else 1

    def __getitem__(self, key: str) -> str:
        return UI[key][self._column]
