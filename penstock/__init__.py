"""The public face: what programs and plugins import. `import penstock` pulls in no database and no web server."""

from programs.contract import Arrival, Call, Program, Stopped, program
from programs.hooks import hookimpl
from programs.outcomes import Again, Await, Choose, Fail, Finish, Outcome, Plan, Task

__all__ = [
    "Again",
    "Arrival",
    "Await",
    "Call",
    "Choose",
    "Fail",
    "Finish",
    "Outcome",
    "Plan",
    "Program",
    "Stopped",
    "Task",
    "hookimpl",
    "program",
]
__version__ = "0.1.0"
