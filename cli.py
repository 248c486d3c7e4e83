"""Run curate from a checkout: ``python cli.py ...`` is the installed command ``curate ...``."""

from curate.commands import main

if __name__ == "__main__":
    main()
