"""The programs that come along, offered as any plugin offers its own."""

from programs.branching import ChooseSteps, Value
from programs.contract import Program
from programs.echo import EchoParamTimeSleep, EchoRandomTimeSleep, FailForTrials, Noop
from programs.hooks import hookimpl
from programs.plans import ForEach, Gather
from programs.sensors import WaitForHTTP
from programs.subflow import SubFlow
from programs.timers import Wait
from programs.waiting import Approval, Form, WaitForMessage
from programs.web import HTTPGetRequest, HTTPPostRequest


@hookimpl
def penstock_programs() -> list[Program]:
    return [
        EchoRandomTimeSleep(),
        EchoParamTimeSleep(),
        Noop(),
        FailForTrials(),
        HTTPPostRequest(),
        HTTPGetRequest(),
        Value(),
        ChooseSteps(),
        ForEach(),
        Gather(),
        SubFlow(),
        Wait(),
        WaitForMessage(),
        Approval(),
        Form(),
        WaitForHTTP(),
    ]
