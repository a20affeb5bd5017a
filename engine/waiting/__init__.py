"""What tasks await: timers, messages, people, call-backs, pokes."""
