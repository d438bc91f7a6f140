"""`python -m batchway` is the same as the `batchway` command."""

from batchway.cli.main import main

if __name__ == "__main__":
    main()
