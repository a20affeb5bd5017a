"""What operators may ask for, through whatever door: one table of commands, checked and recorded by the same rules."""

from __future__ import annotations

from engine.commands.carrying_out import Ask, carry_out
from engine.commands.command import Command, Noun
from engine.commands.table import COMMANDS, command_of

__all__ = ["COMMANDS", "Ask", "Command", "Noun", "carry_out", "command_of"]
