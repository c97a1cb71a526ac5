"""How often somebody may try to sign in or to register.

- A client's address: every call counts, also a good one, as each costs a bcrypt hash.
- A user name: wrong passwords count, from wherever they come, so that many addresses guess no faster than a few. The
  name gets `NAME_SHARE` times the rate: one address alone cannot use it up.
- Where a name has signed in before, it has a count of its own at that address: whoever hammers a name from elsewhere
  does not lock its owner out of the usual places. (OWASP calls this device cookies; here the address is the device.)

A name that nobody has is counted like any other: the limits tell nothing about who exists.
"""

from dataclasses import dataclass

from api.throttling.rate import Rate
from api.throttling.throttle import Limit, Throttle

NAME_SHARE = 2
KNOWN_SECONDS = 30 * 86400
"""How long an address counts as usual after the last time somebody signed in from it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in that was let through to the password."""

    limit: Limit | None
    known: str


class LoginLimits:
    """The limits of `/token` and `/register`; with no rate, none."""

    def __init__(self, throttle: Throttle, rate: Rate | None) -> None:
        self._throttle = throttle
        self._rate = rate

    async def registering(self, address: str, username: str) -> None:
        """Counts a registration.

        Raises:
            TooManyRequests: too many from this address or of this name.
        """
        if self._rate is None:
            return
        key = self._throttle.key
        await self._throttle.take(
            Limit(key("register", "address", address), self._rate),
            Limit(key("register", "name", username), self._rate.times(NAME_SHARE)),
        )

    async def signing_in(self, address: str, username: str) -> Attempt:
        """Counts a sign-in as if its password were wrong; before the password is looked at, so that a flood costs
        no hashes and calls at the same time cannot all slip through.

        Raises:
            TooManyRequests: too many from this address or for this name.
        """
        key = self._throttle.key
        known = key("known", username, address)
        if self._rate is None:
            return Attempt(None, known)
        is_known = await self._throttle.is_marked(known)
        name = key("token", "name", username, address) if is_known else key("token", "name", username)
        limit = Limit(name, self._rate.times(NAME_SHARE))
        await self._throttle.take(Limit(key("token", "address", address), self._rate), limit)
        return Attempt(limit, known)

    async def signed_in(self, attempt: Attempt) -> None:
        """The password was right: the name gets its count back, and the address is known from now on."""
        if attempt.limit is not None:
            await self._throttle.settle(attempt.limit, mark=attempt.known, seconds=KNOWN_SECONDS)
