"""The two ways to what operators look at and ask for: a database, or a service over HTTP; the answers are the same."""
