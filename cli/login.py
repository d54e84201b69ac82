"""`tradewind login`, `logout`, `whoami`, `step-up`, `password`: who you are to the gateway."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from cli import asking
from cli.client import Gateway, gateway_url
from cli.errors import CommandError, Exit, code_of
from cli.session_store import SessionStore, StoredSession

if TYPE_CHECKING:
    import httpx

AUTH: Final = "/api/v1/auth"
TRIES: Final = 3
console = Console(highlight=False)


def login(
    name: Annotated[str | None, typer.Option(help="Your user name; asked for if missing.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    code: Annotated[str | None, typer.Option(help="The one-time code, if you use them.")] = None,
) -> None:
    """Log in: later commands act as you, until `tradewind logout`."""
    name = name or str(typer.prompt("User", default=getpass.getuser(), err=True))
    password = asking.from_stdin("password") if password_stdin else asking.password()
    from cli.identity import nobody

    with Gateway(identity=nobody) as gateway:
        store = SessionStore(gateway.url)
        body = {"name": name, "password": password, **({"code": code} if code else {})}
        response = gateway.send("POST", f"{AUTH}/login", json=body)
        if code_of(response) == "factor-required" and not code:
            body["code"] = asking.code()
            response = gateway.send("POST", f"{AUTH}/login", json=body)
        grant = _good(response)
        session = StoredSession.of(gateway.url, grant)
        if grant["user"]["must_change_password"]:
            if password_stdin:
                raise CommandError("this password must be changed first: log in at a terminal")
            asking.say("This password was given to you: choose your own now.")
            session = _with_own_password(gateway, session, password)
    with store.locked():
        store.write(session)
    console.print(f"logged in as {session.user} at {session.url}")


def _with_own_password(gateway: Gateway, session: StoredSession, password: str) -> StoredSession:
    """Return the login after its user has chosen a password. Raises CommandError."""
    for left in reversed(range(TRIES)):
        response = gateway.send(
            "POST",
            f"{AUTH}/password",
            json={"current_password": password, "new_password": asking.new_password()},
            headers={"Authorization": f"Bearer {session.access_token}"},
        )
        try:
            return session.with_access(_good(response))
        except CommandError as error:
            if not left:
                raise
            asking.say(str(error))
    raise AssertionError("unreachable")


def logout(
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="End all your sessions, also elsewhere.")
    ] = False,
) -> None:
    """End the login; its tokens are void at once."""
    store = SessionStore(gateway_url())
    session = store.read()
    if session is None:
        console.print("nobody is logged in")
        return
    try:
        with Gateway() as gateway:
            gateway.post(f"{AUTH}/logout{'-everywhere' if everywhere else ''}", {})
    except CommandError as error:
        # The login is over, which was wanted.
        if error.code is not Exit.NOT_LOGGED_IN:
            raise
    store.remove()
    console.print(f"{session.user} is logged out")


def whoami(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Show as whom commands act, and what that allows."""
    with Gateway() as gateway:
        me = gateway.get(f"{AUTH}/me")
    if as_json:
        console.print_json(data=me)
        return
    console.print(f"[bold]{escape(me['name'])}[/bold] ({me['kind']}) at {gateway.url}")
    console.print(f"roles        {', '.join(me['roles']) or '–'}")
    console.print(f"accounts     {', '.join(me['accounts']) or '–'}")
    console.print(f"may          {', '.join(me['permissions']) or '–'}", soft_wrap=True)
    if me.get("stepped_up_at"):
        console.print(f"stepped up   {me['stepped_up_at']}")


def step_up() -> None:
    """Prove again that it is you: what is dangerous is open to you for some minutes."""
    from cli.identity import proving

    with Gateway(identity=proving) as gateway:
        me = gateway.get(f"{AUTH}/me")
    console.print(f"{me['name']} has proven again that it is them")


def password() -> None:
    """Change your password; your other sessions end."""
    store = SessionStore(gateway_url())
    session = store.read()
    if session is None:
        raise CommandError("log in with `tradewind login` first", Exit.NOT_LOGGED_IN)
    current = asking.password("Present password")
    body = {"current_password": current, "new_password": asking.new_password()}
    with Gateway() as gateway:
        answer = gateway.post(f"{AUTH}/password", body)
    with store.locked():
        store.write((store.read() or session).with_access(answer))
    console.print("changed; your other sessions are ended")


def _good(response: httpx.Response) -> dict[str, Any]:
    from cli.identity import good

    return good(response)
