"""What became of messages whose claims were written. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from streams.redis.generations import ADVANCED, NotAdvanced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Written(NamedTuple):
    """What became of the claims of messages.

    Attributes:
        changed: how many cells changed.
        too_late: by the number of a message, the days whose hours are no longer kept and of which
            only a part had a report that this one does not outrank.
        not_advanced: why the messages do not count as applied, if they do not.
        too_large: by the number of a message, why Redis refused it for its size.
        over_quota: by the number of a message that was left out, why its pool may not have more.
        damaged: the numbers of the messages whose series is damaged, so that they changed nothing.
    """

    changed: int
    too_late: Mapping[int, Sequence[int]]
    not_advanced: NotAdvanced = ADVANCED
    too_large: Mapping[int, str] = MappingProxyType({})
    over_quota: Mapping[int, str] = MappingProxyType({})
    damaged: Sequence[int] = ()


@dataclass
class Outcome:
    """What became of a batch so far, by the numbers of its messages."""

    changed: int = 0
    too_late: dict[int, list[int]] = field(default_factory=dict)
    not_advanced: NotAdvanced = ADVANCED
    too_large: dict[int, str] = field(default_factory=dict)
    over_quota: dict[int, str] = field(default_factory=dict)
    damaged: set[int] = field(default_factory=set)
    begun: int | None = None
    """The message of which a part was written last."""

    def add(self, numbers: Sequence[int], written: Written) -> None:
        """Add what became of a piece, whose messages have these numbers."""
        self.changed += written.changed
        self.not_advanced = written.not_advanced
        for position, days in written.too_late.items():
            known = self.too_late.setdefault(numbers[position], [])
            known += [day for day in days if day not in known]
        self.damaged.update(numbers[position] for position in written.damaged)
        if numbers:
            self.begun = numbers[-1]

    @property
    def written(self) -> Written:
        """The outcome of the whole batch."""
        return Written(
            self.changed,
            self.too_late,
            self.not_advanced,
            self.too_large,
            self.over_quota,
            tuple(sorted(self.damaged)),
        )
