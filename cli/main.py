"""`tradewind`: run the system, look at it, and tell it what to do."""

from __future__ import annotations

import atexit
import gc
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from cli import (
    approvals,
    audit,
    audit_archive,
    backtest,
    backtest_compare,
    check,
    cpcv,
    halting,
    key,
    ledger,
    login,
    new,
    order,
    parity,
    position,
    protection,
    reconcile,
    run,
    secret,
    session,
    strategy,
    strategy_check,
    sweep,
    tables,
    totp,
    user,
    walk_forward,
)
from cli.client import Gateway
from cli.errors import CommandError, Exit
from infra.embedded.view_panels import money, signed, styled
from infra.embedded.view_snapshot import rows_of


class Edge(TyperGroup):
    """Where a failure becomes a sentence on stderr and an exit code, not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            typer.secho(f"error: {error}", err=True, fg="red")
            raise typer.Exit(error.code) from error


app = typer.Typer(
    cls=Edge,
    help="A self-hosted algorithmic trading desk.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(audit.app, name="audit")
app.add_typer(ledger.app, name="ledger")
app.add_typer(new.app, name="new")
app.add_typer(order.app, name="order")
app.add_typer(position.app, name="position")
app.add_typer(reconcile.app, name="reconcile")
app.add_typer(protection.app, name="protection")
app.add_typer(strategy.app, name="strategy")
app.add_typer(check.app, name="check")
app.add_typer(user.app, name="user")
app.add_typer(session.app, name="session")
app.add_typer(totp.app, name="totp")
app.add_typer(key.app, name="key")
app.add_typer(approvals.app, name="approvals")
app.add_typer(secret.app, name="secret")
app.command()(login.login)
app.command()(login.logout)
app.command()(login.whoami)
app.command("step-up")(login.step_up)
app.command()(login.password)
strategy.app.command()(strategy_check.check)
audit.app.command()(audit_archive.export)
audit.app.command("check-export")(audit_archive.check_export)
audit.app.command()(audit_archive.prune)
audit.app.command()(audit_archive.forget)
console = Console(highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Strategy = Annotated[str | None, typer.Option("--strategy", help="Only this strategy.")]


@app.command()
def up(
    feed: Annotated[str | None, typer.Option(help="history, replay or synthetic.")] = None,
    file: Annotated[str | None, typer.Option(help="Files to replay, comma-separated.")] = None,
    broker: Annotated[str | None, typer.Option(help="simulator or alpaca.")] = None,
    factor: Annotated[str | None, typer.Option(help="Market seconds per second.")] = None,
    symbols: Annotated[str | None, typer.Option(help="Comma-separated symbols.")] = None,
    detach: Annotated[bool, typer.Option(help="Start in the background and return.")] = False,
) -> None:
    """Run the whole system here, or show the one that runs already."""
    run.choose(feed=feed, file=run.absolute(file), broker=broker, factor=factor, symbols=symbols)
    code = run.start_detached(console) if detach else run.start()
    raise typer.Exit(code)


@app.command()
def down() -> None:
    """Stop the running system in good order."""
    run.stop(console)


@app.command()
def status(as_json: Json = False) -> None:
    """Show services, account and trading state. Exit code 1 if something is not fine."""
    with Gateway() as gateway:
        health = gateway.get("/api/v1/monitoring/health")
        account = gateway.get("/api/v1/portfolio/account")
        risk = gateway.get("/api/v1/risk/state")
    if as_json:
        _print_json({"health": health, "account": account, "risk": risk})
    else:
        table = tables.grid("service", "state", "why")
        for row in run.services_of(health):
            reasons = row.get("reasons") or ()
            table.add_row(str(row.get("service")), styled(row.get("state")), "; ".join(reasons))
        tables.show(console, table)
        console.print(
            f"equity {money(account.get('equity'))}  cash {money(account.get('cash'))}  day P&L",
            signed(account.get("day_pnl")),
            " trading",
            styled(risk.get("state")),
        )
    if any(row.get("state") != "ok" for row in run.services_of(health)):
        raise typer.Exit(Exit.FAILED)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A service, or supervisor, postgres, …")] = (
        "supervisor"
    ),
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
) -> None:
    """Show the log of one part of the embedded system."""
    run.show_log(name, lines, follow=follow)


@app.command()
def orders(
    status: Annotated[str | None, typer.Option(help="Only this status, e.g. filled.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Only this symbol.")] = None,
    strategy_id: Strategy = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """List orders, newest first."""
    chosen = {"status": status, "symbol": symbol, "strategy_id": strategy_id, "limit": limit}
    with Gateway() as gateway:
        answer = gateway.get("/api/v1/orders", chosen)
    if as_json:
        _print_json(answer)
    elif rows := rows_of(answer):
        tables.show(console, tables.orders(rows))
    else:
        console.print("no orders")


@app.command()
def positions(strategy_id: Strategy = None, as_json: Json = False) -> None:
    """List positions at their marks; with --strategy, what that strategy holds and has made."""
    path, chosen = "/api/v1/portfolio/positions", {}
    if strategy_id is not None:
        path, chosen = "/api/v1/portfolio/strategies", {"strategy_id": strategy_id}
    with Gateway() as gateway:
        answer = gateway.get(path, chosen)
    if as_json:
        _print_json(answer)
    elif rows := rows_of(answer):
        table = tables.positions(rows) if strategy_id is None else tables.shares(rows)
        tables.show(console, table)
    else:
        console.print("no positions" if strategy_id is None else f"{strategy_id} has not traded")


@app.command()
def strategies(as_json: Json = False) -> None:
    """List strategies: what runs on which symbols, and where it stands."""
    strategy.list_all(as_json=as_json)


@app.command()
def signals(
    strategy_id: Strategy = None,
    symbol: Annotated[str | None, typer.Option(help="Only this symbol.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """List signals, newest first."""
    strategy.list_signals(strategy_id, symbol, limit, as_json=as_json)


app.command("halt")(halting.halt)
app.command("backtest")(backtest.backtest)
app.command("sweep")(sweep.sweep)
app.command("walk-forward")(walk_forward.walk_forward)
app.command("cpcv")(cpcv.cpcv)
app.command("parity")(parity.parity)
app.command("compare")(backtest_compare.compare)


@app.command()
def resume(reason: Annotated[str, typer.Argument(help="Why; it is recorded.")]) -> None:
    """Trade again after a halt."""
    halting.switch("resume", {"reason": reason})


@app.command()
def trace(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Any id on the way of a tick.")],
    as_json: Json = False,
) -> None:
    """Show everything that one tick, signal, order or trade led to, with the time of each step."""
    with Gateway() as gateway:
        story = gateway.get(f"/api/v1/audit/trace/{run.path_part(identifier)}")
    if as_json:
        _print_json(story)
    else:
        tables.show(console, tables.trace(story))
        console.print(f"in all {tables.milliseconds(story.get('duration_ms'))}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is wrong and what to do. Exit code 1 if anything is."""
    from cli import doctor as diagnosis  # it knows the whole embedded system: half a second

    findings = diagnosis.examine()
    if as_json:
        _print_json([finding.as_dict() for finding in findings])
    else:
        for finding in findings:
            console.print(diagnosis.line(finding), soft_wrap=True)
    if any(finding.verdict is diagnosis.Verdict.WRONG for finding in findings):
        raise typer.Exit(Exit.FAILED)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def main() -> None:
    """Run the command."""
    # A command lives for seconds and drops little: a sixth of a short one's time went into looking
    # for cycles among what it had imported, most of it once more as it ended.
    gc.set_threshold(100_000, 2, 2)
    atexit.register(gc.freeze)
    app()


if __name__ == "__main__":
    main()
