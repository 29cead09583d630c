"""The keys of `[alerts]`: who is told, of what, and by which rules."""

from dataclasses import replace
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from bgjobd.config import values
from bgjobd.config.section import Section
from bgjobd.config.values import shown
from bgjobd.core.alerts import JOURNAL, Watch
from bgjobd.core.need_kinds import ASKED, COUNTED_FOR, KEYS, OF_METHODS, USUAL, Kind

NOTICE: Final = "bgjob.alerts.Notice"
NOTICE_METHODS: Final = ("command", "smtp")
"""The class whose jobs tell targets; nobody can submit any."""


class AlertTarget(Section):
    """Who is told, a target of `[alerts.targets]`: by a job, a command or a mail; one of the three."""

    job: values.JobPath | None = None
    """A method of a class of yours, which gets the notice as `notice`."""
    command: Annotated[tuple[values.Text, ...], values.NotEmpty] | None = None
    """A program by its absolute path, and its arguments; the notice comes on stdin, as JSON."""
    smtp: values.Text | None = None
    """A mail server, as `"127.0.0.1:25"`, without a login."""
    to: tuple[values.Text, ...] = ()
    """Whom mail goes to."""
    sender: values.Text | None = None
    """Whom mail is from; else `bgjobd@` and the machine's host name."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        given = [name for name in ("job", "command", "smtp") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("must have one of job, command and smtp")
        if (self.smtp is not None) != bool(self.to):
            raise ValueError("must have to beside smtp, and beside nothing else")
        if self.command is not None and not self.command[0].startswith("/"):
            raise ValueError(f"must have a command with an absolute path, not {shown(self.command[0])}")
        if self.smtp is not None and not self.smtp.rpartition(":")[2].isdecimal():
            raise ValueError(f'must have smtp with a port, such as "127.0.0.1:25", not {shown(self.smtp)}')
        return self


class AlertRule(Section):
    """A rule of `[alerts.rules]`: a kind by its own name, with other numbers, or one `when`; None is not set."""

    when: Kind | None = None
    """The kind of what it looks for; of a rule by the name of a kind, that one."""
    job: values.Text | None = None
    """A class, or class and method, of whose jobs alone."""
    queue: values.Text | None = None
    """The queue alone."""
    schedule: values.Text | None = None
    """The schedule alone."""
    longer: values.Duration | None = None
    """How long it has to last."""
    times: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """How often the usual."""
    least: values.Count | None = None
    """Of how many it is known what is usual, or how bad they are."""
    last: values.Count | None = None
    """How many in a row."""
    over: values.Duration | None = None
    """Of how long the last attempts count; at most an hour."""
    above: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Which share has to be bad."""
    within: values.Duration | None = None
    """Of `no_success`: how long it may take until one completes."""
    tell: tuple[values.Text, ...] | None = None
    """Whom; none: it is only shown; else `alerts.tell`."""


def _check_rule(name: str, rule: AlertRule) -> None:
    """Raises ValueError where it means nothing, or less than was meant."""
    is_kind = name in list(Kind)
    if rule.when is None and not is_kind:
        raise ValueError(f"rules.{name} must have when: the kind of what it looks for")
    if is_kind and rule.when not in (None, name):
        raise ValueError(f"rules.{name} is the kind of this name, and cannot have when = {shown(rule.when)}")
    kind = Kind(name) if rule.when is None else rule.when
    odd = sorted(rule.model_fields_set - {"when", "tell"} - KEYS[kind])
    if odd:
        has = ", ".join(sorted(KEYS[kind])) or "no key"
        raise ValueError(f"rules.{name} cannot have {odd[0]}: {kind} takes {has}, beside tell")
    if kind is Kind.NO_SUCCESS and None in (rule.job, rule.within):
        raise ValueError(f"rules.{name} must have job and within: what is to complete, and within what time")
    if rule.job is not None and "::" in rule.job and kind not in OF_METHODS:
        raise ValueError(f"rules.{name}.job must be a class, for {kind} knows no methods")
    if rule.over is not None and rule.over > COUNTED_FOR:
        raise ValueError(f"rules.{name}.over must be an hour at most: for so long it is counted")


class Alerts(Section):
    """`[alerts]`: who is told of what needs somebody; nobody, unless there is a target."""

    tell: tuple[values.Text, ...] = ()
    """The targets of kinds and rules that say nothing else; `journal` is the daemon's own log."""
    quiet: values.Duration = 3600.0
    """The same again at the earliest."""
    gather: values.Duration = 10.0
    """What comes within it is one notice."""
    most: values.Count = 20
    """Notices an hour; one more says that others wait."""
    targets: dict[values.ScheduleName, AlertTarget] = Field(default_factory=dict)
    """By name."""
    rules: dict[values.ScheduleName, AlertRule] = Field(default_factory=dict)
    """By name."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        known = {JOURNAL, *self.targets}
        for name, rule in self.rules.items():
            _check_rule(name, rule)
        for place, told in [
            ("tell", self.tell),
            *((f"rules.{n}.tell", r.tell or ()) for n, r in self.rules.items()),
        ]:
            unknown = [one for one in told if one not in known]
            if unknown:
                raise ValueError(
                    f"{place} must name targets ({', '.join(sorted(known))}), not {shown(unknown[0])}"
                )
        return self

    @property
    def is_on(self) -> bool:
        """Whether anything is told, and so stored."""
        return bool(self.tell) or any(rule.tell for rule in self.rules.values())

    @property
    def needs_notice(self) -> bool:
        """Whether some target is told by a job of ours, be it a test alone."""
        return any(target.job is None for target in self.targets.values())

    @property
    def watches(self) -> tuple[Watch, ...]:
        """All rules, those of the kinds first."""
        own = [kind for kind in Kind if kind not in ASKED or kind.value in self.rules]
        names = [*own, *(name for name in self.rules if name not in own)]
        return tuple(self._watch(str(name)) for name in names)

    @property
    def awaiting(self) -> tuple[Watch, ...]:
        """Those that wait for a success; none where nobody is told anything, and so nothing is stored of them."""
        waiting = (one for one in self.watches if one.rule.kind is Kind.NO_SUCCESS)
        return tuple(waiting) if self.is_on else ()

    def _watch(self, name: str) -> Watch:
        asked = self.rules.get(name, AlertRule())
        kind = Kind(name) if asked.when is None else asked.when
        given = {key: getattr(asked, key) for key in asked.model_fields_set - {"when", "tell"}}
        usual = USUAL[kind]
        told = self.tell if asked.tell is None else asked.tell
        return Watch(
            name, replace(usual, **{key: one for key, one in given.items() if one is not None}), told
        )
