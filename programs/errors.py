"""What can go wrong with programs and the plugins that bring them.

ProgramError
├── CatalogueError    start-up: every problem of every plugin, in `.problems`
├── SignatureError    registration: `run` has a signature that gives no parameter schema
├── ParameterError    a call: parameters missing, unknown or of the wrong type, in `.problems`
├── AddressRefused    a call: its request would go where no operator lets programs go
└── BadOutcome        a call: `run` answered with something that is no outcome
"""

from collections.abc import Sequence


class ProgramError(Exception):
    """Root of this room's errors."""


class CatalogueError(ProgramError):
    """The installed programs do not make a catalogue; nothing may start. The causes, if any, are chained."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{count} with the installed programs:\n" + "\n".join(f"- {p}" for p in self.problems))


class SignatureError(ProgramError):
    """A parameter schema cannot be made from the signature of `run`."""


class ParameterError(ProgramError):
    """The parameters of one call do not fit. Holds no secret, so it may be stored and shown."""

    def __init__(self, program: str, problems: Sequence[str]) -> None:
        self.program = program
        self.problems = list(problems)
        super().__init__(f"parameters of {program}: " + "; ".join(self.problems))


class AddressRefused(ProgramError):
    """A request was not sent: its host has addresses that are none of the internet, and no operator has allowed them.

    `addresses` are those, with the class of each (`loopback`, `private` ...). Another try would end alike.
    """

    def __init__(self, host: str, addresses: Sequence[tuple[str, str]], flags: str) -> None:
        self.host = host
        self.addresses = list(addresses)
        found = " and ".join(f"{address} ({kind})" for address, kind in self.addresses)
        named = f"{found} is" if host == self.addresses[0][0] else f"{host!r} leads to {found}, which is"
        super().__init__(
            f"no request was sent: {named} closed to programs, as all internal addresses are; whoever runs them opens"
            f" it with {flags}"
        )


class BadOutcome(ProgramError):
    """A program answered with something that is no outcome."""

    def __init__(self, program: str, answer: object) -> None:
        self.program = program
        self.answer = f"the class {answer.__name__}" if isinstance(answer, type) else type(answer).__name__
        what = "None" if answer is None else self.answer
        super().__init__(
            f"{program} returned {what} instead of an outcome such as Finish(result), Fail(error) or Again(after)"
        )
