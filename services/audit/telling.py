"""What a person does to the record itself by a command, put on record: through the outbox of the
audit service, in the transaction that does it."""

from __future__ import annotations

import uuid
from typing import Any

from libs.common.contracts.channels import AUDIT_EVENTS
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import AuditEvent
from libs.common.kernel.clock import to_ns


def outbox_row(event: AuditEvent) -> dict[str, Any]:
    """Return the outbox row that puts `event` on record."""
    envelope = seal(
        event,
        message_id=uuid.uuid4(),
        ts_ns=to_ns(event.ts),
        source="audit",
        correlation_id=uuid.uuid4(),
    )
    return {
        "id": envelope.id,
        "source": "audit",
        "channel": AUDIT_EVENTS.name(),
        "stream": AUDIT_EVENTS.stream,
        "message": encode(envelope),
    }
