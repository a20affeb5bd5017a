"""Commands on queues, limits and watchers."""

from __future__ import annotations

from penstock.sdk.asking import Command, asking, nothing


class OnLimits:
    """How many tasks may run, and who runs them."""

    @asking
    def pause_queue(self, name: str, *, reason: str | None = None) -> Command[None]:
        """Start no more tasks of a queue; what runs goes on."""
        return Command("pause_queue", name, {}, reason, nothing)

    @asking
    def resume_queue(self, name: str, *, reason: str | None = None) -> Command[None]:
        """Start the tasks of a paused queue again."""
        return Command("resume_queue", name, {}, reason, nothing)

    @asking
    def set_limit(
        self,
        name: str,
        scope: str,
        *,
        max_running: int | None = None,
        rate: int | None = None,
        rate_period_s: float | None = None,
        reason: str | None = None,
    ) -> Command[None]:
        """Say how many tasks of a `workflow`, a `queue` or a `key` (`scope`) may run at once, or start within
        `rate_period_s` seconds (1). What is left out is no cap."""
        told = {"scope": scope, "max_running": max_running, "rate": rate, "rate_period_s": rate_period_s}
        return Command("set_limit", name, told, reason, nothing)

    @asking
    def drop_limit(self, name: str, scope: str, *, reason: str | None = None) -> Command[None]:
        """Take a limit away; a pause stays."""
        return Command("drop_limit", name, {"scope": scope}, reason, nothing)

    @asking
    def drain(self, watcher_id: str, *, reason: str | None = None) -> Command[None]:
        """Let a watcher finish what it runs, and end."""
        return Command("drain", watcher_id, {}, reason, nothing)
