"""The work itself: what a program is, the programs that come along, and the catalogue of all that are installed.

Imports no other room: a program gets everything it needs in its `Call`.
"""
