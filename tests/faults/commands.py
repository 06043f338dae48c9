"""Runs `train_model` in this process as a command does, and looks at what it said and left."""

from dataclasses import dataclass

from flows.command import FAULT, main
from flows.train_model import train_model


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The one message; all that went to stderr belongs to it."""
        assert self.err.count("error: ") == 1 and "Traceback" not in self.err, self.err
        return self.err.partition("error: ")[2].strip()


def train(capfd, system, *pairs, more=()):
    """`--set` each pair. What the file descriptors got counts, so that what Ray and MLflow print is seen too."""
    capfd.readouterr()
    argv = ["--system", str(system), *more]
    for pair in pairs:
        argv += ["--set", pair]
    code = main(train_model, argv=argv)
    return Said(code, *capfd.readouterr())


def failed(said, *parts):
    """The message of a run that the machine ended."""
    assert said.code == FAULT, (said.code, said.out, said.err)
    assert "allowed:" in said.message and "to do:" in said.message and "run it again" in said.message
    assert all(part in said.message for part in parts), said.message
    return said.message
