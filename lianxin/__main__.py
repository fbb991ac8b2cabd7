"""What can the command line do? One module for each command; here they get their names."""

from __future__ import annotations

import logging

import typer

from lianxin import (
    backup,
    dead_letters,
    doctor,
    outbox,
    partner,
    policy,
    replay,
    rewind,
    status,
    token,
    topics,
    trace,
)

HELP = """Look at and act on an installation of Lianxin.

It reaches Kafka and the database by the services' own settings (docs/settings.md); without any it
is the platform of `make run`. What writes shows first what it would do; --apply does it.
Exit codes: 0 well, 1 something to look at, 2 wrongly asked or set, 3 a part can't be reached.
"""

app = typer.Typer(
    name="lianxin",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _quiet() -> None:
    # What a client library tells about its retries is not for who asked one question.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


app.command("status")(status.status)
app.command("outbox")(outbox.outbox)
app.command("trace")(trace.trace)
app.add_typer(dead_letters.app, name="dlq")
app.command("replay")(replay.replay)
app.add_typer(topics.app, name="topics")
app.add_typer(partner.app, name="partner")
app.add_typer(policy.app, name="policy")
backup.app.command("rewind")(rewind.rewind)
app.add_typer(backup.app, name="backup")
app.command("doctor")(doctor.doctor)
app.command("token")(token.token)

if __name__ == "__main__":
    app(prog_name="lianxin")
