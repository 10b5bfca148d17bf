"""``python -m launch``: the command line, as the supervisor starts it for its children."""

from launch.cli import main

if __name__ == "__main__":
    main(prog_name="miningmap")
