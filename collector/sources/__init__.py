"""What a source is: its declaration, and the parsing that sources share."""
