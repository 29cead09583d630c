"""What all tables of the configuration are, and what several of them check; their keys stand elsewhere."""

from pydantic import BaseModel, ConfigDict, ValidationInfo

from bgjobd.config.values import around, shown


class Section(BaseModel):
    """A table of the file: it knows its keys and refuses others."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def known_queue(value: str | None, info: ValidationInfo) -> str | None:
    """The name of a queue. Raises ValueError where none of [queues] has it."""
    queues = around(info).queues
    if value is not None and queues is not None and value not in queues:
        raise ValueError(f"must be a queue of [queues] ({', '.join(sorted(queues))}), not {shown(value)}")
    return value


def retries_within_cap(value: int | None, info: ValidationInfo) -> int | None:
    """How many retries something asks for. Raises ValueError where [retry] allows fewer."""
    return value if value is None else within_cap(value, around(info).cap)


def within_cap(value: int, cap: object) -> int:
    """The same, where the cap is known; it is none of ours where it was wrong itself."""
    if isinstance(cap, int) and value > cap:
        raise ValueError(f"must be at most the cap of [retry], {cap}, not {shown(value)}")
    return value
