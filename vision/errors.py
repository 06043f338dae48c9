"""Errors with one clear message. Only the edge (a command, a flow's end) turns one into a message and an exit code."""


class ClearError(Exception):
    """What was found, with its place (file, key, value); what would have been right; the next step to take."""

    def __init__(self, got: str, allowed: str, do: str) -> None:
        self.got, self.allowed, self.do = got, allowed, do
        super().__init__(f"{got}\n  allowed: {allowed}\n  to do:   {do}")

    def __reduce__(self):
        """Survives pickling between Ray's processes: three arguments, not one message."""
        return type(self), (self.got, self.allowed, self.do)


class UserError(ClearError):
    """A mistake in what the user gave: exit code 2."""


class MachineError(ClearError):
    """The machine or a service of it failed (disk full, database down, a server that does not start): exit code 1."""
