"""CBECI's formats: the contribution API's rows and the monthly tables. Pure."""
