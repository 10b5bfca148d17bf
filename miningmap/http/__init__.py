"""HTTP servers and downloads: a server on a port, problem documents, a file from a URL."""
