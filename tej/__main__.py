"""`python -m tej`, where the `tej` command is not on the path."""

from tej.cli import main

if __name__ == "__main__":
    main()
