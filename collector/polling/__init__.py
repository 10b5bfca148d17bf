"""Poll sources, check what they return, and turn readings into messages."""
