"""HTTP: serve an application on a port, answer with problem documents, download a file."""
