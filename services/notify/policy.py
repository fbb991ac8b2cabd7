"""Where do notify's dated figures and its texts come from?

``policies/notify``, ``policies/templates`` and a few settings, read and checked once, at
the start. A channel is on when its provider is configured.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from libs.common import yaml_files
from libs.common.dated import Dated
from libs.common.events import Channel
from services.notify.domain.channels import ChannelRule, Figures, Policy
from services.notify.domain.texts import Template, TemplateFile, Texts
from services.notify.settings import Settings


class PolicyError(Exception):
    """A policy file can't be used; the message names it."""


def load_texts(directory: Path) -> Texts:
    templates: dict[str, Template] = {}
    for path in sorted(directory.glob("*.yaml")):
        try:
            file = TemplateFile.model_validate(yaml_files.read(path))
        except (ValueError, yaml.YAMLError) as error:
            raise PolicyError(f"{path}: {error}") from error
        if twice := templates.keys() & file.templates.keys():
            raise PolicyError(f"{path}: {sorted(twice)} stand in another file, too")
        templates |= file.templates
    try:
        return Texts(templates)
    except ValueError as error:
        raise PolicyError(f"{directory}: {error}") from error


def load_figures(directory: Path) -> list[Figures]:
    """All dated versions."""
    files = sorted(directory.glob("*.yaml"))
    if not files:
        raise PolicyError(f"{directory}: there is no file")
    return [_figures(path) for path in files]


def _figures(path: Path) -> Figures:
    try:
        return Figures.model_validate(yaml_files.read(path))
    except (ValueError, yaml.YAMLError) as error:
        raise PolicyError(f"{path}: {error}") from error


def call_seconds(settings: Settings, channel: Channel) -> float:
    """How long one call may take in all: a mail's has several answers to wait for."""
    return {
        Channel.EMAIL: settings.smtp_timeout * 3,
        Channel.WEBHOOK: settings.webhook_timeout * 2,
    }[channel]


def claim_seconds(settings: Settings, channel: Channel) -> float:
    """How long a claim holds: a call that waited for its turn must still fit into it."""
    return call_seconds(settings, channel) * 2


def switched_on(settings: Settings) -> list[Channel]:
    on = {
        Channel.WEBHOOK: bool(settings.webhook_secret.get_secret_value()),
        Channel.EMAIL: bool(settings.smtp_host),
    }
    return [channel for channel, is_on in on.items() if is_on]


def load_policy(settings: Settings) -> Dated[Policy]:
    directory = settings.policies_dir / "notify"
    texts = load_texts(settings.policies_dir / "templates")
    versions = [_policy(settings, texts, figures) for figures in load_figures(directory)]
    try:
        return Dated(versions, ZoneInfo(settings.hospital_time_zone))
    except ValueError as error:
        raise PolicyError(f"{directory}: {error}") from error


def _policy(settings: Settings, texts: Texts, figures: Figures) -> Policy:
    for channel in switched_on(settings):
        if channel not in figures.channels:
            raise PolicyError(
                f"policies/notify, version {figures.version}: there are no figures for {channel}, "
                "whose provider is configured."
            )
    default = {Channel.WEBHOOK: settings.webhook_default_url or None}
    return Policy(
        version=figures.version,
        in_force_from=figures.in_force_from,
        texts=texts,
        channels={
            channel: ChannelRule(
                retry=figures.channels[channel],
                claim=timedelta(seconds=claim_seconds(settings, channel)),
                default_address=default.get(channel),
            )
            for channel in switched_on(settings)
        },
        default_language=figures.default_language,
        discharge_ahead=settings.discharge_ahead,
    )
