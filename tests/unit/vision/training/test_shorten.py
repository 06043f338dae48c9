from vision.training.config import TrainingConfig
from vision.training.shorten import at_most, shortened

STAGES = [
    {"name": "head", "epochs": 5, "trainable": "head", "lr": 1e-3},
    {"name": "all", "epochs": 15, "trainable": "all", "lr": 1e-4, "warmup_epochs": 3},
]
SCRATCH = [{"name": "scratch", "epochs": 40, "trainable": "all", "lr": 1e-3}]
TRAINING = TrainingConfig(stages=STAGES, stages_from_scratch=SCRATCH)


def epochs(stages):
    return [stage.epochs for stage in stages]


def test_stages_shrink_alike_with_their_warm_up():
    found = shortened(TRAINING, 0.4)
    assert epochs(found.stages) == [2, 6] and epochs(found.stages_from_scratch) == [16]
    assert found.stages[1].warmup_epochs == 1.2
    TrainingConfig.model_validate(found.model_dump())


def test_no_stage_vanishes_and_none_grows():
    assert epochs(shortened(TRAINING, 0.001).stages) == [1, 1]
    assert shortened(TRAINING, 1.0) is TRAINING and shortened(TRAINING, 7) is TRAINING


def test_the_list_that_will_be_trained_is_the_one_that_is_counted():
    assert epochs(at_most(TRAINING, TRAINING.stages, 8).stages) == [2, 6]
    assert epochs(at_most(TRAINING, TRAINING.stages_from_scratch, 8).stages_from_scratch) == [8]
    assert at_most(TRAINING, TRAINING.stages, None) is TRAINING
