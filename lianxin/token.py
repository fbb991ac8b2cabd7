"""How does somebody on a developer's machine get a token?

From the development issuer, which ``make run`` trusts. An installation trusts its OIDC provider
alone, and only that can give tokens out.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from lianxin.installation import Installation
from lianxin.output import Answer, Failed, Json, command
from libs.common.auth import Role
from libs.common.dev_issuer import (
    DEFAULT_ISSUER,
    DEVELOPMENT,
    DIRECTORY,
    LIFETIME,
    DevelopmentIssuer,
)


@command
async def token(
    role: Annotated[list[Role], typer.Option(help="What the person is; may be given again.")],
    person: Annotated[str, typer.Option(help="The claim sub.")],
    hospital: Annotated[str, typer.Option(help="Whose person it is.")] = "h1",
    department: Annotated[
        list[str] | None, typer.Option(help="Of which department; may be given again.")
    ] = None,
    minutes: Annotated[int, typer.Option(min=1, help="How long it holds.")] = int(
        LIFETIME.total_seconds() // 60
    ),
    directory: Annotated[Path, typer.Option(help="Where the issuer's key is.")] = DIRECTORY,
    json: Json = False,
) -> Answer:
    """A token for the platform of `make run`. Elsewhere your OIDC provider gives them out."""
    installation = Installation.of_environment()
    settings = installation.settings
    if settings.environment != DEVELOPMENT:
        provider = settings.oidc_issuer or "OIDC_ISSUER, which is not set"
        raise Failed(
            f"ENVIRONMENT is {settings.environment}, so tokens come from your OIDC provider"
            f" ({provider}): ask it for one with the claims sub, hospital, roles and departments."
            " The development issuer works only with ENVIRONMENT=development."
        )
    issuer = await asyncio.to_thread(
        DevelopmentIssuer.at,
        directory,
        issuer=settings.oidc_issuer or DEFAULT_ISSUER,
        audience=settings.oidc_audience,
    )
    given = issuer.token(
        person=person,
        hospital=hospital,
        roles=role,
        departments=department or (),
        lifetime=timedelta(minutes=minutes),
    )
    return Answer({"token": given}, [given])
