"""Heartbeats: what keeps a watcher's lease while programs do what they like to the watcher's process."""
