import pytest
from prefect.states import Completed, Failed

from flows.command import AGAINST, DONE, FAULT, MISTAKE, complain, finish, guarded, overrides
from vision.errors import UserError

MISTAKEN = UserError("training.lr = -1", "more than 0", "raise it")


def raising(error):
    def work():
        raise error

    return work


def test_overrides_are_split_at_the_first_equals_sign_and_the_last_one_wins():
    assert overrides(["a.b=1", "c={x: y=z}", "a.b=2", "d="]) == {"a.b": "2", "c": "{x: y=z}", "d": ""}


def test_an_override_without_a_value_is_the_users_mistake():
    with pytest.raises(UserError, match=r"--set training\.lr"):
        overrides(["training.lr"])


def test_a_message_goes_to_stderr_and_leaves_stdout_to_results(capsys):
    assert complain("no such system", MISTAKE) == MISTAKE
    assert capsys.readouterr() == ("", "\nerror: no such system\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MISTAKEN, MISTAKE, "to do:   raise it"),
        (RuntimeError("disk gone"), FAULT, "RuntimeError: disk gone"),
        (KeyboardInterrupt(), FAULT, "stopped"),
    ],
)
def test_what_was_raised_is_one_message_and_a_code(error, code, said, capsys):
    assert guarded(raising(error), verbose=False) == code
    err = capsys.readouterr().err
    assert said in err and err.count("error:") == 1 and "Traceback" not in err


@pytest.mark.parametrize("error", [MISTAKEN, RuntimeError("disk gone")])
def test_verbose_adds_the_traceback(error, capsys):
    guarded(raising(error), verbose=True)
    assert "Traceback" in capsys.readouterr().err


def test_a_broken_contract_is_a_verdict_and_names_its_reasons(capsys):
    assert finish(Failed(name="ContractFailed", message="min_images_per_class: 3")) == AGAINST
    assert "min_images_per_class: 3" in capsys.readouterr().err


def test_a_lost_gate_is_a_verdict_and_prints_the_report(capsys):
    assert finish(finished("Rejected", {"text": "macro_f1 too low", "passed": False})) == AGAINST
    assert capsys.readouterr().out == "macro_f1 too low\n"


def test_a_flow_that_ends_well_prints_its_text_or_its_values(capsys):
    assert finish(finished("Completed", {"text": "version 1"})) == DONE
    assert finish(finished("Completed", {"headline": "macro_f1", "value": 0.9})) == DONE
    assert capsys.readouterr().out == "version 1\nheadline: macro_f1\nvalue: 0.9\n"


def test_what_a_flow_raised_comes_back_as_itself():
    with pytest.raises(UserError, match=r"training\.lr"):
        finish(Failed(data=MISTAKEN, message="Flow run encountered an exception"))


def finished(name, data):
    return Completed(name=name, data=data)
