"""What a service writes down about its answers, for how long, and how it follows its release."""

from typing import Annotated

from pydantic import Field

from vision.settings import Section

Days = Annotated[int, Field(ge=1, le=3650)]


class KeepingConfig(Section):
    """Days that stand on disk, today not counted. Whole days go, the oldest first."""

    records_days: Days = 90
    feedback_days: Days = 365
    inbox_days: Days = 30
    """Images that a client asked to keep."""
    inbox_mib: Annotated[int, Field(ge=1)] = 1024
    """Of kept images in one day's folder; past it images are answered and not kept."""
