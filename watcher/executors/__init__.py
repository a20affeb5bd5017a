"""Where programs run: in a thread of the watcher, on its event loop, or in a child process of their own."""
