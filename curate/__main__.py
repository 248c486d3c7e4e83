"""``python -m curate`` is the command ``curate``."""

from curate.commands import main

main()
