"""The public face: what programs and plugins import. `import penstock` pulls in no database and no web server."""

from programs.contract import Again, Call, Fail, Finish, Outcome, Program, Stopped, program
from programs.hooks import hookimpl

__all__ = ["Again", "Call", "Fail", "Finish", "Outcome", "Program", "Stopped", "hookimpl", "program"]
__version__ = "0.1.0"
