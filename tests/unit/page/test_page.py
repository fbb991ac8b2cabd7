"""Does the page show what it should, to whom it should, in both languages?"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from libs.common.devstack.errors import StackError
from libs.common.devstack.page.app import _news
from libs.common.devstack.page.settings import Settings
from libs.common.devstack.page.views import FOLDER, Views, World, duration, qr
from libs.common.otlp import OtlpExporter
from libs.common.spans import Tracer
from tests.unit.page.given import TRACE, TRACEPARENT, accepted, event, invited, page, registered

LINK = "http://127.0.0.1:8001/accept#token=h1.secret"


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return page(tmp_path)[0]


@pytest.fixture
def world(app: FastAPI) -> World:
    found: World = app.state.world
    return found


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as made:
        yield made


def a_day(world: World) -> None:
    world.timeline.add_event(event(registered("<b>林晓梅</b>"), "e-0"), 1)
    world.timeline.add_event(event(invited()), 2)
    world.phones.webhook(
        "/webhook/p-1", {"title": "邀请", "body": "<script>x</script>", "link": LINK}, "k"
    )


def exported() -> bytes:
    bodies: list[bytes] = []

    def post(body: bytes) -> int:
        bodies.append(body)
        return 200

    exporter = OtlpExporter("http://127.0.0.1:9", {"service.name": "enrollment"}, post=post)
    tracer = Tracer("enrollment", 1.0, exporter)
    record = tracer.record(TRACEPARENT, type="t.v1", id="e-1", topic="hospital.encounters")
    with tracer.batch("process batch", [TRACEPARENT], "consumer",
                      {"messaging.batch.message_count": 1}) as batch:  # fmt: skip
        pass
    record.end("done", batch=batch)
    exporter.shutdown()
    return bodies[0]


@pytest.mark.parametrize(("language", "title"), [("zh", "时间线"), ("en", "Timeline")])
async def test_the_one_page_shows_the_day(
    client: httpx.AsyncClient, world: World, language: str, title: str
) -> None:
    a_day(world)
    answer = await client.get("/", params={"lang": language})
    assert answer.status_code == 200
    text = answer.text
    assert title in text
    assert f"/traces/{TRACE}" in text
    assert "http://127.0.0.1:8001/docs" in text and "http://127.0.0.1:8005/docs" in text
    assert "make token ROLE=patient PERSON=p-1 HOSPITAL=h1" in text
    assert text.count(f'href="{LINK}"') >= 2  # on the phone, and to be tried
    assert "<svg" in text


async def test_what_comes_from_outside_is_escaped(client: httpx.AsyncClient, world: World) -> None:
    a_day(world)
    for path in ("/", "/phones", "/phones/h1/p-1", f"/traces/{TRACE}"):
        text = (await client.get(path)).text
        assert "<script>x" not in text and "<b>林晓梅" not in text
        assert "&lt;" in text


@pytest.mark.parametrize("path", ["/", "/phones", "/traces"])
async def test_the_empty_pages_say_so(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, params={"lang": "en"})
    assert answer.status_code == 200
    assert 'class="empty"' in answer.text


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("en-GB,en;q=0.9", "en"), ("zh-TW", "zh"), ("fr, en;q=0.5", "en"), ("fr", "zh"), ("", "zh")],
)
async def test_the_language_is_the_browsers_unless_one_was_chosen(
    client: httpx.AsyncClient, accepted: str, language: str
) -> None:
    headers = {"accept-language": accepted}
    html = {"zh": 'lang="zh-CN"', "en": '<html lang="en"'}
    assert html[language] in (await client.get("/", headers=headers)).text
    other = "en" if language == "zh" else "zh"
    assert html[other] in (await client.get(f"/?lang={other}", headers=headers)).text
    assert html[other] in (await client.get("/", headers=headers)).text  # by its cookie


async def test_an_invitation_that_was_answered_is_not_offered(
    client: httpx.AsyncClient, world: World
) -> None:
    a_day(world)
    assert LINK in (await client.get("/parts/invitation")).text
    world.timeline.add_event(event(accepted(), "e-2"), 3)
    assert LINK not in (await client.get("/parts/invitation")).text


async def test_a_trace_is_drawn_with_its_batch_and_given_as_json(
    client: httpx.AsyncClient, world: World
) -> None:
    a_day(world)
    headers = {"content-type": "application/x-protobuf"}
    assert (await client.post("/v1/traces", content=exported(), headers=headers)).status_code == 200
    text = (await client.get(f"/traces/{TRACE}?lang=en")).text
    assert "process hospital.encounters" in text
    assert "process batch" in text and "linked" in text
    found = (await client.get(f"/api/traces/{TRACE}")).json()
    assert found["services"] == ["enrollment"]
    assert [(s["name"], s["linked"]) for s in found["spans"]] == [
        ("process hospital.encounters", False),
        ("process batch", True),
    ]
    assert [t["trace_id"] for t in (await client.get("/api/traces")).json()["traces"]] == [TRACE]


@pytest.mark.parametrize("path", ["/traces/" + "0" * 32, "/phones/h1/nobody"])
async def test_what_does_not_exist_is_404(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404
    assert (await client.get(f"/api/traces/{'0' * 32}")).status_code == 404


async def test_the_timeline_and_the_phones_are_given_as_json(
    client: httpx.AsyncClient, world: World
) -> None:
    a_day(world)
    newest = (await client.get("/api/timeline")).json()["entries"][0]
    assert newest["type"] == "hospital.invitation.issued.v1"
    assert (newest["service"], newest["trace_id"]) == ("enrollment", TRACE)
    assert "invited" in newest["en"] and "邀请" in newest["zh"]
    (phone,) = (await client.get("/api/phones")).json()["phones"]
    assert (phone["hospital"], phone["person"], phone["roles"]) == ("h1", "p-1", ["patient"])
    assert phone["messages"][0]["link"] == LINK
    services = (await client.get("/api/services")).json()
    assert services["notify"] == {"url": "http://127.0.0.1:8005", "status": "unknown"}


async def test_the_launcher_writes_on_the_timeline(client: httpx.AsyncClient) -> None:
    said = {"part": "reports", "text": "is back", "text_zh": "已恢复"}
    assert (await client.post("/timeline", json=said)).status_code == 204
    (entry,) = (await client.get("/api/timeline")).json()["entries"]
    assert (entry["service"], entry["en"], entry["zh"]) == ("reports", "is back", "已恢复")


@pytest.mark.parametrize("path", ["/v1/traces", "/webhook/p-1"])
async def test_garbage_is_refused(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.post(path, content=b"\xff\xfe")).status_code == 400


async def test_the_development_issuers_keys_are_served(client: httpx.AsyncClient) -> None:
    found = (await client.get("/dev-issuer/.well-known/openid-configuration")).json()
    keys = (await client.get(found["jwks_uri"])).json()
    assert len(keys["keys"]) == 1 and "d" not in keys["keys"][0]


async def test_another_sites_name_for_this_address_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers={"host": "attacker.example"})
    assert answer.status_code == 400


async def test_everything_comes_from_this_address(client: httpx.AsyncClient) -> None:
    policy = (await client.get("/")).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    for path in ("/static/page.css", "/static/page.js", "/static/icon.svg"):
        assert (await client.get(path)).status_code == 200
    for file in [*(FOLDER / "static").iterdir(), *(FOLDER / "templates").iterdir()]:
        urls = re.findall(r"https?://[^\s\"')]+", file.read_text(encoding="utf-8"))
        assert [u for u in urls if u != "http://www.w3.org/2000/svg"] == []


async def test_an_open_page_is_told_of_news_in_its_language(world: World) -> None:
    position = world.hub.position()
    a_day(world)
    stream = _news(world, Views(world), "en", position)
    kinds = []
    for _ in range(3):
        pushed = await anext(stream)
        kinds.append(pushed.event)
        assert pushed.id and "html" in pushed.data
    assert kinds == ["entry", "entry", "phone"]
    await stream.aclose()
    lost = _news(world, Views(world), "en", "another-1")
    assert (await anext(lost)).event == "reload"
    await lost.aclose()


@pytest.mark.parametrize("environment", [{}, {"ENVIRONMENT": "production"}])
def test_outside_development_the_page_refuses_to_start(environment: dict[str, str]) -> None:
    with pytest.raises(StackError, match="ENVIRONMENT=development"):
        Settings.read(environment)


def test_the_settings_follow_the_environment() -> None:
    found = Settings.read(
        {"ENVIRONMENT": "development", "PAGE_PORT": "9000", "NOTIFY_PORT": "9005", "DATA_DIR": "/d"}
    )
    assert found.port == 9000
    assert found.services["notify"] == "http://127.0.0.1:9005"
    assert found.issuer == "http://127.0.0.1:9000/dev-issuer"
    assert found.folder == Path("/d")


def test_a_qr_code_is_a_picture_without_the_text_of_its_link() -> None:
    assert str(qr(LINK)).startswith("<svg") and "secret" not in str(qr(LINK))


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (1_500, "2 µs"),
        (2_500_000, "2.5 ms"),
        (1_500_000_000, "1.5 s"),
        (90 * 10**9, "1 min 30 s"),
        (7 * 86400 * 10**9 + 61 * 10**9, "7 d 1 min"),
    ],
)
def test_a_duration_is_said_in_two_units(ns: int, text: str) -> None:
    assert duration(ns) == text


def _schemes() -> dict[str, dict[str, str]]:
    css = (FOLDER / "static" / "page.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    first = dict(re.findall(r"--([\w-]+): (#\w+);", light))
    return {"light": first, "dark": {**first, **dict(re.findall(r"--([\w-]+): (#\w+);", dark))}}


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_aa_asks_for(scheme: str) -> None:
    colours = _schemes()[scheme]
    chips = [(c, f"{c}-bg") for c in ("hospital", "enrollment", "messaging", "reports",
                                      "prescriptions", "notify", "other")]  # fmt: skip
    on_panels = [
        (ink, ground)
        for ink in ("ink", "soft", "accent", "good", "bad", "warm")
        for ground in ("panel", "hover")
    ]
    on_page = [("ink", "bg"), ("soft", "bg"), ("accent", "bg"), ("ink", "mark")]
    for ink, ground in [*chips, *on_panels, *on_page, ("accent-ink", "accent")]:
        # WCAG 2.2, success criterion 1.4.3.
        assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
