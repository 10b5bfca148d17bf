"""The types of the HTTP API: responses, their CSV columns and their JSON Schemas."""
