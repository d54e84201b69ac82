"""What requests carry and answers show; unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.auth.roles import ROLES
from services.security.ports import Session, State, User

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{1,31}$")]
"""Of a user to be made."""
TypedName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")]
"""As somebody types it; whether there is such a user is not for the form to tell."""
Text = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")]
Account = Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9_.-]{1,64})$")]
Password = Annotated[SecretStr, Field(min_length=1, max_length=512)]
Code = Annotated[str, Field(pattern=r"^[0-9A-Za-z -]{6,40}$")]


def _known_role(role: str) -> str:
    if role not in ROLES:
        raise ValueError(f"no role is called {role!r}; there are {', '.join(ROLES)}")
    return role


Role = Annotated[str, Field(max_length=32), AfterValidator(_known_role)]
Roles = Annotated[tuple[Role, ...], Field(min_length=1, max_length=8)]
Accounts = Annotated[tuple[Account, ...], Field(max_length=64)]


class Body(BaseModel):
    """A strict body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LoginBody(Body):
    """`cookie` gives the refresh token as a cookie that no script can read."""

    name: TypedName
    password: Password
    code: Code | None = None
    cookie: bool = False


class RefreshBody(Body):
    """A browser sends its cookie and the header `X-CSRF-Token` instead."""

    refresh_token: Annotated[str, Field(pattern=r"^twr_[A-Za-z0-9_-]{43}$")]


class StepUpBody(Body):
    """The code of a user of one-time codes, the password of others."""

    password: Password | None = None
    code: Code | None = None


class PasswordBody(Body):
    """A change of the own password."""

    current_password: Password
    new_password: Password


class ProofBody(Body):
    """The password, to prove that it is really the user."""

    password: Password


class CodeBody(Body):
    """A one-time code."""

    code: Annotated[str, Field(pattern=r"^[0-9]{6}$")]


class FullProofBody(Body):
    """Password and code."""

    password: Password
    code: Code


class UserBody(Body):
    """A user to be made; without a password a random one is made and shown once."""

    name: Name
    display_name: Text | None = None
    roles: Roles
    accounts: Accounts = ()
    password: Password | None = None


class ChangeBody(Body):
    """What is to be different; what is left out stays."""

    display_name: Text | None = None
    roles: Roles | None = None
    accounts: Accounts | None = None
    state: Literal["active", "disabled"] | None = None


class UsersQuery(BaseModel):
    """`after` is the `next` of the page before."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[str, Field(max_length=64, pattern=r"^[^\x00]*$")] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 50


def unique(values: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Return `values`. Raises InvalidInputError if one comes twice."""
    if len(set(values)) != len(values):
        raise InvalidInputError(f"{what}: names one twice")
    return values


def state_of(name: str | None) -> State | None:
    """Return the state of that name, None for None."""
    return None if name is None else State(name)


def user_view(user: User) -> dict[str, Any]:
    """Return a user as the API shows it."""
    return {
        "id": user.id,
        "name": user.name,
        "display_name": user.display_name,
        "roles": user.roles,
        "accounts": user.accounts,
        "state": user.state.value,
        "must_change_password": user.must_change_password,
        "totp_enabled": user.totp_enabled,
        "created_at": user.created_at,
        "updated_at": user.updated_at,
        "password_changed_at": user.password_changed_at,
    }


def session_view(session: Session, current: UUID | None) -> dict[str, Any]:
    """Return a session as the API shows it; `current` is the one that asks."""
    return {
        "id": session.id,
        "user_id": session.user_id,
        "created_at": session.created_at,
        "last_used_at": session.last_used_at,
        "expires_at": session.expires_at,
        "ip": session.ip,
        "user_agent": session.user_agent,
        "stepped_up_at": session.stepped_up_at,
        "current": session.id == current,
    }
