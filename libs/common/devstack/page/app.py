"""Which addresses does the page answer, for people, for tests and for the stack itself?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import structlog
from aiosmtpd.smtp import SMTP
from anyio.to_thread import run_sync
from fastapi import Body, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from sse_starlette import EventSourceResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from libs.common import dev_issuer
from libs.common.clock import Ports
from libs.common.devstack.page import api, contracts, hospital, partners
from libs.common.devstack.page.feed import EventFeed, follow
from libs.common.devstack.page.health import Health
from libs.common.devstack.page.hub import Hub
from libs.common.devstack.page.inboxes import Inboxes
from libs.common.devstack.page.people import People
from libs.common.devstack.page.phones import MailCatcher, Phones
from libs.common.devstack.page.sentences import Language, Sentence
from libs.common.devstack.page.settings import Settings
from libs.common.devstack.page.store import Store
from libs.common.devstack.page.timeline import Timeline
from libs.common.devstack.page.traces import Traces, decode
from libs.common.devstack.page.views import FOLDER, Views, World
from libs.common.http.sse import LastEventId, Pushed, Streams

log = structlog.get_logger(__name__)

#: Everything comes from this address; bars are placed by inline styles.
CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: What is brought with one OTLP request, at most.
TRACES_BYTES = 32 * 1024 * 1024


def build(settings: Settings, feed: EventFeed, store: Store | None = None) -> FastAPI:
    """The page as an ASGI application."""
    store = store or Store(settings.folder / "page" / "page.sqlite3")
    people, hub = People(), Hub()
    timeline, phones = Timeline(people, hub), Phones(store, people, hub)
    health = Health(settings.services, hub)
    world = World(settings, people, hub, timeline, phones, Traces(store), health)
    issuer = dev_issuer.DevelopmentIssuer.at(
        settings.folder / "dev-issuer", issuer=settings.issuer, audience=settings.audience
    )
    inboxes = Inboxes(settings.services["notify"], issuer, people, phones)
    streams = Streams(Ports())
    for note in store.all("SELECT * FROM notes"):
        timeline.add_note(
            f"note-{note['id']}", note["at"], note["part"], Sentence(note["zh"], note["en"])
        )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        mail = await loop.create_server(
            lambda: SMTP(MailCatcher(phones), hostname="localhost", enable_SMTPUTF8=True),
            "127.0.0.1",
            settings.smtp_port,
        )
        tasks = [
            asyncio.create_task(follow(feed, timeline, inboxes)),
            asyncio.create_task(inboxes.run()),
            asyncio.create_task(health.run()),
        ]
        try:
            yield
        finally:
            streams.close()
            mail.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            store.close()

    app = FastAPI(
        title="Lianxin", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    app.state.world = world
    # A page of another site must not read this one under a name of its own.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    app.mount("/static", StaticFiles(directory=FOLDER / "static"))
    app.mount(f"/contracts/{contracts.FILES}", StaticFiles(directory=contracts.CONTRACTS))
    app.include_router(dev_issuer.router(issuer), prefix=dev_issuer.PATH)
    app.include_router(api.router(world))
    app.include_router(hospital.router(world))
    app.include_router(partners.router())
    _pages(app, Views(world), world, streams)
    _intake(app, world, store)
    return app


def language(request: Request) -> Language:
    """Of the query, else of the cookie, else the first that the browser names."""
    asked = request.query_params.get("lang") or request.cookies.get("lang")
    if asked in ("zh", "en"):
        return asked
    for part in request.headers.get("accept-language", "").split(","):
        prefix = part.split(";")[0].strip().lower()[:2]
        if prefix in ("zh", "en"):
            return prefix
    return "zh"


def _pages(app: FastAPI, views: Views, world: World, streams: Streams) -> None:
    def shown(request: Request, text: str | None) -> HTMLResponse:
        lang = language(request)
        answer = HTMLResponse(
            text if text is not None else views.problem(lang), 404 if text is None else 200
        )
        answer.headers["content-security-policy"] = CONTENT_SECURITY
        answer.headers["referrer-policy"] = "no-referrer"
        answer.headers["cache-control"] = "no-store"
        if request.query_params.get("lang") == lang:
            answer.set_cookie("lang", lang, max_age=365 * 86400, samesite="lax")
        return answer

    @app.get("/")
    async def home(request: Request) -> Response:
        return shown(request, views.home(language(request)))

    @app.get("/phones")
    async def phones(request: Request) -> Response:
        return shown(request, views.phones(language(request)))

    @app.get("/phones/{hospital}/{person}")
    async def person(request: Request, hospital: str, person: str) -> Response:
        return shown(request, views.person(hospital, person, language(request)))

    @app.get("/traces")
    async def traces(request: Request) -> Response:
        return shown(request, views.traces(language(request)))

    @app.get("/traces/{trace_id}")
    async def trace(request: Request, trace_id: str) -> Response:
        return shown(request, views.trace(trace_id, language(request)))

    @app.get("/contracts/")
    async def events(request: Request) -> Response:
        return shown(request, await run_sync(contracts.page))

    @app.get("/parts/traces")
    async def part_traces(request: Request) -> Response:
        return shown(request, views.traces_short(language(request)))

    @app.get("/parts/invitation")
    async def part_invitation(request: Request) -> Response:
        return shown(request, views.invitation(language(request)))

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.get("/stream")
    async def stream(
        request: Request, last: LastEventId = None, after: Annotated[str | None, Query()] = None
    ) -> EventSourceResponse:
        return streams.response(_news(world, views, language(request), last or after))


async def _news(
    world: World, views: Views, lang: Language, position: str | None
) -> AsyncGenerator[Pushed, None]:
    async for news in world.hub.listen(position):
        if news is None:
            yield Pushed(None, "reload", {})
            continue
        data: dict[str, Any] = {}
        if news.kind == "entry":
            data = {"at": news.item.at, "html": views.row(news.item, lang)}
        elif news.kind == "phone":
            phone = world.phones.of(*news.item)
            if phone is None:
                continue
            data = {"html": views.phone(phone, lang)}
        elif news.kind == "health":
            data = {"status": world.health.status}
        yield Pushed(world.hub.position(news.number), news.kind, data)


def _intake(app: FastAPI, world: World, store: Store) -> None:
    """What services, the launcher and notify's webhooks send here."""

    @app.post("/v1/traces")
    async def take_traces(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > TRACES_BYTES:
                raise HTTPException(413)
        try:
            await run_sync(lambda: world.traces.add(decode(body)))
        except ValueError as error:
            raise HTTPException(400, "not an OTLP trace export request") from error
        return Response(b"", media_type="application/x-protobuf")

    @app.post("/timeline", status_code=204)
    async def note(
        part: Annotated[str, Body(max_length=64)],
        text: Annotated[str, Body(max_length=500)],
        text_zh: Annotated[str | None, Body(max_length=500)] = None,
    ) -> None:
        at = time.time_ns() // 1_000_000
        texts = Sentence(text_zh or text, text)
        with store.transaction() as db:
            cursor = db.execute(
                "INSERT INTO notes (at, part, zh, en) VALUES (?,?,?,?)",
                (at, part, texts.zh, texts.en),
            )
        world.timeline.add_note(f"note-{cursor.lastrowid}", at, part, texts)

    @app.post("/webhook/{rest:path}")
    async def webhook(
        request: Request, idempotency_key: Annotated[str | None, Header()] = None
    ) -> dict[str, str]:
        try:
            body = await request.json()
        except ValueError as error:
            raise HTTPException(400, "not JSON") from error
        world.phones.webhook(request.url.path, body, idempotency_key)
        return {"status": "taken"}
