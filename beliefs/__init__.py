"""What is believed about where hashrate is, with its sources: data, one TOML file a subject.

``streams.beliefs`` reads these files in the order of their names.
"""
