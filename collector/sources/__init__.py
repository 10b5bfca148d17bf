"""The declaration of a source, and the parsing that sources share."""
