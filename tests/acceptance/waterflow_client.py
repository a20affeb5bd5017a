"""A client as Waterflow's own worker is: it calls for work, computes the DAG of a job, and completes tasks."""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections import Counter
from typing import Any

import requests

DIAMOND: dict[int, list[int]] = {0: [1, 2], 1: [3, 4], 2: [5, 6], 3: [7], 4: [7], 5: [8], 6: [8], 7: [9], 8: [9], 9: []}
"""Ten tasks; each waits for the ones listed."""


class Client:
    """Its requests, with Waterflow's way of trying again."""

    def __init__(self, url: str, pause_s: float = 0.05) -> None:
        self.url = url
        self._pause_s = pause_s
        self._session = requests.Session()
        self.statuses: Counter[int] = Counter()

    def _call(self, method: str, path: str, **options: Any) -> requests.Response:
        for attempt in range(1, 101):
            answer = self._session.request(method, self.url + path, timeout=60, **options)
            self.statuses[answer.status_code] += 1
            if answer.status_code != 429 and answer.status_code < 500:
                return answer
            time.sleep(min(2.0, self._pause_s * 2**attempt) + random.uniform(0, self._pause_s))
        raise AssertionError(f"{path}: no answer in 100 attempts")

    def submit_job(self, queue: int | str, name: str, payload: bytes = b"", **more: Any) -> requests.Response:
        body = {"job_name": name, "job_input64": base64.b64encode(payload).decode(), "job_input64_v": 7}
        return self._call("POST", f"/api/submit_job/{queue}", json={**body, "service_pointer": "svc", **more})

    def get_work(self, queue: int | str, worker: str) -> dict[str, Any]:
        answer = self._call("GET", f"/api/get_work/{queue}/{worker}")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def set_dag(self, queue: int | str, job_id: str, graph: dict[int, list[int]]) -> requests.Response:
        """As Waterflow sends it: a JSON text within JSON."""
        return self._call("POST", f"/api/set_dag/{queue}/{job_id}", json=json.dumps(dag_of(graph)))

    def complete_task(self, job_id: str, task_id: str) -> requests.Response:
        return self._call("POST", f"/api/complete_task/{job_id}/{task_id}")

    def close(self) -> None:
        self._session.close()


def dag_of(graph: dict[int, list[int]]) -> dict[str, Any]:
    tasks = {
        str(index): {
            "task_name": f"task{index}",
            "input64": base64.b64encode(bytes([index % 256])).decode(),
            "input64_v": index % 256,
            "service_pointer": "svc",
        }
        for index in graph
    }
    return {"raw_dag64": base64.b64encode(b"raw").decode(), "raw_dagv": 3, "tasks": tasks, "adj_list": graph}


class Workers:
    """Threads that work until there is nothing left, and keep a record of what they did."""

    def __init__(self, url: str, queue: int, graph: dict[int, list[int]], jobs: int, threads: int = 8) -> None:
        self._url, self._queue, self._graph = url, queue, graph
        self._left = jobs * (len(graph) + 1)
        self._lock = threading.Lock()
        self.fetched: list[str] = []
        self.done: list[tuple[str, str]] = []
        """(job, task name), in the order in which they were completed."""
        self.begun_too_soon: list[tuple[str, str]] = []
        self.errors: list[BaseException] = []
        self.statuses: Counter[int] = Counter()
        self._threads = [threading.Thread(target=self._work, args=(f"worker_{n}",)) for n in range(threads)]

    def run(self, seconds: float) -> None:
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join(seconds)
        assert not self.errors, self.errors

    def _work(self, name: str) -> None:
        client = Client(self._url)
        try:
            while self._left > 0 and not self.errors:
                if not self._one(client, name):
                    time.sleep(0.01)
        except BaseException as error:
            self.errors.append(error)
        finally:
            client.close()
            with self._lock:
                self.statuses += client.statuses

    def _one(self, client: Client, name: str) -> bool:
        item = client.get_work(self._queue, name)
        if fetch := item["fetch_dag"]:
            with self._lock:
                self.fetched.append(fetch["job_id"])
                self._left -= 1
            assert client.set_dag(self._queue, fetch["job_id"], self._graph).json() == {}
            return True
        if task := item["run_task"]:
            job_id, name = task["job_id"], task["task_name"]
            awaited = [f"task{index}" for index in self._graph[int(name.removeprefix("task"))]]
            with self._lock:
                done = set(self.done)
                if not all((job_id, other) in done for other in awaited):
                    self.begun_too_soon.append((job_id, name))
                self.done.append((job_id, name))  # before it is said: what follows may begin at once
                self._left -= 1
            answer = client.complete_task(job_id, task["task_id"])
            assert (answer.status_code, answer.json()) == (200, {})
            return True
        return False
