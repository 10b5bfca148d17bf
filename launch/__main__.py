"""``python -m launch``: the command line, which the supervisor runs in its child processes."""

from launch.cli import main

if __name__ == "__main__":
    main(prog_name="miningmap")
