"""``python -m miningmap``: the command line."""

from miningmap.cli import main

if __name__ == "__main__":
    main()
