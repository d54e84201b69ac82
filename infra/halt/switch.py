"""The kill switch without the risk manager: its row where the database answers, else a mark.

The mark lies beside the books that it is about. The next `make run` of these books turns it into
the row, after the migrations and before any service is started, and only then removes it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psycopg

from infra.embedded.errors import EmbeddedError
from infra.embedded.home import Home, read_json, write_private
from libs.common.contracts.channels import RISK_ALERTS
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import RiskAlert
from libs.common.domain.vocabulary import Level, TradingState
from libs.common.kernel.clock import Clock
from libs.common.runtime.clocks import SystemClock, Uuid7Ids

ACCOUNT: Final = "main"
_CONNECT_S: Final = 2
_ANSWER_MS: Final = 3000

_HALT: Final = """
    INSERT INTO trading_state (account_id, state, generation, reason, set_by, set_at, flatten)
    VALUES (%(account_id)s, 'halted', 1, %(reason)s, %(set_by)s, %(set_at)s, %(flatten)s)
    ON CONFLICT (account_id) DO UPDATE SET state = 'halted',
        generation = trading_state.generation + 1, reason = excluded.reason,
        set_by = excluded.set_by, set_at = excluded.set_at,
        flatten = excluded.flatten
    RETURNING generation
    """
_TELL: Final = """
    INSERT INTO outbox (id, source, channel, stream, message)
    VALUES (%(id)s, %(source)s, %(channel)s, %(stream)s, %(message)s)
    """
_SOURCE: Final = "risk_manager"


@dataclass(frozen=True, slots=True)
class Order:
    """An order to halt: who, why, when; with `flatten` what comes back goes on closing."""

    reason: str
    set_by: str
    set_at: str
    account_id: str = ACCOUNT
    flatten: bool = False


def order(
    reason: str, account_id: str = ACCOUNT, *, flatten: bool = False, clock: Clock | None = None
) -> Order:
    """Return the order of the person at this terminal."""
    now = (clock or SystemClock()).now()
    return Order(reason, "halt --direct", now.isoformat(), account_id, flatten)


def set_row(database_url: str, given: Order) -> int:
    """Halt in the database; return the new generation. Raises psycopg.Error.

    Every call raises the generation: what was approved before is void. In the same transaction
    an alert goes into the risk manager's outbox: published, and with it audited, once that is
    back.
    """
    options = f"-c statement_timeout={_ANSWER_MS} -c lock_timeout={_ANSWER_MS}"
    with psycopg.connect(database_url, connect_timeout=_CONNECT_S, options=options) as connection:
        row = connection.execute(_HALT, asdict(given)).fetchone()
        assert row is not None
        connection.execute(_TELL, _alert(given, int(row[0])))
    return int(row[0])


def _alert(given: Order, generation: int) -> dict[str, object]:
    clock, ids = SystemClock(), Uuid7Ids()
    alert = RiskAlert(
        account_id=given.account_id,
        code="HALT_DIRECT",
        level=Level.CRITICAL,
        message=f"trading is halted: {given.reason}",
        ts=clock.now(),
        context={"actor": given.set_by, "reason": given.reason, "ordered_at": given.set_at},
        generation=generation,
        state=TradingState.HALTED,
    )
    message_id = ids.new()
    sealed = seal(
        alert,
        message_id=message_id,
        ts_ns=clock.now_ns(),
        source=_SOURCE,
        correlation_id=ids.new(),
    )
    return {
        "id": message_id,
        "source": _SOURCE,
        "channel": RISK_ALERTS.name(),
        "stream": RISK_ALERTS.stream,
        "message": encode(sealed),
    }


def mark_file(home: Home) -> Path:
    """Return where the mark of these books lies."""
    return home.data / "halted.json"


def leave_mark(path: Path, given: Order, *, shared: bool = False) -> Path:
    """Leave the mark; one that is `shared` may be read by the user of a container. Raises
    OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, json.dumps(asdict(given), indent=1) + "\n")
    if shared:
        path.chmod(0o644)
    return path


def honour_mark(home: Home, database_url: str) -> Order | None:
    """Turn the mark into the row, if there is one; return it. Raises EmbeddedError: a run that
    cannot honour a mark must not trade."""
    path = mark_file(home)
    values = read_json(path)
    if not values:
        return None
    try:
        found = Order(**values)  # type: ignore[arg-type]
        set_row(database_url, found)
    except (TypeError, psycopg.Error) as error:
        raise EmbeddedError(
            f"{path} orders a halt that could not be set: {error}",
            "nothing was started; cure that and start again",
        ) from error
    path.unlink()
    return found
