"""The HTTP API, version 1: whatever an operator may look at or ask for."""

from __future__ import annotations

from register.api import commands, flows, operating, registering, stream, work, workflow_documents, workflows

ENDPOINTS = (
    *flows.ENDPOINTS,
    *operating.ENDPOINTS,
    *stream.ENDPOINTS,
    *registering.ENDPOINTS,
    *workflows.ENDPOINTS,
    *workflow_documents.ENDPOINTS,
    *commands.endpoints(),
    *work.ENDPOINTS,
)
