"""The support desk's day in Python, with a client that was generated from docs/openapi.json: that it passes the
type checker shows that another generator reads the description alike; that it runs, that it is true.

    client.py SERVER CODE

CODE is the code of the administrator's authenticator app."""

import sys
from collections.abc import Iterator
from http import HTTPStatus
from typing import TypeVar

from auth_client import AuthenticatedClient, Client
from auth_client.api.administration import (
    disable_user,
    enable_user,
    invite_user,
    list_events_of_user,
    list_sessions_of_user,
    list_users,
    mail_link,
    show_user,
    sign_user_out,
)
from auth_client.api.sign_in import confirm, signin
from auth_client.models import (
    Challenged,
    Confirmed,
    ConfirmByCode,
    InvitationRequest,
    InviteUserResponse409,
    InviteUserResponse409Code,
    MailLinkResponse409,
    ManagedEvent,
    ManagedEvents,
    ManagedUser,
    ManagedUserDetails,
    ManagedUsers,
    ObstacleType0,
    Provider,
    SessionsResponse,
    SigninRequest,
    TwoFactor,
    UserState,
)
from auth_client.types import UNSET, Unset

T = TypeVar("T")


def ok(kind: type[T], answer: object) -> T:
    """The answer, which must be one of success, with its type."""
    assert isinstance(answer, kind), answer
    return answer


def check(holds: bool, what: str) -> None:
    assert holds, what
    print(f"  {what}")


def sign_in(server: str, code: str) -> AuthenticatedClient:
    client = Client(server, raise_on_unexpected_status=True)
    credentials = SigninRequest(email="admin@bar.com", password="Secret123")
    details = ok(Challenged, signin.sync(client=client, body=credentials)).field_2_fa_details
    check(details.provider is Provider.TOTP, "admin@bar.com has an authenticator app")
    pair = ok(Confirmed, confirm.sync(client=client, body=ConfirmByCode(str(details.token), code)))
    return AuthenticatedClient(server, pair.access_token.token, raise_on_unexpected_status=True)


def events_of(desk: AuthenticatedClient, number: str) -> Iterator[ManagedEvent]:
    after: str | Unset | None = UNSET
    while after is not None:
        answer = list_events_of_user.sync(number, client=desk, limit=2, after=after)
        page = ok(ManagedEvents, answer)
        yield from page.events
        after = page.next_ or None


def main(server: str, code: str) -> None:
    desk = sign_in(server, code)
    found = ok(ManagedUsers, list_users.sync(client=desk, email="OPS@", state=UserState.ACTIVE)).users
    check([user.email for user in found] == ["ops@bar.com"], "finds a user by the beginning of the address")
    number = found[0].id
    before = ok(ManagedUserDetails, show_user.sync(number, client=desk))
    check(not before.obstacles and before.created_at.tzinfo is not None, "sees that nothing stands in the way")

    done = disable_user.sync_detailed(number, client=desk)
    check(done.status_code == HTTPStatus.NO_CONTENT, "disables the user")
    disabled = ok(ManagedUserDetails, show_user.sync(number, client=desk))
    since = [it.since for it in disabled.obstacles if isinstance(it, ObstacleType0)]
    check(disabled.state is UserState.DISABLED and since == [disabled.disabled_at], "sees since when")
    check(isinstance(mail_link.sync(number, client=desk), MailLinkResponse409), "who gets no link then")
    for act in [enable_user, sign_user_out]:
        assert act.sync_detailed(number, client=desk).status_code == HTTPStatus.NO_CONTENT
    live = ok(SessionsResponse, list_sessions_of_user.sync(number, client=desk)).sessions
    check(not live, "enables the user, who has no session left")

    events = list(events_of(desk, number))
    told = [event.reason for event in events if event.actor]
    check(len(events) > 2 and "disabled" in told, "reads on in the events, its own acts among them")

    wanted = InvitationRequest("new.too@bar.com", two_factor=TwoFactor.OFF)
    invited = ok(ManagedUser, invite_user.sync(client=desk, body=wanted))
    check(invited.state is UserState.INVITED and invited.two_factor is TwoFactor.OFF, "invites a new user")
    again = ok(InviteUserResponse409, invite_user.sync(client=desk, body=wanted))
    check(again.code is InviteUserResponse409Code.ADDRESS_TAKEN, "once")


if __name__ == "__main__":
    main(*sys.argv[1:])
