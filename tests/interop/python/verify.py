"""Verifies access tokens with PyJWT, and knows which sessions have ended."""

import base64
import json
import threading
import time
import urllib.request
from datetime import datetime

import jwt


class Refused(Exception):
    """The token is not good: answer 401."""


class Unavailable(Exception):
    """It cannot be told whether the token is good: answer 503."""


class EndedSessions:
    """Follows the feed of sessions that ended before their tokens did."""

    POLL = 0.5  # seconds; a sign-out is known after this and a round trip
    TRUSTED = 10  # seconds without an answer after which nothing is concluded any more

    def __init__(self, auth_url, client_id, secret):
        self._url = f"{auth_url}/api/v2/revocations"
        credentials = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}"}
        self._ended = {}
        self._cursor = None
        self._complete_at = None
        threading.Thread(target=self._follow, daemon=True).start()

    def has(self, session_id):
        if session_id in self._ended:
            return True
        if self._complete_at is None or time.monotonic() - self._complete_at > self.TRUSTED:
            raise Unavailable("the feed of ended sessions is not being read")
        return False

    def _follow(self):
        while True:
            try:
                while self._read():  # at once again, until an answer brings nothing new
                    pass
            except (OSError, ValueError, KeyError):
                pass  # the known entries stay; has() tells when they have grown too old
            time.sleep(self.POLL)

    def _read(self):
        started = time.monotonic()
        query = f"?since={self._cursor}" if self._cursor else ""
        request = urllib.request.Request(self._url + query, headers=self._headers)
        with urllib.request.urlopen(request, timeout=2) as response:
            page = json.load(response)
        listed = {
            entry["sessionId"]: datetime.fromisoformat(entry["expiresAt"]).timestamp()
            for entry in page["revocations"]
        }
        is_news = not listed.keys() <= self._ended.keys()
        expired = time.time() - 60
        kept = {session: at for session, at in self._ended.items() if at > expired}
        self._ended, self._cursor = kept | listed, page["cursor"]
        if not is_news:
            self._complete_at = started
        return is_news


class Verifier:
    def __init__(self, auth_url, issuer, audience, ended, max_age=300, cooldown=30):
        self._issuer, self._audience, self._ended = issuer, audience, ended
        self._keys = jwt.PyJWKClient(
            f"{auth_url}/.well-known/jwks.json",
            lifespan=max_age,  # the max-age of the key set
            cooldown_duration=cooldown,  # less than keys.publish_seconds
            timeout=3,
        )

    def verify(self, token):
        """The claims of a token that is good."""
        try:
            decoded = jwt.decode_complete(
                token,
                self._keys.get_signing_key_from_jwt(token),
                algorithms=["RS256"],
                issuer=self._issuer,
                audience=self._audience,
                # Whether `iat` has passed is a question to two clocks, and decides nothing.
                options={"require": ["exp", "iat", "sub", "sid", "jti"], "verify_iat": False},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise Unavailable(error) from error
        except jwt.PyJWTError as error:
            raise Refused(error) from error
        if decoded["header"].get("typ") != "at+jwt":
            raise Refused("not an access token")
        claims = decoded["payload"]
        if self._ended.has(claims["sid"]):
            raise Refused("the session has ended")
        return claims
