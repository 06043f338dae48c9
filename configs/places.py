"""Where one system's passport is joined from, for a service and for a command."""

from pathlib import Path

from configs.paths import StatePaths
from vision.passport import Places


def places_of(paths: StatePaths, system: str, *carried: Path) -> Places:
    """carried: packages that lie outside the state folder, as that of a bento does."""
    return Places(
        system=system,
        records=paths.records(system),
        feedback=paths.feedback(system),
        packages=(paths.packages(system), *carried),
        stages=paths.stages(system),
    )
