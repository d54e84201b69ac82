"""`python -m cli` is `tradewind`."""

from cli.main import main

main()
