"""A workflow as one document: read from TOML, JSON or SQL, checked as a whole, written as rows, compared, exported."""
