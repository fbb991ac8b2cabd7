"""How does an invitation's link open? As one small page that anybody's browser can show.

The token stays in the link's fragment, which browsers do not send; the page's script
sends it in bodies. Nothing is loaded from elsewhere, and nothing is embedded elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from libs.common.http import words
from services.enrollment.api.wording import PAGE

_FOLDER = Path(__file__).resolve().parent.parent / "pages"
_TEMPLATE = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined
).get_template("accept.html")
_SCRIPT = (_FOLDER / "accept.js").read_bytes()
_STYLE = (_FOLDER / "accept.css").read_bytes()

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

router = APIRouter(include_in_schema=False)


@router.get("/accept")
async def accept_page(
    request: Request, lang: Annotated[str | None, Query(max_length=35)] = None
) -> Response:
    """The same for everybody; the script fills it in for whoever holds a token."""
    language = words.language(lang or request.headers.get("accept-language"))
    other = "en" if language == "zh-CN" else "zh-CN"
    html = _TEMPLATE.render(
        language=language,
        other=other,
        t={key: text[language] for key, text in PAGE.items()},
        # The script reads its words from the page, so that it needs no inline code.
        says={k[3:]: t[language] for k, t in PAGE.items() if k.startswith("is_")},
    )
    return Response(
        html,
        media_type="text/html",
        headers={**HEADERS, "Content-Language": language, "Vary": "Accept-Language"},
    )


@router.get("/accept.js")
async def script() -> Response:
    return Response(_SCRIPT, media_type="text/javascript", headers=HEADERS)


@router.get("/accept.css")
async def style() -> Response:
    return Response(_STYLE, media_type="text/css", headers=HEADERS)
