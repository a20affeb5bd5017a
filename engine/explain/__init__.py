"""Why a task, or a flow, is where it is, and what would let it go on: `explain(conn, flow_id, seq)`.

The causes are rows of the view v_waiting; what a view cannot say in bounded time is added: the rank in the queue, who
holds the places of a limit, what lies at the bottom of a chain of tasks that wait for each other.
"""

from engine.explain.explaining import explain
from engine.explain.findings import CAUSES, Cause, FlowWhy, TaskWhy

__all__ = ["CAUSES", "Cause", "FlowWhy", "TaskWhy", "explain"]
