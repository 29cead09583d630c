"""Which right each method takes, and the check whether a caller has it, by the users and groups of `[access]`."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from bgjob.errors import PermissionDeniedError
from bgjobd.api.peer import Caller
from bgjobd.config import sections

_LARGEST_ID: Final = 2**32 - 2  # the next one is the kernel's word for "none"


class Right(StrEnum):
    """What `[access]` grants, by the name of its key."""

    SUBMIT = "submit"
    MANAGE = "manage"
    READ = "read"
    OWN = "own"
    """Root's and the daemon's own user's: `[access]` has no key for it."""


RIGHTS: Final[Mapping[str, Right]] = {
    "Submit": Right.SUBMIT,
    "SubmitMany": Right.SUBMIT,
    "Change": Right.SUBMIT,
    "Cancel": Right.MANAGE,
    "Retry": Right.MANAGE,
    "Matching": Right.READ,
    "RetryMatching": Right.MANAGE,
    "CancelMatching": Right.MANAGE,
    "Changes": Right.READ,
    "Again": Right.SUBMIT,
    "Settle": Right.MANAGE,
    "RetryGroup": Right.MANAGE,
    "SealGroup": Right.SUBMIT,
    "Signal": Right.SUBMIT,
    "CancelGroup": Right.SUBMIT,
    "Stack": Right.MANAGE,
    "Pause": Right.MANAGE,
    "Resume": Right.MANAGE,
    "HoldClass": Right.MANAGE,
    "ResumeClass": Right.MANAGE,
    "Reload": Right.MANAGE,
    "Drain": Right.MANAGE,
    "RunSchedule": Right.MANAGE,
    "PauseSchedule": Right.MANAGE,
    "ResumeSchedule": Right.MANAGE,
    "Backfill": Right.MANAGE,
    "PutSchedule": Right.MANAGE,
    "DeleteSchedule": Right.MANAGE,
    "Get": Right.READ,
    "List": Right.READ,
    "Logs": Right.READ,
    "Errors": Right.READ,
    "Error": Right.READ,
    "Trend": Right.READ,
    "ClassTrends": Right.READ,
    "ClassStats": Right.READ,
    "Wait": Right.READ,
    "Watch": Right.READ,
    "Output": Right.READ,
    "Classes": Right.READ,
    "Stats": Right.READ,
    "Running": Right.READ,
    "Needs": Right.READ,
    "Alerts": Right.READ,
    "AcknowledgeAlert": Right.MANAGE,
    "MuteAlerts": Right.MANAGE,
    "TestAlerts": Right.MANAGE,
    "Hosts": Right.READ,
    "Keys": Right.READ,
    "Labels": Right.READ,
    "Values": Right.READ,
    "Steps": Right.READ,
    "Why": Right.READ,
    "Schedules": Right.READ,
    "Occurrences": Right.READ,
    "Group": Right.READ,
    "Groups": Right.READ,
    "WaitGroup": Right.READ,
    "Graph": Right.READ,
    "Prune": Right.OWN,
    "PruneLogs": Right.OWN,
    "HostLost": Right.OWN,
    "HostAccept": Right.OWN,
}
"""The right that each method of org.bgjobd.Jobs takes."""


@dataclass(frozen=True, slots=True)
class Members:
    """Users and groups, by number."""

    uids: frozenset[int]
    gids: frozenset[int]

    def has(self, caller: Caller) -> bool:
        """Whether the caller, or a group that the kernel says the caller is in, is among them."""
        if caller.is_unmapped:
            return False
        return caller.uid in self.uids or caller.gid in self.gids or not self.gids.isdisjoint(caller.groups)


@dataclass(frozen=True, slots=True)
class Access:
    """Who has which right; one that is not in `members` belongs to whoever can connect."""

    own_uid: int
    members: Mapping[Right, Members]
    unknown: tuple[str, ...]
    """Names of the configuration that this machine does not know, as they are written there; they grant nothing."""
    uids: Mapping[str, int] = field(default_factory=dict)
    """By role of PostgreSQL the user whose rights it has."""

    @classmethod
    def from_config(cls, given: sections.Access) -> Access:
        """The numbers behind the names, as this machine has them now."""
        listed = {Right.SUBMIT: given.submit, Right.MANAGE: given.manage, Right.READ: given.read}
        ids = {
            name: _try_id(name) for names in (*listed.values(), given.roles.values()) for name in names or ()
        }
        return cls(
            os.geteuid(),
            {Right.OWN: _members((), {})}
            | {right: _members(names, ids) for right, names in listed.items() if names is not None},
            tuple(name for name, number in ids.items() if number is None),
            {role: number for role, name in given.roles.items() if (number := ids[name]) is not None},
        )

    def lists(self, right: Right) -> bool:
        """Whether some have this right and others have not."""
        return right in self.members

    def why_refused(self, caller: Caller, right: Right) -> str | None:
        """Why the caller may not use this right; None where it may."""
        members = self.members.get(right)
        is_own = caller.uid in (0, self.own_uid) and not caller.is_unmapped
        if members is None or is_own or members.has(caller):
            return None
        if caller.is_unmapped:
            return (
                f"uid {caller.uid} is whoever has no number in this container, and may not {right}; "
                "map the users of the socket's other end into its user namespace"
            )
        if right is Right.OWN:
            return (
                f"uid {caller.uid} may not do that; root and the daemon's own user may (uid {self.own_uid})"
            )
        return (
            f"uid {caller.uid} may not {right}; "
            f"list it, or a group of it, under [access] {right} in the daemon's configuration"
        )


class Grants:
    """Who may do what now, and who is about it: a right that is taken away ends what goes on with it."""

    def __init__(self) -> None:
        nobody = Members(frozenset(), frozenset())
        self._access = Access(os.geteuid(), dict.fromkeys(Right, nobody), ())
        self._held: dict[asyncio.Timeout, tuple[Caller, Right]] = {}

    def change(self, access: Access) -> None:
        """Let this hold from now on."""
        self._access = access
        now = asyncio.get_running_loop().time()
        lost = [held for held, claim in self._held.items() if access.why_refused(*claim) is not None]
        for held in lost:
            del self._held[held]
            held.reschedule(now)

    def check(self, caller: Caller, right: Right) -> None:
        """Raises PermissionDeniedError."""
        reason = self._access.why_refused(caller, right)
        if reason is not None:
            raise PermissionDeniedError(reason=reason)

    def why_refused(self, caller: Caller, right: Right) -> str | None:
        """Why the caller may not use this right; None where it may."""
        return self._access.why_refused(caller, right)

    def why_no_submit(self, uid: int) -> str | None:
        """Why this user, who need not be connected, may not submit; None where it may."""
        if not self._access.lists(Right.SUBMIT):
            return None
        return self._access.why_refused(_user(uid), Right.SUBMIT)

    def caller_of(self, role: str) -> Caller:
        """The user for whom a role of PostgreSQL submits. Raises PermissionDeniedError."""
        uid = self._access.uids.get(role)
        if uid is None:
            told = f"role {role} may not submit; list it under [access.roles] in the daemon's configuration"
            raise PermissionDeniedError(reason=told)
        caller = _user(uid)
        self.check(caller, Right.SUBMIT)
        return caller

    @asynccontextmanager
    async def holding(self, caller: Caller, right: Right) -> AsyncIterator[None]:
        """Meanwhile the caller has the right. Raises PermissionDeniedError, as soon as it has it no more."""
        self.check(caller, right)
        held = asyncio.timeout(None)  # the standard way to break off from outside what a task waits for
        try:
            async with held:
                self._held[held] = caller, right
                try:
                    yield
                finally:
                    self._held.pop(held, None)
        except TimeoutError:
            if held.expired():
                self.check(caller, right)
            raise


def _user(uid: int) -> Caller:
    """A user with the groups that this machine has it in now; none where it is not known any more."""
    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        return Caller(0, uid, _LARGEST_ID)
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return Caller(0, uid, account.pw_gid, frozenset(groups))


def _members(names: Iterable[str], ids: Mapping[str, int | None]) -> Members:
    known = {name: number for name in names if (number := ids[name]) is not None}
    return Members(
        frozenset(number for name, number in known.items() if not name.startswith("@")),
        frozenset(number for name, number in known.items() if name.startswith("@")),
    )


def _try_id(name: str) -> int | None:
    """The uid of a user, or the gid of a "@group"; digits are the number itself."""
    if name.startswith("@"):
        return _try_number(name[1:], lambda group: grp.getgrnam(group).gr_gid)
    return _try_number(name, lambda user: pwd.getpwnam(user).pw_uid)


def _try_number(name: str, look_up: Callable[[str], int]) -> int | None:
    if name.isascii() and name.isdecimal():
        return int(name) if len(name) <= 10 and int(name) <= _LARGEST_ID else None
    try:
        return look_up(name)
    except KeyError:
        return None
