"""What every `schedule:` node takes beside its own arguments.

No torch here: the check at the door reads this dataclass before anything heavy is imported.
"""

from dataclasses import dataclass

from ptft.types import DurationText


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """What comes before any schedule.

    Attributes:
        warmup: Length of the linear rise of the learning rate from 0 to its first value.
    """

    warmup: DurationText = "0st"
