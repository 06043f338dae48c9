"""Where one system's passport is joined from, for a service and for a command."""

from pathlib import Path

from configs.paths import StatePaths
from vision.passport import Places


def places_of(paths: StatePaths, system: str, carried: Path | None = None) -> Places:
    """carried: the package of a bento, which lies outside the state folder."""
    return Places(
        system=system,
        records=paths.records(system),
        feedback=paths.feedback(system),
        packages=(paths.packages(system), *([carried] if carried is not None else [])),
        stages=paths.stages(system),
    )
