"""Tasks that a backbone is pre-trained on, by the config's `pretraining.method`."""

from vision.training.drawn_defects import DrawnDefects
from vision.training.pretraining import DrawnDefectsConfig, SimClrConfig
from vision.training.simclr import SimClr

Pretext = SimClr | DrawnDefects


def pretext(config: SimClrConfig | DrawnDefectsConfig) -> Pretext:
    if isinstance(config, DrawnDefectsConfig):
        return DrawnDefects(config.hidden, config.views)
    return SimClr(config.temperature, config.hidden, config.size)
