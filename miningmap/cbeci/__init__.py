"""CBECI's formats: rows of its contribution API, and its monthly tables. Pure."""
