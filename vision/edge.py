"""The edge of a command: one message and an exit code for whatever the work raised.

0 done, 1 fault, 2 the user's mistake, 3 a verdict against (contract or gate).
"""

import sys
import traceback
from collections.abc import Callable

from vision.errors import UserError
from vision.machine_faults import explained, redacted

DONE, FAULT, MISTAKE, AGAINST = 0, 1, 2, 3


def guarded(work: Callable[[], int], verbose: bool = False, kept: str = "finished stages are kept") -> int:
    """`work()`'s exit code, or that of what it raised, told in one message.

    kept: what a fault of the machine leaves as it was; said with the message.
    """
    try:
        return work()
    except KeyboardInterrupt:
        return complain("stopped; what was finished is kept, run it again to go on", FAULT)
    except Exception as error:
        if verbose:
            print(redacted(traceback.format_exc()), file=sys.stderr)
        return _tell(error, kept)


def complain(message: str, code: int) -> int:
    print(f"\nerror: {redacted(message)}", file=sys.stderr)
    return code


def _tell(error: Exception, kept: str) -> int:
    clear = explained(error)
    if isinstance(clear, UserError):
        return complain(str(clear), MISTAKE)
    if clear is not None:
        return complain(f"{clear}\n  {kept}; run it again to go on", FAULT)
    return complain(f"{type(error).__name__}: {error}\n  {kept}; run it again, with -v for the traceback", FAULT)
