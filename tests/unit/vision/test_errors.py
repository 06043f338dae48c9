import pickle

from vision.errors import MachineError, UserError


def test_a_user_error_says_got_allowed_and_what_to_do():
    text = str(UserError("epochs = 0", "at least 1", "correct it"))
    assert text.splitlines() == ["epochs = 0", "  allowed: at least 1", "  to do:   correct it"]


def test_a_user_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(UserError("a", "b", "c")))
    assert (error.got, error.allowed, error.do) == ("a", "b", "c") and str(error) == str(UserError("a", "b", "c"))


def test_a_fault_of_the_machine_is_no_mistake_of_the_user():
    error = pickle.loads(pickle.dumps(MachineError("disk full", "1 GB free", "free some")))
    assert type(error) is MachineError and not isinstance(error, UserError) and error.do == "free some"
