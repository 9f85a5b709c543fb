"""The exceptions for what the user can correct, and helpers for messages and for names from users' files."""

import atexit
import errno
import os
import reprlib
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = 100


class UserError(Exception):
    """A mistake in the user's files, settings or paths.

    The message says all that the user needs: the file, what was found, what was expected and what to do.
    """


class TakeError(Exception):
    """One motion file cannot be used; the message says why. Callers report it and continue with the next file.

    The file's name is printed before the message, so most messages begin with a verb.
    """


def run_command(main: Callable[[], int | None], after_stop: str = "") -> None:
    """Run `main`; exit with its status, or as `one_message(after_stop)` does. SIGTERM acts as Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clusters stop a job by it
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # set by `command_line.check_first`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if None in (sys.stdout, sys.stderr):  # closed by `>&-` or `2>&-`, and by some schedulers
        while os.open(os.devnull, os.O_RDWR) <= 2:  # or else files of ours get these numbers, and messages
            pass
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    # A log file gets each line at once, as a terminal does. Letters that the locale lacks become escapes, as on stderr
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    for number in (signal.SIGINT, signal.SIGTERM):
        atexit.register(signal.signal, number, signal.SIG_DFL)  # a signal while Python shuts down prints nothing
    with one_message(after_stop):
        sys.exit(main())


@contextmanager
def one_message(after_stop: str = "") -> Iterator[None]:
    """On a `UserError` or `OSError`, print one line and exit with 2. On Ctrl-C, print one line and exit with 130.

    If nobody reads the output any more, exit silently. `after_stop` is added to the line for Ctrl-C, such as
    "; run the command again".
    """
    try:
        yield
    except BrokenPipeError:  # whoever read the output has left, as in `python … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more when it ends
        sys.exit(128 + signal.SIGPIPE)
    except (UserError, OSError) as error:
        print(f"error: {error if isinstance(error, UserError) else reason(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\nstopped{after_stop}", file=sys.stderr)
        sys.exit(130)


def reason(error: OSError) -> str:
    """The file of an OSError, if it has one, and what went wrong."""
    # When we write a file, `adds_file_name` of utils.atomic adds its name to the error. So an error of a full disk that
    # has no name comes from stdout or stderr
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    name = error.filename or ("the file that the messages go to" if full else None)
    return f"{name}: {error.strerror or error}" if name else str(error.strerror or error)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind if it has no text."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def shown(value: Any) -> str:
    """A short form of `value` for messages. Long or deeply nested values are shortened."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python does not print integers of more than some thousand digits
        return f"a {type(value).__name__} that is too long to show"


def first_problem(error: ValidationError) -> str:
    """The first problem in a pydantic error, such as "clips.0.fps is nan, expected a finite number"."""
    return describe_problem(error.errors(include_url=False, include_context=False)[0])


def describe_problem(problem: Mapping[str, Any]) -> str:
    """One of the problems in a pydantic error: where it is, what was found, what was expected."""
    place = printable(".".join(map(str, problem["loc"])), 100)
    # pydantic writes, for example, "a valid dictionary or instance of Clip"
    message = problem["msg"].removeprefix("Value error, ").partition(" or instance of ")[0]
    if problem["type"] == "value_error":
        return f"{place}: {message}" if place else message
    if problem["type"] == "missing":
        return f"{place} is missing"
    found = f"{place or 'the file'} is {shown(problem['input'])}"
    expected = message.removeprefix("Input should be ")
    return f"{found}: {message}" if expected == message else f"{found}, expected {expected}"


def nearest(name: str, known: list[str]) -> str:
    """The end of a message about an unknown name: similar known names, or all of them if none is similar."""
    close = get_close_matches(name, known)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"known are: {', '.join(known)}"


def printable(text: str, most: int = 500) -> str:
    """`text` on one line of at most `most` characters.

    Control characters, lone surrogates and marks that change the writing direction are replaced.
    """
    line = " ".join(text[: 10 * most].split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)


def printable_name(name: object) -> str:
    """A file's name as text that can be printed: bytes that are not UTF-8 become \\xNN."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def composed(text: str) -> str:
    """`text` with accented letters as one character. In the names of files on macOS, they are often two."""
    return unicodedata.normalize("NFC", text)
