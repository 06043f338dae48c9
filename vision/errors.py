"""Errors that are the user's to mend. Only the edge (a command, a flow's end) turns one into a message and an exit code."""


class UserError(Exception):
    """A mistake that the user can mend.

    got: what was found, with its place (file, key, value). allowed: what would have been right. do: the next step to take.
    """

    def __init__(self, got: str, allowed: str, do: str) -> None:
        self.got, self.allowed, self.do = got, allowed, do
        super().__init__(f"{got}\n  allowed: {allowed}\n  to do:   {do}")

    def __reduce__(self):
        """Survives pickling between Ray's processes: three arguments, not one message."""
        return type(self), (self.got, self.allowed, self.do)
