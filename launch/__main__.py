"""``python -m miningmap``: the command line."""

from launch.cli import main

if __name__ == "__main__":
    main()
