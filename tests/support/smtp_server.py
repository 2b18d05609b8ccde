"""A real SMTP server on loopback that keeps the mails it took, and fails to order."""

import asyncio
import email
import email.policy
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, cast

from aiosmtpd.smtp import SMTP


@dataclass
class Sink:
    """Took `mails`, by recipient. `plans` says how the next tries for a recipient fail: a reply to RCPT as `451 no`,
    `drop` once the mail is there, `silence` then; `hold` takes the mail, but only when it is `released`."""

    port: int = 0
    mails: dict[str, list[EmailMessage]] = field(default_factory=lambda: defaultdict(list))
    plans: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    tries: int = 0
    held: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802 - aiosmtpd's
        self.tries += 1
        plan = self.plans[address]
        if plan and plan[0][0] in "45":
            return plan.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802 - as above
        (to,) = envelope.rcpt_tos
        plan = self.plans[to].pop(0) if self.plans[to] else ""
        if plan == "drop":
            cast(asyncio.Transport, server.transport).abort()
        elif plan == "silence":
            await asyncio.Event().wait()
        elif plan and plan != "hold":
            return plan.removeprefix("data ")
        else:
            if plan:
                self.held += 1
                await self.released.wait()
            message = email.message_from_bytes(envelope.content, policy=email.policy.default)
            self.mails[to].append(cast(EmailMessage, message))
        return "250 OK"


@asynccontextmanager
async def smtp_server() -> AsyncIterator[Sink]:
    """A server, to the end of the block."""
    sink = Sink()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(sink, hostname="localhost", loop=loop), "127.0.0.1", 0)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        await server.wait_closed()
