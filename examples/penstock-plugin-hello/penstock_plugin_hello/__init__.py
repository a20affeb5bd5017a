"""Programs that greet: an example of a Penstock plugin."""

from typing import Annotated, Any

from pydantic import Field

from penstock import Call, Finish, Program, hookimpl, program


@program("HelloGreet")
def greet(
    call: Call,
    NAME: Annotated[str, Field(description="who is greeted")] = "world",
    TIMES: Annotated[int, Field(ge=1, le=10, description="how often")] = 1,
) -> Finish:
    """Greet NAME, TIMES times. Safe to repeat."""
    call.logger.info("greeting %s", NAME)
    return Finish({"greeting": " ".join([f"Hello, {NAME}!"] * TIMES)})


@program("HelloCount")
def count(call: Call, FROM: Annotated[int, Field(description="task_exec_seq of an earlier HelloGreet")] = 1) -> Any:
    """Count the letters of an earlier greeting. Safe to repeat."""
    greeting = call.results[FROM]["greeting"]
    return {"letters": sum(character.isalpha() for character in greeting)}


@hookimpl
def penstock_programs() -> list[Program]:
    return [greet, count]
