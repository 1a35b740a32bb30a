"""``python -m lopsided``, which is how torchrun starts the command line."""

from .cli.main import main

main()
